"""Small pictures as conditions: sizes, what is told of the noise, and blur against its definition."""

import math

import pytest
import torch

from edu_diffusion.conditioning.lowres import LowRes, blur, double, halve


def pictures(n=3, size=8):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_halving_is_the_mean_of_four_and_doubling_keeps_straight_lines():
    x = pictures()
    torch.testing.assert_close(halve(x)[..., 1, 2], x[..., 2:4, 4:6].mean((-1, -2)))
    ramp = torch.linspace(-1, 1, 8).expand(1, 3, 8, 8)
    inner = double(ramp)[..., 1:-1]
    torch.testing.assert_close(inner.diff(dim=-1), torch.full_like(inner.diff(dim=-1), 1 / 7))


def test_the_condition_tells_the_level_and_nothing_else_changes_it():
    small, levels = pictures(), LowRes(width=16)
    a, b = (levels(small, torch.full((3,), level)) for level in (0, 100))
    assert torch.equal(a.spatial, b.spatial) and a.spatial.shape == (3, 3, 16, 16)
    assert a.vec.shape == (3, 16) and not torch.allclose(a.vec, b.vec)
    torch.testing.assert_close(a.vec[0], torch.cat([torch.ones(8), torch.zeros(8)]))  # cosines and sines of 0


class TestBlur:
    def test_zero_leaves_a_picture_alone(self):
        torch.testing.assert_close(blur(pictures(), torch.zeros(3)), pictures())

    def test_a_point_becomes_a_gaussian(self):
        x = torch.zeros(1, 3, 15, 15)
        x[..., 7, 7] = 1.0
        spread = blur(x, torch.tensor([0.8]))[0, 1]
        torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
        assert (spread[7, 8] / spread[7, 7]).item() == pytest.approx(math.exp(-1 / (2 * 0.64)), rel=1e-3)
        assert (spread[9, 8] / spread[7, 7]).item() == pytest.approx(math.exp(-5 / (2 * 0.64)), rel=1e-3)

    def test_each_has_its_own(self):
        x = pictures(2)
        both = blur(x, torch.tensor([0.0, 0.7]))
        torch.testing.assert_close(both[0], x[0])
        torch.testing.assert_close(both[1:], blur(x[1:], torch.tensor([0.7])))
        assert not torch.allclose(both[1], x[1], atol=0.05)

    @pytest.mark.parametrize("std", [-0.1, 1.5])
    def test_out_of_range_is_refused(self, std):
        with pytest.raises(ValueError, match="blur"):
            blur(pictures(1), torch.tensor([std]))
