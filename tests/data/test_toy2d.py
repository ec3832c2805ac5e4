import math

import pytest
import torch

from edu_diffusion import data

TOYS = [data.swiss_roll, data.two_moons, data.eight_gaussians, data.checkerboard, data.spiral]


def draw(toy, n: int = 5000, seed: int = 0) -> torch.Tensor:
    return toy(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("toy", TOYS)
def test_points_are_of_unit_scale_about_the_origin(toy):
    x = draw(toy)
    assert x.shape == (5000, 2) and x.dtype == torch.float32
    assert x.mean(0).abs().max() < 0.3 and x.std(0).min() > 0.6 and x.std(0).max() < 1.4 and x.abs().max() < 3


@pytest.mark.parametrize("toy", TOYS)
def test_the_generator_decides_the_points(toy):
    assert draw(toy).equal(draw(toy)) and not draw(toy).equal(draw(toy, seed=1))


def test_checkerboard_fills_only_dark_squares():
    x = draw(data.checkerboard)
    column, row = (x + 2).floor().int().T
    assert ((column + row) % 2 == 0).all()
    assert len(torch.stack([column, row], 1).unique(dim=0)) == 8


def test_eight_gaussians_are_eight():
    x = draw(data.eight_gaussians)
    mode = (torch.atan2(x[:, 1], x[:, 0]) / (math.tau / 8)).round().int() % 8
    assert mode.bincount().min() > 500
    assert (x.norm(dim=1) - math.sqrt(2)).abs().max() < 0.6


@pytest.mark.parametrize(("toy", "turn"), [(data.swiss_roll, 9), (data.spiral, 5)])
def test_spirals_have_a_radius_that_grows_with_the_angle(toy, turn):
    # On such a curve radius * turn is the angle, up to whole turns (half turns for two arms) and the jitter.
    x = draw(toy)
    left = (x.norm(dim=1) * turn - torch.atan2(x[:, 1], x[:, 0])) / math.pi
    period = 2 if toy is data.swiss_roll else 1
    off = (left / period - (left / period).round()).abs() * period
    assert off.quantile(0.9) < 0.3


def test_two_moons_are_turned_images_of_each_other():
    x = draw(data.two_moons, 20_000)
    upper = (x[:, 1] > 0.4).sum().item()
    lower = (x[:, 1] < -0.4).sum().item()
    assert upper == pytest.approx(lower, rel=0.1) and upper > 4000
