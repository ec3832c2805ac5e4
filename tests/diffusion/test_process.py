"""The forward process: the closed form is the chain, and the posterior inverts it."""

import pytest
import torch

from edu_diffusion.diffusion import linear, q_posterior, q_sample, q_step

SCHEDULE = linear(50, 1e-3, 0.2)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_closed_form_has_the_chains_moments():
    """DDPM eq. 4 against eq. 2, t times over."""
    n = 200_000
    x = torch.full((n, 1), 0.7, dtype=torch.float64)
    for t in range(1, 31):
        x = q_step(SCHEDULE, x, t, t - 1, normal(n, 1, seed=t))
    mean, std = SCHEDULE.signal(30, x) * 0.7, SCHEDULE.noise(30, x)
    assert x.mean().item() == pytest.approx(mean, abs=5 * std / n**0.5)
    assert x.std().item() == pytest.approx(std, rel=5 / (2 * n) ** 0.5)


def test_noise_is_the_standard_deviation_not_the_variance():
    x_t = q_sample(SCHEDULE, torch.zeros(100_000, 1, dtype=torch.float64), 10, normal(100_000, 1))
    variance = 1 - SCHEDULE.alpha_bar[10].item()
    assert x_t.var().item() == pytest.approx(variance, rel=0.02)
    assert x_t.std().item() != pytest.approx(variance, rel=0.1)


def test_at_time_zero_nothing_happens():
    x0 = normal(4, 3)
    assert torch.equal(q_sample(SCHEDULE, x0, 0, normal(4, 3, seed=1)), x0)


def test_one_time_each_is_the_same_as_one_by_one():
    x0, eps, t = normal(4, 1, 2, 2), normal(4, 1, 2, 2, seed=1), torch.tensor([1, 7, 30, 50])
    together = q_sample(SCHEDULE, x0, t, eps)
    alone = torch.cat([q_sample(SCHEDULE, x0[i : i + 1], int(t[i]), eps[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone)


def test_posterior_is_bayes_rule():
    """q(x_s | x_t, x0) is proportional to q(x_t | x_s) q(x_s | x0): check its log density up to a constant."""
    x0, x_t, t, s = torch.tensor([[0.4]]).double(), torch.tensor([[-0.3]]).double(), 20, 12
    grid = torch.linspace(-2, 2, 401, dtype=torch.float64)[:, None]
    beta, signal, noise = SCHEDULE.beta(t, s, x0), SCHEDULE.signal(s, x0), SCHEDULE.noise(s, x0)
    joint = -((x_t - (1 - beta) ** 0.5 * grid) ** 2) / (2 * beta) - (grid - signal * x0) ** 2 / (2 * noise**2)
    mean, variance = q_posterior(SCHEDULE, x0, x_t, t, s)
    ours = -((grid - mean) ** 2) / (2 * variance)
    difference = joint - ours
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), atol=1e-9, rtol=0)


def test_posterior_draws_follow_the_forward_marginal():
    n, x0 = 200_000, 0.6
    x_t = q_sample(SCHEDULE, torch.full((n, 1), x0).double(), 40, normal(n, 1))
    mean, variance = q_posterior(SCHEDULE, torch.full((n, 1), x0).double(), x_t, 40, 15)
    x_s = mean + variance**0.5 * normal(n, 1, seed=1)
    assert x_s.mean().item() == pytest.approx(SCHEDULE.signal(15, x_s) * x0, abs=0.005)
    assert x_s.std().item() == pytest.approx(SCHEDULE.noise(15, x_s), rel=0.01)


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="shape of x0"):
        q_sample(SCHEDULE, normal(4, 3), 5, normal(4, 2))
    with pytest.raises(ValueError, match="shape of x_s"):
        q_step(SCHEDULE, normal(4, 3), 5, 4, normal(4, 2))
