"""Pictures as patches, and the vision transformer that reads them."""

import math

import pytest
import torch

from edu_diffusion.nets.vit import ViT, grid_places, patchify, take, unpatchify

TINY = {"size": (8, 12), "patch": 4, "width": 32, "depth": 2}


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(**options) -> ViT:
    """Random weights everywhere: as it is built, its blocks do nothing."""
    net, generator = ViT(**TINY | options), torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter.shape[-1])
    return net.eval()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class TestPatches:
    def test_row_by_row_from_the_upper_left(self):
        picture = torch.arange(24.0).view(1, 1, 4, 6)
        patches = patchify(picture, 2)
        assert patches.shape == (1, 6, 4)
        assert patches[0, 0].tolist() == [0, 1, 6, 7]
        assert patches[0, 1].tolist() == [2, 3, 8, 9]
        assert patches[0, 3].tolist() == [12, 13, 18, 19]

    def test_channel_by_channel(self):
        picture = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])[None]
        assert patchify(picture, 2)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]

    @pytest.mark.parametrize(("shape", "patch"), [((2, 1, 28, 28), 4), ((3, 3, 8, 12), 2), ((1, 1, 1, 16), 1)])
    def test_there_and_back(self, shape, patch):
        x = normal(*shape)
        assert torch.equal(unpatchify(patchify(x, patch), patch, shape[-2:]), x)

    @pytest.mark.parametrize("shape", [(1, 1, 9, 8), (1, 1, 8, 9)])
    def test_pictures_that_do_not_divide_are_refused(self, shape):
        with pytest.raises(ValueError, match=f"multiples of patch 4, got {shape[2]}x{shape[3]}"):
            patchify(torch.zeros(shape), 4)

    @pytest.mark.parametrize("shape", [(1, 5, 16), (1, 6, 15)])
    def test_patches_of_another_picture_are_refused(self, shape):
        with pytest.raises(ValueError, match=f"has 6 patches of 4x4 pixels, got {shape[1]} of {shape[2]} numbers"):
            unpatchify(torch.zeros(shape), 4, (8, 12))

    def test_each_example_has_its_own_numbers(self):
        tokens = normal(2, 4, 3)
        taken = take(tokens, torch.tensor([[2, 0], [3, 3]]))
        assert torch.equal(taken, torch.stack([tokens[0, [2, 0]], tokens[1, [3, 3]]]))


class TestPlaces:
    def test_half_says_the_row_and_half_the_column(self):
        places = grid_places(3, 5, 16).view(3, 5, 16)
        assert torch.equal(places[1, :, :8], places[1, :1, :8].expand(5, -1))
        assert torch.equal(places[:, 2, 8:], places[:1, 2, 8:].expand(3, -1))

    def test_no_two_are_alike(self):
        places = grid_places(7, 7, 32)
        distance = torch.cdist(places, places) + 9 * torch.eye(49)
        assert distance.min() > 0.1

    def test_they_are_cosines_and_sines(self):
        first, second = grid_places(1, 2, 8)
        assert first.tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
        expected = [math.cos(1), math.cos(0.01), math.sin(1), math.sin(0.01)]
        assert second[4:].tolist() == pytest.approx(expected, rel=1e-4)

    def test_their_width_is_a_multiple_of_four(self):
        with pytest.raises(ValueError, match="multiple of 4, got 18"):
            grid_places(2, 2, 18)


class TestViT:
    def test_a_token_for_each_patch(self):
        net = stirred()
        assert net.count == 6 and net.grid == (2, 3)
        assert net(normal(2, 1, 8, 12)).shape == (2, 6, 32)

    def test_it_starts_as_a_norm_of_patches_and_places(self):
        net, x = ViT(**TINY), normal(2, 1, 8, 12)
        expected = torch.nn.functional.layer_norm(net.enter(patchify(x, 4)) + net.places, (32,))
        close(net(x), expected)

    def test_what_is_hidden_is_not_seen(self):
        net, x, keep = stirred(), normal(2, 1, 8, 12), torch.tensor([[1, 4], [0, 5]])
        other = patchify(normal(2, 1, 8, 12, seed=2), 4)
        mixed = other.scatter(1, keep[..., None].expand(-1, -1, 16), take(patchify(x, 4), keep))
        seen = net(x, keep)
        assert seen.shape == (2, 2, 32)
        close(net(unpatchify(mixed, 4, (8, 12)), keep), seen)
        assert not torch.allclose(net(x)[0, [1, 4]], seen[0], atol=1e-2)

    def test_the_order_of_what_is_shown_does_not_matter(self):
        net, x = stirred(), normal(1, 1, 8, 12)
        close(net(x, torch.tensor([[4, 1, 3]])), net(x, torch.tensor([[1, 3, 4]]))[:, [2, 0, 1]])
        close(net(x, torch.arange(6)[None]), net(x))

    def test_places_matter(self):
        """Two patches change places. Without places the tokens are a set, and their mean stays as it was."""
        net, x = stirred(), normal(1, 1, 8, 12)
        moved = unpatchify(patchify(x, 4)[:, [1, 0, 2, 3, 4, 5]], 4, (8, 12))
        assert (net(moved).mean(1) - net(x).mean(1)).abs().max() > 1e-3
        net.places.zero_()
        assert (net(moved).mean(1) - net(x).mean(1)).abs().max() < 1e-5

    def test_places_are_fixed_and_not_kept_with_the_weights(self):
        net = ViT(**TINY)
        assert "places" not in net.state_dict() and not net.places.requires_grad

    def test_every_parameter_is_trained(self):
        net = stirred().train()
        net(normal(2, 1, 8, 12)).mul(normal(32, seed=2)).square().sum().backward()
        assert [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-4] == []

    def test_colour(self):
        net = stirred(channels=3)
        assert net(normal(1, 3, 8, 12)).shape == (1, 6, 32) and net.enter.in_features == 48

    @pytest.mark.parametrize("shape", [(1, 1, 12, 8), (1, 3, 8, 12)])
    def test_other_pictures_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"\(n, 1, 8, 12\), got"):
            ViT(**TINY)(torch.zeros(shape))

    def test_what_cannot_be_built_is_refused(self):
        with pytest.raises(ValueError, match="multiples of patch 3, got 8x12"):
            ViT((8, 12), 3)
        with pytest.raises(ValueError, match="multiple of head_width 32, got 48"):
            ViT((8, 12), 4, width=48)
