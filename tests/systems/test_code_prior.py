"""The prior over codes: it sees the past alone, remembers it rightly, and learns which codes belong together."""

import math

import pytest
import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.systems.code_prior import (
    CodePrior,
    CodeTransformer,
    choose,
    marginals,
    sharpen,
    square,
    uniform,
)
from edu_diffusion.systems.vqvae import VQVAE, VQNet
from edu_diffusion.training import Runtime, adamw, pick_runtime, train
from edu_diffusion.types import Batch, Rng

CPU = pick_runtime("cpu")
K = 16


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n=8) -> Batch:
    return fashion()[slice(0, n)]


@pytest.fixture(scope="module")
def vqvae() -> VQVAE:
    """Random weights, but a codebook that is in use."""
    torch.manual_seed(0)
    system = VQVAE(VQNet(K, 8, widths=(16, 32)))
    for step in range(3):
        list(system.losses(pictures(64), Rng(step)))
    system.net.requires_grad_(False)
    return system


def shaken(seed=0, **options) -> CodeTransformer:
    """A network whose answers depend on all it is given, as after a training."""
    torch.manual_seed(seed)
    net = CodeTransformer(**{"codes": K, "width": 32, "depth": 2} | options)
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return net


@pytest.fixture
def prior(vqvae) -> CodePrior:
    return CodePrior(vqvae, shaken())


def random_codes(n=3, seed=1) -> torch.Tensor:
    return torch.randint(K, (n, 49), generator=seeded(seed))


class TestTheNetwork:
    def test_a_place_sees_the_class_and_what_came_before_and_nothing_else(self):
        net, y, codes = shaken(), torch.tensor([3]), random_codes(1)
        logits = net(y, codes[:, :-1])
        assert logits.shape == (1, 49, K)
        for place in (0, 20, 47):
            changed = codes.clone()
            changed[0, place] = (codes[0, place] + 1) % K
            moved = (net(y, changed[:, :-1]) - logits).abs().amax(2)[0] > 1e-6
            assert not moved[: place + 1].any() and moved[place + 1 :].all()
        assert ((net(y + 1, codes[:, :-1]) - logits).abs().amax(2) > 1e-6).all()

    def test_the_past_is_not_computed_anew_and_the_answer_is_the_same(self):
        net, y, codes = shaken(), torch.tensor([0, 4, 9]), random_codes()
        at_once, past = net(y, codes[:, :-1]), net.remember()
        one_by_one = [net(y, codes[:, :n], past) for n in range(49)]
        assert all(part.shape[1] == 1 for part in one_by_one)
        torch.testing.assert_close(torch.cat(one_by_one, 1), at_once, atol=1e-4, rtol=1e-4)

    def test_several_places_may_be_given_to_a_past_at_once(self):
        net, y, codes = shaken(), torch.tensor([0, 4, 9]), random_codes()
        past = net.remember()
        parts = [net(y, codes[:, :n], past) for n in (20, 21, 48)]
        assert [part.shape[1] for part in parts] == [21, 1, 27]
        torch.testing.assert_close(torch.cat(parts, 1), net(y, codes[:, :-1]), atol=1e-4, rtol=1e-4)

    def test_at_the_start_all_codes_are_equally_likely(self, vqvae):
        prior = CodePrior(vqvae, CodeTransformer(K, width=32, depth=1))
        bits = prior.bits(pictures().x, pictures().y)
        torch.testing.assert_close(bits, torch.full((8,), 49 * math.log2(K)))

    def test_both_together_have_about_as_many_weights_as_the_course_s_ddpm(self):
        count = sum(p.numel() for net in (CodeTransformer(), VQNet()) for p in net.parameters())
        assert count == pytest.approx(1_027_444, rel=0.01)


class TestTheRecipe:
    def test_the_loss_is_that_of_bits(self, prior):
        [(phase, loss, metrics)] = prior.losses(pictures(), Rng(0))
        bits = prior.bits(pictures().x, pictures().y)
        assert phase == "net" and metrics["bits"].item() == pytest.approx(bits.mean().item(), rel=1e-4)
        assert loss.item() * 49 / math.log(2) == pytest.approx(bits.mean().item(), rel=1e-4)

    def test_it_learns_which_codes_belong_together(self, vqvae):
        torch.manual_seed(0)
        prior = CodePrior(vqvae, CodeTransformer(K, width=32, depth=2))
        optimisers = {"net": adamw(prior.net.parameters(), 5e-3, warmup=5)}
        data = pictures(256)
        list(train(prior, Batches(data, 32, seed=0), optimisers, steps=120, runtime=CPU))
        codes = vqvae.encode(data.x).flatten(1)
        blind = marginals(vqvae, codes)
        assert prior.bits(data.x, data.y).mean() < 0.9 * blind.bits(codes).mean() < 0.9 * 49 * math.log2(K)
        written, by_place = prior.write(data.y, seeded()), choose(blind.chances.expand(256, -1, -1), seeded())
        real, ours, theirs = (pairs(each) for each in (codes, written, by_place))
        assert abs(ours - real) < 0.5 * abs(theirs - real)

    def test_the_vqvae_is_neither_trained_nor_kept(self, vqvae):
        prior = CodePrior(vqvae, shaken())
        before = {name: value.clone() for name, value in vqvae.net.state_dict().items()}
        optimisers = {"net": adamw(prior.net.parameters(), 1e-2, warmup=1)}
        list(train(prior, Batches(pictures(16), 8, seed=0), optimisers, steps=2, runtime=CPU))
        assert all(value.equal(before[name]) for name, value in vqvae.net.state_dict().items())
        assert list(prior.modules) == ["net"] and prior.modules["net"] is prior.net

    def test_the_vqvae_is_read_when_it_is_first_needed(self, vqvae):
        asked = []
        prior = CodePrior(lambda: asked.append(1) or vqvae, shaken())
        assert not asked
        prior.bits(pictures().x, pictures().y)
        prior.pictures(2, seeded())
        assert asked == [1]

    def test_a_vqvae_with_another_number_of_codes_is_refused(self, vqvae):
        with pytest.raises(ValueError, match="16 codes and the prior's network 8: give it"):
            _ = CodePrior(vqvae, CodeTransformer(8, width=32, depth=1)).codec

    def test_labels_and_the_range_are_checked(self, prior):
        with pytest.raises(ValueError, match="no labels"):
            prior.check(Batch(pictures().x))
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            prior.check(Batch(3 * pictures().x, pictures().y))


def pairs(codes: torch.Tensor) -> float:
    """How often a code is the same as the one to its right."""
    return (square(codes)[..., 1:] == square(codes)[..., :-1]).float().mean().item()


class TestWriting:
    def test_pictures(self, prior):
        made = prior.pictures(12, seeded())
        assert made.shape == (12, 1, 28, 28) and made.abs().max() <= 1
        assert made.equal(prior.pictures(12, seeded())) and not made.equal(prior.pictures(12, seeded(1)))

    def test_classes_go_round_if_none_are_given(self, prior):
        assert prior.pictures(12, seeded()).equal(prior.pictures(12, seeded(), torch.arange(12) % 10))

    def test_the_class_matters(self, prior):
        shirts, bags = (prior.write(torch.full((4,), y), seeded()) for y in (0, 8))
        assert not shirts.equal(bags)

    def test_it_draws_from_its_own_chances(self, vqvae):
        """With a single place there is but one draw, whose chances are known."""
        prior, y = CodePrior(vqvae, shaken(places=1)), torch.full((4000,), 2)
        with torch.no_grad():
            chances = prior.net(y[:1], y.new_empty(1, 0))[0, 0].softmax(0)
        found = torch.bincount(prior.write(y, seeded())[:, 0], minlength=K) / 4000
        assert (found - chances).abs().max() < 0.03

    def test_what_is_begun_is_kept_and_gone_on_with(self, prior):
        y, begun = torch.tensor([1, 2]), random_codes(2)[:, :21]
        written = prior.write(y, seeded(), begin=begun)
        assert written.shape == (2, 49) and written[:, :21].equal(begun)
        assert not written.equal(prior.write(y, seeded(), begin=(begun + 1) % K))

    def test_only_the_likeliest(self, prior):
        y = torch.tensor([5])
        surest = prior.write(y, seeded(), top_k=1)
        assert surest.equal(prior.write(y, seeded(7), top_k=1))
        with torch.no_grad():
            assert prior.net(y, surest[:, :-1]).argmax(2).equal(surest)
        assert surest.equal(prior.write(y, seeded(), temperature=1e-4))

    def test_it_writes_wrapped_in_half_precision(self, vqvae):
        prior, half = CodePrior(vqvae, shaken()), Runtime(torch.device("cpu"), torch.bfloat16)
        prior.modules["net"] = half.wrap(prior.net)
        assert prior.pictures(3, seeded()).shape == (3, 1, 28, 28)
        assert prior.bits(pictures().x, pictures().y).dtype == torch.float32


class TestChances:
    def test_temperature_and_top_k_by_hand(self):
        logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
        torch.testing.assert_close(sharpen(logits), logits.softmax(1))
        torch.testing.assert_close(sharpen(logits, 0.5), (2 * logits).softmax(1))
        two = sharpen(logits, 2.0, 2)
        assert two[0, :2].tolist() == [0, 0] and (two[0, 3] / two[0, 2]).log().item() == pytest.approx(0.5)
        torch.testing.assert_close(two.sum(1), torch.ones(1))

    @pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": 0}, {"top_k": 5}])
    def test_senseless_ones_are_refused(self, wrong):
        with pytest.raises(ValueError, match="must be"):
            sharpen(torch.zeros(1, 4), **wrong)

    def test_choose_follows_the_chances(self):
        chances = torch.tensor([0.1, 0.0, 0.6, 0.3, 0.0])
        found = torch.bincount(choose(chances.expand(20_000, 5), seeded()), minlength=5) / 20_000
        assert found[1] == 0 and found[4] == 0 and (found - chances).abs().max() < 0.015

    def test_the_same_random_numbers_choose_alike_where_chances_are_alike(self):
        chances = torch.full((1000, 10), 0.1)
        nearly = chances + 0.001 * torch.randn(1000, 10, generator=seeded(3)).softmax(1)
        assert (choose(chances, seeded()) == choose(nearly, seeded())).float().mean() > 0.97

    def test_square_reads_row_by_row(self):
        assert square(torch.arange(49)[None])[0, 2].tolist() == list(range(14, 21))


class TestPlaceByPlace:
    def test_uniform_codes_cost_log2_k_each(self, vqvae):
        even = uniform(vqvae)
        torch.testing.assert_close(even.bits(random_codes()), torch.full((3,), 49 * math.log2(K)))
        made = even.pictures(5, seeded())
        assert made.shape == (5, 1, 28, 28) and made.equal(even.pictures(5, seeded()))

    def test_marginals_are_the_frequencies_of_each_place(self, vqvae):
        codes = random_codes(500)
        codes[:, 7] = 3
        found = marginals(vqvae, codes)
        torch.testing.assert_close(found.chances.sum(1), torch.ones(49))
        assert found.chances[7, 3].item() == pytest.approx(501 / 516)
        assert found.chances.min() > 0  # what was never seen costs many bits, not infinitely many
        drawn = choose(found.chances.expand(200, -1, -1), seeded())
        assert (drawn[:, 7] == 3).float().mean() > 0.9

    def test_its_own_codes_cost_their_entropy(self, vqvae):
        codes = random_codes(2000) // 3
        found = marginals(vqvae, codes)
        entropy = -(found.chances * found.chances.log2()).sum()
        assert found.bits(codes).mean().item() == pytest.approx(entropy.item(), rel=0.02)
