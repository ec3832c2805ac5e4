"""Guidance: what each wrapper does to a prediction, and that they stack."""

import math

import pytest
import torch

from edu_diffusion.diffusion import (
    EPS,
    FIXED_LARGE,
    FIXED_SMALL,
    LEARNED,
    X0,
    ClassifierFree,
    ClassifierGuided,
    ClipX0,
    Denoiser,
    DynamicThreshold,
    Interval,
    ancestral,
    classifier_gradient,
    cosine,
    ddim,
    generate,
    linear,
    q_sample,
)
from edu_diffusion.types import Cond

SCHEDULE = linear()
NULL = Cond(vec=torch.zeros(1, 1))


def by_condition(x, t, cond):
    """A network that answers with its condition, so that mixtures can be read off."""
    return cond.vec[:, :, None, None].expand_as(x).clone()


def setting(n=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 2, 2, generator=generator), Cond(vec=torch.ones(n, 1))


class TestClipX0:
    def test_x0_is_in_range_and_eps_moved_along(self):
        x_t = 5 * setting()[0]
        prediction = ClipX0(Denoiser(lambda x, t, cond: 0 * x, SCHEDULE))(x_t, 500)
        assert prediction.x0.abs().max() <= 1
        torch.testing.assert_close(q_sample(SCHEDULE, prediction.x0, 500, prediction.eps), x_t)
        assert prediction.eps.abs().max() > 0

    def test_in_range_nothing_changes(self):
        x_t = 0.01 * setting()[0]
        plain = Denoiser(lambda x, t, cond: 0 * x, SCHEDULE)
        torch.testing.assert_close(ClipX0(plain)(x_t, 5).eps, plain(x_t, 5).eps)


class TestClassifierFree:
    @pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
    @pytest.mark.parametrize("t", [400, torch.tensor([1, 400, 1000])], ids=["one", "each"])
    def test_the_scale_runs_from_null_to_the_condition_and_beyond(self, scale, t):
        x_t, cond = setting()
        prediction = ClassifierFree(Denoiser(by_condition, SCHEDULE), scale, NULL)(x_t, t, cond)
        torch.testing.assert_close(prediction.eps, torch.full_like(x_t, scale))
        torch.testing.assert_close(q_sample(SCHEDULE, prediction.x0, t, prediction.eps), x_t)

    def test_both_halves_run_as_one_batch(self):
        sizes = []

        def counting(x, t, cond):
            sizes.append((len(x), len(t), len(cond)))
            return by_condition(x, t, cond)

        x_t, cond = setting()
        ClassifierFree(Denoiser(counting, SCHEDULE), 2.0, NULL)(x_t, 400, cond)
        assert sizes == [(6, 6, 6)]

    def test_a_learned_variance_is_the_conditional_ones(self):
        x_t, cond = setting()
        denoiser = Denoiser(lambda x, t, c: by_condition(torch.cat([x, x], 1), t, c), SCHEDULE, EPS, LEARNED)
        prediction = ClassifierFree(denoiser, 2.0, NULL)(x_t, 400, cond)
        assert prediction.var_frac.shape == x_t.shape
        assert (prediction.var_frac == 1).all()

    def test_what_does_not_fit_is_refused(self):
        x_t, cond = setting()
        guided = ClassifierFree(Denoiser(by_condition, SCHEDULE), 2.0, NULL)
        with pytest.raises(ValueError, match="needs a condition for each of the 3"):
            guided(x_t, 400)
        with pytest.raises(ValueError, match="batch size 1"):
            ClassifierFree(Denoiser(by_condition, SCHEDULE), 2.0, cond)


class TestClassifierGuided:
    def test_the_score_moves_by_the_gradient(self):
        """log p = -|x - 2|^2 / 2 has the gradient 2 - x; eps is minus noise times the score."""
        x_t, _ = setting()
        plain = Denoiser(lambda x, t, cond: 0.1 * x, SCHEDULE)
        guided = ClassifierGuided(plain, lambda x, t: -((x - 2) ** 2).flatten(1).sum(1) / 2, scale=3.0)
        moved = guided(x_t, 300).eps - plain(x_t, 300).eps
        torch.testing.assert_close(moved, -SCHEDULE.noise(300, x_t) * 3.0 * (2 - x_t))

    def test_it_works_inside_no_grad_and_samples_the_conditional(self):
        """Prior N(0, 1), p(y | x0) = N(x0; 1, 1): guidance with the exact p(y | x_t) samples N(1/2, 1/2)."""
        schedule = cosine()

        def exact(x, t, cond=None):
            return schedule.signal(t.long(), x) * x

        def log_prob(x, t):
            a = schedule.alpha_bar[t].item()
            return -((1 - a**0.5 * x[:, 0]) ** 2) / (2 * (1 + 1 - a))

        x = generate(
            ClassifierGuided(Denoiser(exact, schedule, X0), log_prob),
            (20_000, 1),
            steps=100,
            rule=ddim(),
            generator=torch.Generator().manual_seed(0),
        )
        assert x.mean().item() == pytest.approx(0.5, abs=0.03)
        assert x.var().item() == pytest.approx(0.5, abs=0.04)

    def test_the_papers_mean_shift_samples_it_too(self):
        schedule = linear()

        def log_prob(x, t):
            a = schedule.alpha_bar[t].item()
            return -((1 - a**0.5 * x[:, 0]) ** 2) / (2 * (2 - a))

        rule = ancestral(shift=lambda now: classifier_gradient(log_prob, now.x_t, now.t))
        exact = Denoiser(lambda x, t, cond: schedule.signal(t.long(), x) * x, schedule, X0)
        options = {"steps": 500, "rule": rule, "generator": torch.Generator().manual_seed(0)}
        x = generate(exact, (10_000, 1), **options)
        assert x.mean().item() == pytest.approx(0.5, abs=0.04)

    @pytest.mark.parametrize("variance", [FIXED_SMALL, FIXED_LARGE])
    def test_the_mean_moves_by_the_steps_own_variance(self, variance):
        """ADM algorithm 1: mean + Sigma g, with Sigma of this very step; at t = 2 beta_tilde is far below beta."""
        schedule, x_t = linear(), torch.zeros(4, 1)
        denoiser = Denoiser(lambda x, t, cond: 0 * x, schedule, X0, variance)
        now, rule = denoiser(x_t, 2), ancestral(shift=lambda now: torch.full((4, 1), 3.0))
        moved = rule(now, 1, lambda: torch.zeros(4, 1), None) - ancestral()(now, 1, lambda: torch.zeros(4, 1), None)
        torch.testing.assert_close(moved, torch.full((4, 1), 3.0 * math.exp(now.log_var(1))))

    def test_inside_classifier_free_guidance_it_is_refused(self):
        inner = ClipX0(ClassifierGuided(Denoiser(by_condition, SCHEDULE), lambda x, t: x.sum(1)))
        with pytest.raises(ValueError, match="ClassifierGuided outside"):
            ClassifierFree(inner, 2.0, NULL)


def test_wrappers_stack_and_their_order_means_something():
    x_t, cond = setting()
    plain = Denoiser(by_condition, SCHEDULE)
    inside = ClassifierFree(ClipX0(plain), 5.0, NULL)(x_t, 900, cond)
    outside = ClipX0(ClassifierFree(plain, 5.0, NULL))(x_t, 900, cond)
    assert outside.x0.abs().max() <= 1 < inside.x0.abs().max()


class TestDynamicThreshold:
    def test_what_leaves_the_range_is_squeezed_back(self):
        x_t = torch.linspace(-4, 4, 1000).reshape(1, 1, 10, 100)
        prediction = DynamicThreshold(Denoiser(lambda x, t, cond: x, SCHEDULE, X0), 0.9)(x_t, 500)
        assert prediction.x0.abs().max() == 1
        # A tenth was beyond the quantile, so it is clipped; the rest is scaled alike.
        inside = prediction.x0.abs() < 1
        assert inside.float().mean() == pytest.approx(0.9, abs=0.01)
        torch.testing.assert_close(prediction.x0[inside], x_t[inside] / 3.6, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(q_sample(SCHEDULE, prediction.x0, 500, prediction.eps), x_t)

    def test_what_is_in_range_is_left_alone(self):
        x_t = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
        plain = Denoiser(lambda x, t, cond: x, SCHEDULE, X0)
        torch.testing.assert_close(DynamicThreshold(plain)(x_t, 500).x0, x_t)

    def test_each_example_has_its_own(self):
        x_t = torch.cat([torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 5.0)])
        found = DynamicThreshold(Denoiser(lambda x, t, cond: x, SCHEDULE, X0))(x_t, 500).x0
        assert found[0].max() == 0.5 and found[1].max() == 1

    @pytest.mark.parametrize("share", [0.0, 1.1])
    def test_shares_out_of_range_are_refused(self, share):
        with pytest.raises(ValueError, match="share must be in"):
            DynamicThreshold(Denoiser(by_condition, SCHEDULE), share)


class TestInterval:
    def test_guidance_acts_inside_only(self):
        x_t, cond = setting()
        some = Interval(ClassifierFree(Denoiser(by_condition, SCHEDULE), 3.0, NULL), 200, 600)
        assert [some(x_t, t, cond).eps.max().item() for t in (199, 200, 600, 601)] == [1, 3, 3, 1]

    def test_what_makes_no_sense_is_refused(self):
        plain = Denoiser(by_condition, SCHEDULE)
        guided = ClassifierFree(plain, 3.0, NULL)
        with pytest.raises(ValueError, match="got ClipX0"):
            Interval(ClipX0(guided), 1, 5)
        with pytest.raises(ValueError, match="low must not be above high"):
            Interval(guided, 5, 1)
        with pytest.raises(ValueError, match="give an int"):
            Interval(guided, 1, 5)(*setting()[:1], torch.tensor([1, 2, 3]), setting()[1])
        steered = Interval(ClassifierGuided(plain, lambda x, t: x.flatten(1).sum(1)), 1, 5)
        with pytest.raises(ValueError, match="ClassifierGuided outside"):
            ClassifierFree(steered, 2.0, NULL)
