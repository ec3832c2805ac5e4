"""The networks: shapes, what each condition changes, and what is refused."""

import math

import pytest
import torch

from edu_diffusion.nets import MLP, Attention, Encoder, ResBlock, ResizeBlock, UNet, attend, group_norm, sinusoid
from edu_diffusion.nets.layers import resize
from edu_diffusion.systems.ddpm import ddpm_unet
from edu_diffusion.types import Cond

SMALL = {"widths": (16, 32)}


def stirred(net):
    """Random weights everywhere: the zeroed ones would hide what reaches the output."""
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter.shape[-1] + 1)
    return net.eval()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestUNet:
    @pytest.mark.parametrize("size", [28, 32, 12])
    @pytest.mark.parametrize("patch", [1, 2])
    def test_same_size_out_as_in(self, size, patch):
        x = normal(2, 3, size, size)
        assert UNet(3, patch=patch, **SMALL)(x, torch.tensor([1.0, 9.0])).shape == x.shape

    def test_it_may_put_out_more_channels(self):
        assert UNet(1, 2, **SMALL)(normal(2, 1, 8, 8), torch.ones(2)).shape == (2, 2, 8, 8)

    def test_half_precision_rounds_neither_what_comes_in_nor_what_goes_out(self):
        net, kinds = stirred(UNet(1, **SMALL)), {}
        parts = {"first": net.enter, "last": net.leave, "between": net.middle.block}
        for name, part in parts.items():
            part.register_forward_hook(
                lambda _, given, out, name=name: kinds.update({name: (given[0].dtype, out.dtype)})
            )
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            out = net(normal(2, 1, 8, 8), torch.ones(2))
        assert out.dtype == torch.float32 and kinds["first"] == kinds["last"] == (torch.float32, torch.float32)
        assert kinds["between"][1] == torch.bfloat16

    def test_it_starts_by_predicting_nothing(self):
        assert UNet(1, **SMALL)(normal(2, 1, 8, 8), torch.ones(2)).abs().max() == 0

    def test_time_matters_unless_switched_off(self):
        x = normal(1, 1, 8, 8)
        for time, differ in ((True, True), (False, False)):
            net = stirred(UNet(1, time=time, **SMALL))
            assert torch.equal(net(x, torch.tensor([1.0])), net(x, torch.tensor([900.0]))) != differ

    def test_without_skips_it_is_smaller(self):
        count = [sum(p.numel() for p in UNet(1, skips=skips, **SMALL).parameters()) for skips in (True, False)]
        assert count[1] < count[0]

    def test_every_part_of_a_condition_is_heard(self):
        net = stirred(UNet(1, vec=4, tokens=6, spatial=2, **SMALL))
        x, t = normal(1, 1, 8, 8), torch.tensor([5.0])
        mask = torch.tensor([[True, True, False]])
        given = {"vec": normal(1, 4), "tokens": normal(1, 3, 6), "mask": mask, "spatial": normal(1, 2, 8, 8)}
        base = net(x, t, Cond(**given))
        for name, other in {"vec": normal(1, 4, seed=2), "spatial": normal(1, 2, 8, 8, seed=2)}.items():
            assert not torch.allclose(base, net(x, t, Cond(**given | {name: other})))
        heard, unheard = given["tokens"].clone(), given["tokens"].clone()
        heard[:, 0] += 1
        unheard[:, 2] += 1  # masked
        assert not torch.allclose(base, net(x, t, Cond(**given | {"tokens": heard})))
        assert torch.allclose(base, net(x, t, Cond(**given | {"tokens": unheard})))

    def test_examples_do_not_see_each_other(self):
        net, x, t = stirred(UNet(1, **SMALL)), normal(3, 1, 8, 8), torch.tensor([1.0, 50.0, 900.0])
        torch.testing.assert_close(net(x, t)[1:2], net(x[1:2], t[1:2]), rtol=1e-4, atol=1e-4)

    def test_every_parameter_is_trained(self):
        net = stirred(UNet(1, vec=4, tokens=6, **SMALL))
        net(normal(2, 1, 8, 8), torch.ones(2), Cond(vec=normal(2, 4), tokens=normal(2, 3, 6))).square().sum().backward()
        assert [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []

    @pytest.mark.parametrize(
        ("shape", "cond", "message"),
        [
            ((1, 3, 8, 8), None, "1 channels, got 3"),
            ((1, 1, 9, 9), None, "multiples of patch 2, got 9x9"),
            ((1, 1, 8, 8), Cond(spatial=torch.zeros(1, 2, 8, 8)), "0 spatial channels for this network, got 2"),
            ((1, 1, 8, 8), Cond(vec=torch.zeros(1, 2)), "takes no vec"),
            ((1, 1, 8, 8), Cond(tokens=torch.zeros(1, 2, 3)), "takes no tokens"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, shape, cond, message):
        with pytest.raises(ValueError, match=message):
            UNet(1, **SMALL)(torch.zeros(shape), torch.ones(1), cond)

    @pytest.mark.parametrize("part", ["vec", "tokens"])
    def test_a_condition_it_was_built_for_must_come(self, part):
        with pytest.raises(ValueError, match=f"wants {part}, got none"):
            UNet(1, **{part: 4}, **SMALL)(normal(2, 1, 8, 8), torch.ones(2))

    @pytest.mark.parametrize(
        "options", [{"adaptive": False}, {"residual": True}, {"head_width": 16}, {"adaptive": False, "residual": True}]
    )
    @pytest.mark.parametrize("size", [8, 14, 28])
    def test_adm_s_choices(self, options, size):
        net = stirred(UNet(1, widths=(16, 32, 32), attention=(False, True, True), **options))
        x = normal(2, 1, size, size)
        early, late = (net(x, torch.full((2,), t)) for t in (5.0, 900.0))
        assert early.shape == x.shape and not torch.allclose(early, late)

    def test_added_embeddings_are_added_in_the_resizing_blocks_too(self):
        net = UNet(1, adaptive=False, residual=True, **SMALL)
        blocks = [part for part in net.modules() if isinstance(part, ResBlock)]
        assert any(isinstance(block, ResizeBlock) for block in blocks)
        assert not any(block.adaptive for block in blocks)

    def test_residual_resizing_starts_without_its_branch(self):
        block, x = ResizeBlock(16, 16, 8), normal(1, 16, 7, 7)
        assert torch.equal(block(x, normal(1, 8), (4, 4)), resize(x, (4, 4)))

    def test_levels_must_agree(self):
        with pytest.raises(ValueError, match="each of the 3 levels"):
            UNet(1, widths=(16, 32, 32))

    def test_the_default_network_is_small(self):
        assert sum(p.numel() for p in ddpm_unet().parameters()) < 1_500_000


class TestEncoder:
    def test_a_vector_for_each_picture_that_depends_on_t(self):
        net = stirred(Encoder(1, 5, widths=(16, 32)))
        x = normal(3, 1, 28, 28)
        early, late = (net(x, torch.full((3,), t)) for t in (0.0, 900.0))
        assert early.shape == (3, 5) and not torch.allclose(early, late)
        torch.testing.assert_close(net(x[1:2], torch.zeros(1)), early[1:2], rtol=1e-4, atol=1e-4)

    def test_without_time_it_does_not(self):
        net, x = stirred(Encoder(1, 5, widths=(16, 32), time=False)), normal(3, 1, 28, 28)
        assert torch.equal(net(x, torch.zeros(3)), net(x, torch.full((3,), 900.0)))

    @pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 9, 8)])
    def test_what_does_not_fit_is_refused(self, shape):
        with pytest.raises(ValueError, match="1 channels and sides divisible by 2"):
            Encoder(1)(torch.zeros(shape), torch.ones(1))

    def test_levels_must_agree(self):
        with pytest.raises(ValueError, match="each of the 3 levels"):
            Encoder(1, widths=(16, 32, 32))


class TestParts:
    def test_attention_written_out_is_the_fused_call(self):
        q, k, v = (normal(2, 3, 5, 8, seed=s) for s in range(3))
        mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
        for seen in (None, mask):
            allowed = None if seen is None else seen[:, None, None]
            expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
            torch.testing.assert_close(attend(q, k, v, allowed), expected)

    def test_attention_and_blocks_start_as_the_identity(self):
        x = normal(1, 32, 4, 4)
        assert torch.equal(Attention(32)(x), x)
        assert torch.equal(ResBlock(32, 32, 8)(x, normal(1, 8)), x)

    def test_attention_needs_whole_heads(self):
        with pytest.raises(ValueError, match="multiple of head_width 32, got 48"):
            Attention(48)

    def test_sinusoids(self):
        table = sinusoid(torch.tensor([0.0, 3.0]), 8)
        assert table.shape == (2, 8)
        assert table[0].tolist() == [1.0] * 4 + [0.0] * 4
        assert table[1, 0].item() == pytest.approx(math.cos(3)) and table[1, 4].item() == pytest.approx(math.sin(3))
        assert table[1, 7].item() == pytest.approx(math.sin(3 / 10_000**0.75), rel=1e-4)

    @pytest.mark.parametrize(("channels", "groups"), [(64, 4), (96, 6), (16, 1), (8, 1), (20, 1)])
    def test_groups_divide_the_channels(self, channels, groups):
        assert group_norm(channels).num_groups == groups

    def test_mlp(self):
        net = MLP(2, vec=3)
        x, t, told = normal(4, 2), torch.ones(4), Cond(vec=normal(4, 3))
        assert net(x, t, told).shape == (4, 2)
        assert not torch.allclose(net(x, t, told), net(x, 5 * t, told))
        assert not torch.allclose(net(x, t, told), net(x, t, Cond(vec=normal(4, 3, seed=2))))
        with pytest.raises(ValueError, match="wants vec"):
            net(x, t)
        with pytest.raises(ValueError, match="takes no vec"):
            MLP(2)(x, t, told)
