"""The transformer, and the attention that all networks share."""

import math

import pytest
import torch

from edu_diffusion.nets import Transformer, attend, learned_places
from edu_diffusion.nets.attention import merge_heads, split_heads
from edu_diffusion.nets.transformer import Block, earlier, itself

WIDTH = 64


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(**options) -> Transformer:
    """A transformer with random weights everywhere: the zeroed ones would hide what reaches the output."""
    net, generator = Transformer(WIDTH, 2, **options), torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter.shape[-1])
    return net.eval()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class TestAttend:
    def test_a_small_case_by_hand(self):
        query, key = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0], [math.sqrt(2) * math.log(3), 0.0]]]])
        value = torch.tensor([[[[4.0, 0.0], [8.0, -4.0]]]])
        # The scores are 0 and ln 3, so the weights are 1/4 and 3/4.
        assert attend(query, key, value).flatten().tolist() == pytest.approx([7.0, -3.0], rel=1e-5)

    @pytest.mark.parametrize("shape", [(2, 1, 1, 6), (2, 1, 4, 6), (1, 1, 4, 6), (2, 3, 4, 6)])
    def test_a_mask_of_any_shape_is_the_fused_call_s(self, shape):
        query, key, value = normal(2, 3, 4, 8), normal(2, 3, 6, 8, seed=2), normal(2, 3, 6, 8, seed=3)
        mask = normal(*shape, seed=4) > -0.3
        mask[..., 0] = True
        fused = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        torch.testing.assert_close(attend(query, key, value, mask), fused)
        assert not torch.allclose(attend(query, key, value), fused)

    def test_each_query_may_have_keys_of_its_own(self):
        value = normal(1, 1, 3, 2)
        one_each = torch.eye(3, dtype=torch.bool)
        close(attend(normal(1, 1, 3, 2, seed=2), normal(1, 1, 3, 2, seed=3), value, one_each), value)

    def test_heads_are_split_and_merged(self):
        x = normal(2, 5, 12)
        heads = split_heads(x, 3)
        assert heads.shape == (2, 3, 5, 4)
        assert torch.equal(heads[1, 2, 4], x[1, 4, 8:12])
        assert torch.equal(merge_heads(heads), x)


class TestBlock:
    def test_it_starts_as_the_identity(self):
        x = normal(2, 5, WIDTH)
        assert torch.equal(Block(WIDTH)(x), x)
        torch.testing.assert_close(Transformer(WIDTH, 3)(x), torch.nn.functional.layer_norm(x, (WIDTH,)))

    def test_it_wants_whole_heads(self):
        with pytest.raises(ValueError, match="multiple of head_width 32, got 48"):
            Block(48)
        assert Block(48, head_width=16).heads == 3

    def test_dropout_is_for_training_only(self):
        net, x = stirred(dropout=0.5), normal(1, 4, WIDTH)
        assert torch.equal(net(x), net(x))
        net.train()
        assert not torch.allclose(net(x), net(x))

    def test_tables_of_who_sees_whom(self):
        assert earlier(3, 3).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
        assert earlier(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
        assert itself(2, 4).int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]


class TestTransformer:
    def test_it_knows_no_places(self):
        net, x, order = stirred(), normal(2, 6, WIDTH), torch.tensor([3, 0, 5, 1, 4, 2])
        close(net(x[:, order]), net(x)[:, order])

    def test_every_token_sees_every_other(self):
        x = normal(1, 5, WIDTH).requires_grad_()
        for i in range(5):
            [gradient] = torch.autograd.grad(stirred()(x)[0, i].square().sum(), x)
            assert (gradient[0].abs().amax(1) > 0).all()

    def test_causal_tokens_see_no_later_one(self):
        net, x = stirred(causal=True), normal(1, 5, WIDTH).requires_grad_()
        for i in range(5):
            [gradient] = torch.autograd.grad(net(x)[0, i].square().sum(), x)
            assert (gradient[0].abs().amax(1) > 0).tolist() == [j <= i for j in range(5)]

    def test_the_start_of_a_causal_sequence_does_not_depend_on_its_end(self):
        net, x = stirred(causal=True), normal(2, 7, WIDTH)
        close(net(x)[:, :4], net(x[:, :4]))

    @pytest.mark.parametrize("causal", [False, True])
    def test_masked_tokens_are_not_looked_at(self, causal):
        net, x = stirred(causal=causal), normal(2, 6, WIDTH)
        mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
        other = torch.where(mask[..., None], x, normal(2, 6, WIDTH, seed=2))
        before, after = net(x, mask), net(other, mask)
        close(before[mask], after[mask])
        assert not torch.allclose(before, net(x))
        # What is left is the shorter sequence.
        close(before[:1, :4], net(x[:1, :4]))

    @pytest.mark.parametrize("causal", [False, True])
    def test_masked_tokens_may_stand_first_or_be_all(self, causal):
        net, x = stirred(causal=causal), normal(2, 5, WIDTH)
        mask = torch.tensor([[False, False, True, True, True], [False] * 5])
        out = net(x, mask)
        assert out.isfinite().all()
        close(out[:1, 2:], net(x[:1, 2:]))

    def test_examples_do_not_see_each_other(self):
        net, x = stirred(), normal(3, 5, WIDTH)
        close(net(x)[1:2], net(x[1:2]))

    @pytest.mark.parametrize("parts", [(1,) * 7, (3, 1, 3), (2, 5), (7,)])
    def test_with_a_past_it_is_the_whole_sequence_at_once(self, parts):
        net, x = stirred(causal=True), normal(2, 7, WIDTH)
        past = net.remember()
        written = torch.cat([net(part, past=past) for part in x.split(parts, 1)], 1)
        close(written, net(x))
        assert past[0].key.shape == (2, WIDTH // 32, 7, 32)

    def test_a_past_with_masked_tokens(self):
        net, x = stirred(causal=True), normal(2, 5, WIDTH)
        mask = torch.tensor([[False, True, True, True, True], [True] * 5])
        past, whole = net.remember(), net(x, mask)
        first = net(x[:, :3], mask[:, :3], past)
        rest = [net(x[:, i : i + 1], mask[:, : i + 1], past) for i in (3, 4)]
        close(torch.cat([first, *rest], 1), whole)

    def test_two_pasts_have_nothing_in_common(self):
        net, x, y = stirred(causal=True), normal(1, 3, WIDTH), normal(1, 3, WIDTH, seed=2)
        first, second = net.remember(), net.remember()
        for i in range(3):
            a, b = net(x[:, i : i + 1], past=first), net(y[:, i : i + 1], past=second)
        close(a[:, 0], net(x)[:, -1])
        close(b[:, 0], net(y)[:, -1])

    def test_a_past_of_another_depth_is_refused(self):
        with pytest.raises(ValueError):
            Transformer(WIDTH, 2)(normal(1, 2, WIDTH), past=Transformer(WIDTH, 3).remember())

    def test_every_parameter_is_trained(self):
        net = stirred().train()
        net(normal(2, 5, WIDTH)).square().mul(normal(WIDTH, seed=2)).sum().backward()
        small = [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-4]
        assert small == []

    def test_learned_places_are_small_and_learned(self):
        places = learned_places(50, WIDTH)
        assert places.shape == (1, 50, WIDTH) and places.requires_grad
        assert places.std().item() == pytest.approx(0.02, rel=0.1)
