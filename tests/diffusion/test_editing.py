"""Changing what is there: what is kept to the last bit, where the way begins, and what masking only approximates."""

import pytest
import torch

from edu_diffusion.data import GaussianMixture
from edu_diffusion.diffusion import (
    X0,
    ClassifierFree,
    Denoiser,
    ancestral,
    cosine,
    ddim,
    dpm_pp,
    exact_denoiser,
    generate,
    linear,
    q_sample,
    sample,
)
from edu_diffusion.diffusion.editing import Beside, check_mask, composite, holding, image_to_image, seam, shortened
from edu_diffusion.types import Cond

SCHEDULE = cosine(100)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=2, size=8):
    return torch.rand(n, 3, size, size, generator=seeded(9)) * 2 - 1


def left(n=1, size=8):
    mask = torch.zeros(n, 1, size, size, dtype=torch.bool)
    mask[..., : size // 2] = True
    return mask


def grey(x_t, t, cond=None):
    """Always guesses that the picture is grey."""
    return torch.zeros_like(x_t)


GREY = Denoiser(grey, SCHEDULE, X0)


class TestHolding:
    @pytest.mark.parametrize("rule", [ddim(), ancestral(), dpm_pp()], ids=["ddim", "ancestral", "dpm_pp"])
    def test_outside_the_mask_the_picture_is_kept_to_the_last_bit(self, rule):
        x0, mask = pictures(), left()
        made = generate(GREY, x0.shape, steps=7, rule=holding(rule, x0, mask), generator=seeded())
        outside = ~mask.expand(x0.shape)
        assert torch.equal(made[outside], x0[outside])
        assert not torch.equal(made[~outside], x0[~outside])

    def test_on_the_way_the_known_part_is_noised_to_the_time_of_the_step(self):
        x0, mask = torch.full((1, 1, 60, 60), 0.5), torch.zeros(1, 1, 60, 60, dtype=torch.bool)
        mask[..., 0, 0] = True
        for step in sample(GREY, x0.shape, steps=4, rule=holding(ddim(), x0, mask), generator=seeded()):
            known = step.x[0, 0, 1:]
            signal, noise = SCHEDULE.signal(step.t, x0), SCHEDULE.noise(step.t, x0)
            assert known.mean().item() == pytest.approx(0.5 * signal, abs=0.06)
            assert known.std().item() == pytest.approx(noise, abs=0.03)

    def test_where_all_is_to_be_painted_the_rule_is_as_it_was(self):
        x0, everything = pictures(), torch.ones(1, 1, 8, 8, dtype=torch.bool)
        made = [generate(GREY, x0.shape, steps=5, rule=r, generator=seeded()) for r in (ddim(), ddim())]
        held = generate(GREY, x0.shape, steps=5, rule=holding(ddim(), x0, everything), generator=seeded())
        assert torch.equal(made[0], made[1]) and torch.equal(made[0], held)

    def test_the_conditional_distribution_is_met_only_about(self):
        """Two groups in the plane, the first coordinate known: the second must be that of the nearer group."""
        known = GaussianMixture(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), 0.25)
        plane, n = exact_denoiser(known, linear(1000)), 1500
        x0 = torch.tensor([[1.0, 0.0]]).expand(n, 2)
        mask = torch.tensor([[False, True]])
        made = generate(plane, (n, 2), steps=100, rule=holding(ancestral(), x0, mask), generator=seeded())
        assert torch.equal(made[:, 0], x0[:, 0])
        right = (made[:, 1] > 0).float().mean().item()
        # Given the first coordinate, the second group has odds of e^32 to 1; masking misses it now and then.
        assert 0.85 < right < 0.999

    def test_the_known_picture_may_lie_elsewhere_in_memory_and_precision(self):
        x0 = pictures().double()
        made = generate(GREY, x0.shape, steps=3, rule=holding(ddim(), x0, left()), generator=seeded())
        assert made.dtype == torch.float32 and torch.equal(made[..., 4:], x0.float()[..., 4:])


class TestMasks:
    @pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8)])
    def test_one_for_all_or_one_for_each(self, shape):
        check_mask(torch.ones(shape, dtype=torch.bool), pictures())

    @pytest.mark.parametrize("shape", [(1, 1, 8, 7), (1, 1, 16, 16), (3, 1, 8, 8), (1, 2, 8, 8), (8, 8)])
    def test_another_size_is_refused(self, shape):
        with pytest.raises(ValueError, match="must have the size of what it lies on"):
            check_mask(torch.ones(shape, dtype=torch.bool), pictures())

    def test_an_empty_one_is_refused_even_if_it_is_one_of_many(self):
        mask = left(2).clone()
        mask[1] = False
        with pytest.raises(ValueError, match="empty"):
            holding(ddim(), pictures(), mask)

    def test_a_picture_out_of_range_is_refused(self):
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            composite(pictures(), pictures() * 3, left())

    def test_composite_keeps_all_outside(self):
        x0, painted = pictures(), -pictures()
        joined = composite(painted, x0, left())
        assert torch.equal(joined[..., 4:], x0[..., 4:]) and torch.equal(joined[..., :4], painted[..., :4])
        with pytest.raises(ValueError, match="shape"):
            composite(painted[..., :4], x0, left())


class TestSeam:
    def test_it_is_the_mean_jump_across_the_border(self):
        x = torch.zeros(2, 3, 8, 8)
        x[1, :, :, 4:] = 0.5
        torch.testing.assert_close(seam(x, left()), torch.tensor([0.0, 0.5]))

    def test_what_lies_elsewhere_does_not_count(self):
        x = torch.zeros(1, 3, 8, 8)
        x[..., 6] = 1.0
        assert seam(x, left()).item() == 0

    def test_a_mask_over_everything_has_none(self):
        with pytest.raises(ValueError, match="no seam"):
            seam(pictures(), torch.ones(1, 1, 8, 8, dtype=torch.bool))


class TestBeside:
    @staticmethod
    def told(x_t, t, cond):
        """A network that answers with what stands beside, and the condition's first number."""
        return cond.spatial + cond.vec[:, :1, None, None]

    def test_both_halves_of_guidance_are_told_the_same(self):
        spatial, cond = pictures(), Cond(vec=torch.tensor([[1.0], [2.0]]))
        inside = Beside(Denoiser(self.told, SCHEDULE, X0), spatial)
        guided = ClassifierFree(inside, 3.0, Cond(vec=torch.zeros(1, 1)))
        x0 = guided(torch.randn(2, 3, 8, 8, generator=seeded()), 50, cond).x0
        torch.testing.assert_close(x0, spatial + 3 * cond.vec[:, :, None, None], atol=1e-4, rtol=1e-4)

    def test_another_number_of_examples_is_refused(self):
        inside = Beside(Denoiser(self.told, SCHEDULE, X0), pictures(2))
        with pytest.raises(ValueError, match="given for 2 examples, but x_t has 3"):
            inside(torch.zeros(3, 3, 8, 8), 50, Cond(vec=torch.zeros(3, 1)))


class TestImageToImage:
    @pytest.mark.parametrize(
        ("strength", "steps", "times"),
        [(1.0, 4, [100, 75, 50, 25, 0]), (0.5, 4, [50, 25, 0]), (0.01, 4, [1, 0]), (0.4, 100, list(range(40, -1, -1)))],
    )
    def test_the_way_is_shortened_and_its_steps_with_it(self, strength, steps, times):
        assert shortened(100, strength, steps) == times

    @pytest.mark.parametrize("strength", [0.0, -0.1, 1.1])
    def test_a_strength_out_of_range_is_refused(self, strength):
        with pytest.raises(ValueError, match="strength"):
            shortened(100, strength, 10)

    def test_more_steps_than_times_are_refused(self):
        with pytest.raises(ValueError, match="at most 1 steps"):
            shortened(100, 0.014, 200)

    def test_it_begins_at_the_noised_picture(self):
        x0, seen = pictures(), []

        def net(x_t, t, cond):
            seen.append((float(t[0]), x_t))
            return torch.zeros_like(x_t)

        list(image_to_image(Denoiser(net, SCHEDULE, X0), x0, 0.5, steps=4, rule=ddim(), generator=seeded(1)))
        eps = torch.randn(x0.shape, generator=seeded(1))
        assert [t for t, _ in seen] == [50, 25]
        torch.testing.assert_close(seen[0][1], q_sample(SCHEDULE, x0, 50, eps))

    def test_a_small_strength_keeps_what_is_coarse(self):
        """Two groups far apart: little noise hardly ever leads from one to the other, much does so half the time."""
        known = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.1)
        plane, x0 = exact_denoiser(known, linear(1000)), torch.tensor([[1.0, 0.0]]).expand(400, 2)
        stayed = {}
        for strength in (0.1, 1.0):
            *_, last = image_to_image(plane, x0, strength, steps=40, rule=ancestral(), generator=seeded())
            stayed[strength] = (last.x[:, 0] > 0).float().mean().item()
        assert stayed[0.1] > 0.98 and 0.4 < stayed[1.0] < 0.6

    def test_a_picture_out_of_range_is_refused(self):
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            image_to_image(GREY, pictures() * 2, 0.5, steps=4, rule=ddim())
