"""Losses and likelihood: identities, a bound computed by hand, and the exact denoiser's."""

import math

import pytest
import torch

from edu_diffusion.diffusion import (
    EPS,
    FIXED_LARGE,
    LEARNED,
    X0,
    Denoiser,
    V,
    bits_per_dim,
    bound_term,
    cosine,
    discretised_log_likelihood,
    hybrid_loss,
    linear,
    normal_kl,
    prior_term,
    q_sample,
    simple_loss,
    snr_weighting,
    vlb_loss,
)

SCHEDULE = linear(100, 1e-3, 0.1)


def pictures(n=6, seed=0):
    """Pictures on the 256 levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 4, 4), generator=generator).double() / 127.5 - 1


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def setting():
    x0 = pictures()
    return x0, torch.tensor([1, 2, 5, 30, 70, 100]), normal(*x0.shape)


def net(x, t, cond=None):
    return torch.tanh(x) * 0.5


class TestSimple:
    def test_it_is_the_mean_squared_error_of_eps(self):
        x0, t, eps = setting()
        ours = simple_loss(Denoiser(net, SCHEDULE), x0, t, eps)
        x_t = q_sample(SCHEDULE, x0, t, eps)
        torch.testing.assert_close(ours, ((net(x_t, t) - eps) ** 2).mean((1, 2, 3)))

    @pytest.mark.parametrize("target", [EPS, X0, V], ids=lambda target: target.name)
    def test_a_perfect_network_has_none(self, target):
        x0, t, eps = setting()
        truth = target.truth(x0, eps, SCHEDULE.signal(t, x0), SCHEDULE.noise(t, x0))
        assert simple_loss(Denoiser(lambda *_: truth, SCHEDULE, target), x0, t, eps).max() == 0

    def test_snr_weighted_x0_error_is_the_eps_error(self):
        x0, t, eps = setting()
        eps_denoiser = Denoiser(net, SCHEDULE)

        def same_as_x0(x_t, times, cond=None):
            return eps_denoiser(x_t, t).x0

        weighted = simple_loss(Denoiser(same_as_x0, SCHEDULE, X0), x0, t, eps, weighting=snr_weighting())
        torch.testing.assert_close(weighted, simple_loss(eps_denoiser, x0, t, eps))

    def test_a_weighting_can_be_cut_off(self):
        assert snr_weighting(largest=5.0)(SCHEDULE, torch.tensor([1, 100])).tolist()[0] == 5.0


class TestBound:
    def test_kl_of_equal_gaussians_is_zero_and_grows_as_it_should(self):
        assert normal_kl(torch.tensor(0.3), -1.0, torch.tensor(0.3), -1.0) == 0
        # KL(N(0, 1) || N(1, 4)), by the textbook formula.
        expected = math.log(2) + (1 + 1) / (2 * 4) - 0.5
        assert normal_kl(torch.tensor(0.0), 0.0, torch.tensor(1.0), math.log(4)).item() == pytest.approx(expected)

    @pytest.mark.parametrize("mean", [-1.2, -0.9, 0.0, 0.4, 1.0])
    def test_the_256_levels_share_all_probability(self, mean):
        levels = torch.arange(256).double() / 127.5 - 1
        chances = discretised_log_likelihood(levels, torch.full((256,), mean).double(), math.log(0.02)).exp()
        assert chances.sum().item() == pytest.approx(1)

    @pytest.mark.parametrize("sigmas", [-9.0, -6.0, -3.0, 3.0, 6.0, 9.0])
    def test_far_tails_keep_their_digits_in_float32(self, sigmas):
        """Against the same in float64, where even the right tail has digits left (up to about eight deviations)."""
        x0, log_var = torch.tensor([0.0]), 2 * math.log(0.01)
        found = discretised_log_likelihood(x0, torch.tensor([0.01 * sigmas]), log_var)
        edges = [abs(0.01 * sigmas) / 0.01 + side / 255 / 0.01 for side in (-1, 1)]
        expected = math.log(0.5 * math.erfc(edges[0] / 2**0.5) - 0.5 * math.erfc(edges[1] / 2**0.5))
        assert found.item() == pytest.approx(expected, rel=1e-4)

    def test_a_hopeless_miss_stays_finite(self):
        found = discretised_log_likelihood(torch.tensor([0.0]), torch.tensor([1.0]), 2 * math.log(0.01))
        assert found.item() == pytest.approx(math.log(1e-30))

    def test_a_later_term_is_a_weighted_eps_error(self):
        """DDPM eq. 12: beta^2 / (2 var alpha (1 - alpha_bar)) |eps - eps_hat|^2, the variances being equal."""
        x0, _, eps = setting()
        t = torch.full((len(x0),), 30)
        denoiser = Denoiser(net, SCHEDULE)
        prediction = denoiser(q_sample(SCHEDULE, x0, t, eps), t)
        beta, variance = SCHEDULE.beta(30, 29, x0), SCHEDULE.beta_tilde(30, 29, x0)
        weight = beta**2 / (2 * variance * (1 - beta) * (1 - SCHEDULE.alpha_bar[30].item()))
        expected = weight * simple_loss(denoiser, x0, t, eps) / math.log(2)
        torch.testing.assert_close(bound_term(prediction, x0), expected)

    def test_the_first_term_is_the_decoders(self):
        x0, _, eps = setting()
        t = torch.ones(len(x0), dtype=torch.long)
        prediction = Denoiser(net, SCHEDULE)(q_sample(SCHEDULE, x0, t, eps), t)
        log = discretised_log_likelihood(x0, prediction.x0, prediction.log_var(t - 1))
        torch.testing.assert_close(bound_term(prediction, x0), -log.mean((1, 2, 3)) / math.log(2))

    def test_prior_term_by_its_formula(self):
        x0 = pictures()
        a = SCHEDULE.alpha_bar[-1].item()
        expected = 0.5 * (a * x0**2 + (1 - a) - 1 - math.log(1 - a)).mean((1, 2, 3)) / math.log(2)
        torch.testing.assert_close(prior_term(SCHEDULE, x0), expected)

    def test_prior_term_survives_float32(self):
        """Cosine leaves 1.2e-9 bits: in float32 the difference would be exactly 0."""
        x0 = pictures()
        torch.testing.assert_close(
            prior_term(cosine(), x0.float()).double(), prior_term(cosine(), x0), rtol=1e-3, atol=0
        )
        assert prior_term(cosine(), x0.float()).min() > 0

    def test_vlb_loss_estimates_the_whole_bound(self):
        x0 = pictures(1)
        denoiser = Denoiser(net, SCHEDULE)
        every = torch.arange(1, SCHEDULE.T + 1)
        draws = [
            vlb_loss(denoiser, x0.expand(100, -1, -1, -1), every, normal(100, 1, 4, 4, seed=s)).mean()
            for s in range(40)
        ]
        bits = bits_per_dim(denoiser, x0.expand(40, -1, -1, -1), generator=torch.Generator().manual_seed(3))
        estimate, spread = torch.stack(draws).mean().item(), torch.stack(draws).std().item()
        assert bits.total - bits.prior == pytest.approx(estimate, abs=6 * spread / 40**0.5)


class TestHybrid:
    def test_the_bound_teaches_only_the_variance(self):
        x0, t, eps = setting()
        out = torch.zeros(6, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        denoiser = Denoiser(lambda *_: out, SCHEDULE, EPS, LEARNED)
        (hybrid_loss(denoiser, x0, t, eps) - simple_loss(denoiser, x0, t, eps)).sum().backward()
        target, variance = out.grad.chunk(2, dim=1)
        assert target.abs().max() < 1e-12
        assert variance.abs().max() > 0

    def test_it_is_the_sum_of_both(self):
        x0, t, eps = setting()
        denoiser = Denoiser(lambda x, t, cond: torch.cat([x, 0 * x], 1), SCHEDULE, EPS, LEARNED)
        both = simple_loss(denoiser, x0, t, eps) + 0.001 * vlb_loss(denoiser, x0, t, eps)
        torch.testing.assert_close(hybrid_loss(denoiser, x0, t, eps), both)


class TestBitsPerDim:
    def test_one_gaussian_pixel_is_coded_at_its_entropy(self):
        """x0 ~ N(0, s^2) on the levels: the exact denoiser's bound is close to the true entropy of the level."""
        std, n, schedule = 0.3, 2000, cosine(200)
        x0 = ((normal(n, 1) * std).clamp(-1, 1) * 127.5).round() / 127.5

        def exact(x_t, t, cond=None):
            a = schedule.alpha_bar[t.long()][:, None]
            return a.sqrt() * std**2 / (a * std**2 + 1 - a) * x_t

        denoiser = Denoiser(exact, schedule, X0, FIXED_LARGE)
        bits = bits_per_dim(denoiser, x0, generator=torch.Generator().manual_seed(0), batch=10_000)
        entropy = math.log2(std * math.sqrt(2 * math.pi * math.e) * 127.5)
        assert entropy - 0.02 < bits.total < entropy + 0.15
        assert bits.prior < 1e-3

    def test_some_times_estimate_all(self):
        denoiser, x0 = Denoiser(net, SCHEDULE), pictures(20)
        whole = bits_per_dim(denoiser, x0, generator=torch.Generator().manual_seed(0))
        part = bits_per_dim(denoiser, x0, times=range(1, 101, 4), generator=torch.Generator().manual_seed(0))
        assert len(part.terms) == 100
        assert part.terms[40:].sum().item() == pytest.approx(whole.terms[40:].sum().item(), rel=0.1)
