"""Targets are three ways to say one thing; variances lie where they should; a denoiser refuses what does not fit."""

import math

import pytest
import torch

from edu_diffusion.diffusion import EPS, FIXED_LARGE, FIXED_SMALL, LEARNED, X0, Denoiser, V, linear, q_sample

SCHEDULE = linear()


def setting(n=5):
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, n, 1, 4, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([1, 2, 300, 700, 1000])[:n]
    return x0, eps, t, q_sample(SCHEDULE, x0, t, eps)


@pytest.mark.parametrize("target", [EPS, X0, V], ids=lambda target: target.name)
def test_a_perfect_network_gives_x0_and_eps_back(target):
    x0, eps, t, x_t = setting()
    truth = target.truth(x0, eps, SCHEDULE.signal(t, x0), SCHEDULE.noise(t, x0))
    prediction = Denoiser(lambda *_: truth, SCHEDULE, target)(x_t, t)
    torch.testing.assert_close(prediction.x0, x0)
    torch.testing.assert_close(prediction.eps, eps)
    assert torch.equal(prediction.raw, truth)


def test_x0_and_eps_never_disagree():
    _, _, t, x_t = setting()
    first = Denoiser(lambda x, t, cond: 0.3 * x, SCHEDULE)(x_t, t)
    for prediction in (first, first.with_x0(first.x0.clamp(-1, 1)), first.with_eps(first.eps * 1.1)):
        rebuilt = q_sample(SCHEDULE, prediction.x0, t, prediction.eps)
        torch.testing.assert_close(rebuilt, x_t)


@pytest.mark.parametrize("target", [EPS, X0, V], ids=lambda target: target.name)
def test_a_point_is_x0_and_eps_at_another_level(target):
    _, _, _, x_t = setting()
    for t, s in ((1000, 500), (300, 299), (1, 0)):
        prediction = Denoiser(lambda x, t, cond: torch.tanh(x), SCHEDULE, target)(x_t, t)
        signal, noise = SCHEDULE.signal(s, x_t), SCHEDULE.noise(s, x_t)
        torch.testing.assert_close(prediction.point(signal, noise), signal * prediction.x0 + noise * prediction.eps)


def test_variances():
    x0, eps, t, x_t = setting()
    small = Denoiser(lambda *_: eps, SCHEDULE, EPS, FIXED_SMALL)(x_t, t).log_var(t - 1)
    large = Denoiser(lambda *_: eps, SCHEDULE, EPS, FIXED_LARGE)(x_t, t).log_var(t - 1)
    beta, beta_tilde = SCHEDULE.beta(t, t - 1, x0), SCHEDULE.beta_tilde(t, t - 1, x0)
    torch.testing.assert_close(small[1:].exp(), beta_tilde[1:])
    torch.testing.assert_close(large[1:].exp(), beta[1:])
    # At t = 1 beta_tilde is 0; its logarithm takes the value of t = 2, and so does FIXED_LARGE's.
    assert small[0].item() == large[0].item() == small[1].item()


@pytest.mark.parametrize(("v", "like"), [(-1.0, FIXED_SMALL), (1.0, "beta"), (0.0, "middle")])
def test_learned_variance_lies_between(v, like):
    x0, eps, t, x_t = setting()
    out = torch.cat([eps, torch.full_like(eps, v)], dim=1)
    prediction = Denoiser(lambda *_: out, SCHEDULE, EPS, LEARNED)(x_t, t)
    small = FIXED_SMALL.log_var(prediction, t - 1)
    log_beta = SCHEDULE.beta(t, t - 1, x0).log()
    wanted = {"beta": log_beta, "middle": (small + log_beta) / 2}.get(like, small)
    torch.testing.assert_close(prediction.log_var(t - 1), wanted.expand_as(eps))
    assert torch.equal(prediction.raw, eps)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (2, 1), (100, 0), (700, 0), (1000, 500)])
def test_one_time_for_all_is_the_same_number(t, s):
    _, eps, _, x_t = setting()
    alone = Denoiser(lambda *_: eps, SCHEDULE)(x_t, t).log_var(s)
    each = Denoiser(lambda *_: eps, SCHEDULE)(x_t, torch.full((5,), t)).log_var(torch.full((5,), s))
    assert math.isfinite(alone)
    torch.testing.assert_close(each, torch.full_like(each, alone))


def test_what_does_not_fit_is_refused():
    _, eps, _, x_t = setting()
    for t in (0, 1001):
        with pytest.raises(ValueError, match=rf"t must be in 1\.\.1000, got {t}"):
            Denoiser(lambda *_: eps, SCHEDULE)(x_t, t)
    with pytest.raises(ValueError, match="output must have shape"):
        Denoiser(lambda *_: eps[:, :, :2], SCHEDULE)(x_t, 5)
    with pytest.raises(ValueError, match="'learned'"):
        Denoiser(lambda *_: eps, SCHEDULE, EPS, LEARNED)(x_t, 5)
    with pytest.raises(ValueError, match="no var_frac"):
        LEARNED.log_var(Denoiser(lambda *_: eps, SCHEDULE)(x_t, 5), 4)


def test_one_network_may_be_used_with_any_variance():
    _, eps, t, x_t = setting()
    learned = Denoiser(lambda *_: torch.cat([eps, 0 * eps], dim=1), SCHEDULE, EPS, LEARNED)
    plain = Denoiser(lambda *_: eps, SCHEDULE, EPS, FIXED_LARGE)
    fixed = learned.with_variance(FIXED_LARGE)
    assert torch.equal(fixed(x_t, t).log_var(t - 1), plain(x_t, t).log_var(t - 1))
    assert torch.equal(fixed(x_t, t).eps, eps)


def test_data_must_be_numbers_with_a_point():
    levels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"floating point, got torch\.uint8"):
        SCHEDULE.signal(torch.tensor([1, 2]), levels)
