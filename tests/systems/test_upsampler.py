"""The upsampler: what it starts from, what it is told, and what it refuses."""

import pytest
import torch

from edu_diffusion.conditioning.lowres import blur, double, halve
from edu_diffusion.data import Batches
from edu_diffusion.diffusion import ancestral, cosine, q_sample
from edu_diffusion.systems.upsampler import Upsampler, up_unet
from edu_diffusion.training import adamw, train
from edu_diffusion.types import Batch, Rng

SMALL_NET = {"widths": (16, 16), "attention": (False, False), "patch": 2}


def pictures(n=8, size=16):
    """Smooth stripes, each at another angle."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(n, 3, 1, 1, 2, generator=generator)
    line = torch.linspace(-3, 3, size)
    return torch.sin(direction[..., 0] * line[:, None] + direction[..., 1] * line)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def upsampler(size=16, **options) -> Upsampler:
    torch.manual_seed(0)
    return Upsampler(size=size, net=up_unet(size, **SMALL_NET), **options)


def one_loss(recipe, seed=0):
    [(phase, loss, _)] = recipe.losses(Batch(pictures()), Rng(seed))
    assert phase == "net"
    return loss


def test_untrained_it_enlarges_by_straight_lines():
    small = halve(pictures())
    made = upsampler().pictures(small, seeded(), level=0)
    torch.testing.assert_close(made, double(small).clamp(-1, 1), atol=1e-5, rtol=1e-5)


def test_training_lowers_the_loss_below_that_of_straight_lines():
    recipe = upsampler(most=0)
    straight = (double(halve(pictures())) - pictures()).square().mean()
    torch.testing.assert_close(one_loss(recipe, 5), straight)
    optimisers = {"net": adamw(recipe.net.parameters(), 2e-3, warmup=1)}
    for _ in train(recipe, Batches(pictures(), 8, seed=0), optimisers, steps=40):
        pass
    assert one_loss(recipe, 5) < 0.8 * straight


class TestCondition:
    def test_the_small_picture_is_noised_to_the_level_that_is_told(self):
        recipe, small = upsampler(), torch.full((400, 3, 8, 8), 0.5)
        cond = recipe.condition(Batch(torch.full((400, 3, 16, 16), 0.5)), Rng(0))
        level = (cond.vec[:, None] - recipe.levels(small[:101], torch.arange(101)).vec).abs().sum(2).argmin(1)
        assert level.min() == 0 and level.max() >= recipe.most - 5
        spread, wanted = cond.spatial.flatten(1).std(1), recipe.schedule.noise(level, small).flatten()
        assert torch.corrcoef(torch.stack([spread, wanted]))[0, 1] > 0.95

    def test_it_is_the_halved_picture_with_noise_of_its_own(self):
        recipe, small = upsampler(), halve(pictures())
        level, eps = torch.full((8,), 90), torch.randn(8, 3, 8, 8, generator=seeded())
        cond = recipe.worsened(small, level, eps)
        torch.testing.assert_close(cond.spatial, double(q_sample(cosine(), small, 90, eps)))

    def test_blur_is_drawn_for_each_picture(self):
        plain, blurred = (
            upsampler(blur=std, most=0).condition(Batch(pictures()), Rng(1)).spatial for std in (0.0, 0.9)
        )
        std = 0.9 * Rng(1).uniform(8)
        torch.testing.assert_close(plain, double(halve(pictures())))
        torch.testing.assert_close(blurred, double(blur(halve(pictures()), std)))

    def test_captions_are_not_looked_at(self):
        recipe = upsampler()
        with_labels = Batch(pictures(), torch.arange(8))
        assert torch.equal(
            recipe.condition(with_labels, Rng(0)).spatial, recipe.condition(Batch(pictures()), Rng(0)).spatial
        )


class TestPictures:
    def test_the_same_seed_gives_the_same(self):
        recipe, small = upsampler(), halve(pictures())
        torch.nn.init.normal_(recipe.net.unet.leave[-1].weight, std=0.05)
        made = [recipe.pictures(small, seeded(s), rule=ancestral()) for s in (0, 0, 1)]
        assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
        assert made[0].shape == (8, 3, 16, 16) and made[0].abs().max() <= 1

    def test_all_noise_comes_from_the_generator(self):
        recipe, small, state = upsampler(), halve(pictures()), torch.get_rng_state()
        recipe.pictures(small, seeded())
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize(
        ("size", "times", "level", "says"),
        [
            (4, 1, 30, "3x8x8 were expected, got 3x4x4"),
            (8, 3, 30, r"\[-1, 1\]"),
            (8, 1, 101, "levels 0..100, got 101"),
            (8, 1, -1, "levels 0..100, got -1"),
        ],
    )
    def test_bad_input_is_refused(self, size, times, level, says):
        with pytest.raises(ValueError, match=says):
            upsampler().pictures(times * pictures(2, size), seeded(), level=level)

    def test_training_pictures_of_another_size_are_refused(self):
        with pytest.raises(ValueError, match="3x16x16 were expected"):
            upsampler().check(Batch(pictures(8, 32)))

    def test_a_largest_level_that_is_no_time_is_refused(self):
        with pytest.raises(ValueError, match="most must be a time"):
            upsampler(most=1001)

    def test_the_network_alone_wants_its_small_picture(self):
        with pytest.raises(ValueError, match="needs the small picture"):
            upsampler().denoiser(pictures(), 500)


@pytest.mark.parametrize("size", [32, 64])
def test_the_default_networks_fit_the_zoo(size):
    recipe = Upsampler(size=size)
    assert 2 * sum(p.numel() for p in recipe.net.parameters()) < 8 * 2**20
    assert recipe.pictures(halve(pictures(1, size)), seeded(), steps=1).shape == (1, 3, size, size)
