"""Schedules: the table, and the identities between its quantities at any two times."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from edu_diffusion.diffusion import NoiseSchedule, cosine, from_betas, linear

SCHEDULES = [linear(), cosine(), linear(100, 1e-3, 0.2)]
LIKE = torch.zeros(3, 1, 2, 2, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.name}{s.T}")
class TestAnySchedule:
    def test_starts_clean_and_falls(self, schedule):
        assert schedule.alpha_bar[0] == 1
        assert schedule.alpha_bar.dtype == torch.float64
        assert len(schedule.alpha_bar) == schedule.T + 1
        assert (schedule.alpha_bar.diff() < 0).all()

    def test_signal_and_noise_keep_the_variance(self, schedule):
        t = torch.tensor([1, schedule.T // 2, schedule.T])
        total = schedule.signal(t, LIKE) ** 2 + schedule.noise(t, LIKE) ** 2
        assert total.shape == (3, 1, 1, 1)
        torch.testing.assert_close(total, torch.ones_like(total))

    def test_one_time_is_a_number_equal_to_the_tensors(self, schedule):
        t = torch.tensor([7, 7, 7])
        for quantity in (schedule.signal, schedule.noise):
            assert quantity(7, LIKE) == quantity(t, LIKE)[0].item()
        for quantity in (schedule.beta, schedule.beta_tilde):
            assert quantity(7, 3, LIKE) == pytest.approx(quantity(t, t - 4, LIKE)[0].item(), rel=1e-14)
        assert schedule.log_snr(7) == pytest.approx(schedule.log_snr(t)[0].item(), rel=1e-14)

    def test_two_short_steps_are_one_long_step(self, schedule):
        short = (1 - schedule.beta(9, 6, LIKE)) * (1 - schedule.beta(6, 2, LIKE))
        assert 1 - schedule.beta(9, 2, LIKE) == pytest.approx(short, rel=1e-12)

    def test_respacing_is_choosing_times(self, schedule):
        times = schedule.spaced(10)
        respaced = NoiseSchedule(schedule.alpha_bar[times[::-1]])
        for i, (s, t) in enumerate(zip(times[::-1][:-1], times[::-1][1:], strict=True), start=1):
            assert respaced.beta(i, i - 1, LIKE) == pytest.approx(schedule.beta(t, s, LIKE), rel=1e-12)
            assert respaced.beta_tilde(i, i - 1, LIKE) == pytest.approx(schedule.beta_tilde(t, s, LIKE), abs=1e-15)

    def test_spaced_runs_from_T_to_0(self, schedule):
        for n in (1, 3, schedule.T):
            times = schedule.spaced(n)
            assert len(times) == n + 1 and times[0] == schedule.T and times[-1] == 0
            assert all(t > s for t, s in pairwise(times))


@pytest.mark.parametrize("t, s", [(3, 5), (0, 0), (torch.tensor([4, 4]), torch.tensor([3, 4]))])
def test_a_step_that_does_not_go_back_is_refused(t, s):
    for quantity in (linear().beta, linear().beta_tilde):
        with pytest.raises(ValueError, match="the earlier time s must be below t"):
            quantity(t, s, LIKE)


@pytest.mark.parametrize("t", ["3.0", "torch.tensor([3.0])", "numpy.int64(3)", "'3'"])
def test_what_is_no_time_is_refused(t):
    """In a process of its own: here the tests' own checks of types would speak first."""
    code = f"import numpy, torch; from edu_diffusion.diffusion import linear; linear().signal({t}, torch.zeros(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "ValueError: t must be a whole number" in done.stderr


def test_a_table_in_float32_is_kept_in_float64():
    assert NoiseSchedule(torch.tensor([1.0, 0.5, 0.1])).alpha_bar.dtype == torch.float64


def test_linear_has_the_papers_ends():
    schedule = linear()
    assert schedule.beta(1, 0, LIKE) == pytest.approx(1e-4)
    assert schedule.beta(1000, 999, LIKE) == pytest.approx(0.02)
    # The paper's own figure for what is left of the signal's variance at T: about 4e-5.
    assert schedule.alpha_bar[-1].item() == pytest.approx(4.04e-5, rel=1e-2)


def test_cosine_is_equation_17_away_from_its_clipped_end():
    schedule, offset = cosine(), 0.008

    def f(t):
        return math.cos((t / 1000 + offset) / (1 + offset) * math.pi / 2) ** 2

    for t in (1, 10, 500, 900, 990):
        assert schedule.alpha_bar[t].item() == pytest.approx(f(t) / f(0), rel=1e-9)
    assert schedule.beta(1000, 999, LIKE) == pytest.approx(0.999)


def test_beta_tilde_is_smaller_than_beta_and_zero_at_the_end():
    schedule = linear()
    assert schedule.beta_tilde(1, 0, LIKE) == 0
    assert schedule.beta_tilde(2, 1, LIKE) < schedule.beta(2, 1, LIKE)


def test_log_snr():
    schedule = cosine()
    assert schedule.log_snr(0) == math.inf
    ratio = schedule.signal(300, LIKE) ** 2 / schedule.noise(300, LIKE) ** 2
    assert schedule.log_snr(300) == pytest.approx(math.log(ratio))


@pytest.mark.parametrize("t", [-1, 1001])
def test_times_outside_the_schedule_are_refused(t):
    with pytest.raises(ValueError, match=r"t must be in 0\.\.1000, got " + str(t)):
        linear().signal(t, LIKE)
    with pytest.raises(ValueError, match="got " + str(t)):
        linear().noise(torch.tensor([5, t]), LIKE)


@pytest.mark.parametrize("steps", [0, 1001])
def test_too_many_or_too_few_steps_are_refused(steps):
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        linear().spaced(steps)


@pytest.mark.parametrize(
    ("table", "message"),
    [([0.9, 0.5, 0.1], "start at exactly 1"), ([1.0, 0.5, 0.5], "fall at every step"), ([1.0, 0.5, 0.0], "above 0")],
)
def test_bad_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(torch.tensor(table, dtype=torch.float64))


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, 1.5])
def test_betas_must_be_variances(beta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        from_betas(torch.tensor([0.1, beta, 0.2]))
