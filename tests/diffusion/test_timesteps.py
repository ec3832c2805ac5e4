"""Which times are trained on: the whole range, and unbiased weights."""

import pytest
import torch

from edu_diffusion.diffusion import LossAwareTimes, UniformTimes
from edu_diffusion.types import Rng


def test_uniform_times_cover_1_to_T():
    t, weight = UniformTimes(10).draw(5000, Rng(0))
    assert sorted(set(t.tolist())) == list(range(1, 11))
    assert (weight == 1).all()
    assert torch.bincount(t)[1:].min() > 400


def trained():
    """Losses that grow with t: root mean square of t is exactly t."""
    times = LossAwareTimes(20, history=4)
    for _ in range(4):
        every = torch.arange(1, 21)
        times.update(every, every.float(), Rng(0))
    return times


def test_until_all_are_seen_it_is_uniform():
    times = LossAwareTimes(20, history=4)
    times.update(torch.arange(1, 21), torch.ones(20), Rng(0))
    assert times.probabilities().tolist() == pytest.approx([1 / 20] * 20)


def test_then_in_proportion_to_the_losses():
    times = trained()
    expected = torch.arange(1, 21) / 210
    torch.testing.assert_close(times.probabilities(), (0.999 * expected + 0.001 / 20).double(), rtol=1e-6, atol=0)
    t, _ = times.draw(20_000, Rng(0))
    assert (t == 20).float().mean().item() == pytest.approx(20 / 210, rel=0.1)


def test_the_weights_keep_the_mean():
    t, weight = trained().draw(50_000, Rng(0))
    values = t.float() ** 2
    assert (values * weight).mean().item() == pytest.approx((torch.arange(1, 21).float() ** 2).mean().item(), rel=0.02)


def test_the_oldest_losses_are_forgotten():
    times = trained()
    for _ in range(4):
        times.update(torch.tensor([20]), torch.tensor([0.0]), Rng(0))
    assert times.probabilities()[19].item() == pytest.approx(0.001 / 20)


def test_losses_that_are_all_zero_leave_it_uniform():
    times = LossAwareTimes(5, history=1)
    times.update(torch.arange(1, 6), torch.zeros(5), Rng(0))
    assert times.probabilities().tolist() == pytest.approx([0.2] * 5)


def test_state_comes_back():
    again = LossAwareTimes(20, history=4)
    again.load_state_dict(trained().state_dict())
    assert torch.equal(again.probabilities(), trained().probabilities())
