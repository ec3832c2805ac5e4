"""The autoregressive prior: components and buckets, what each guess may see, and that it draws all that fits."""

import math

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.data import Batches
from edu_diffusion.systems.ar_prior import ArNet, ArPrior, PrincipalCodes, quantiles
from edu_diffusion.systems.prior import told
from edu_diffusion.training import Runtime, adamw, pick_runtime, train
from edu_diffusion.types import Batch, Rng
from tests.standin_clip import CAPTIONS, LENGTH, SIZE, TEXT, StandIn, captions, shaken, variants, world

CPU = pick_runtime("cpu")
COUNT, BUCKETS = 6, 8


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**options) -> ArNet:
    codec = PrincipalCodes(SIZE, COUNT, BUCKETS)
    return ArNet(codec, **{"text": TEXT, "length": LENGTH, "width": 32, "depth": 2, "levels": 4} | options)


@pytest.fixture(scope="module")
def clip() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def data(clip) -> Batch:
    return world(clip, 2000, seeded(1), share=0.3)


@pytest.fixture
def prior(clip, data) -> ArPrior:
    made = ArPrior(clip=clip, net=shaken(small))
    made.fit(data.x, data.y)
    return made


def all_captions(times: int) -> torch.Tensor:
    return captions(torch.arange(CAPTIONS).repeat(times))


class TestCodes:
    def test_components_are_orthonormal_and_fall_in_variance(self, prior, data):
        codec = prior.net.codec
        torch.testing.assert_close(codec.components @ codec.components.T, torch.eye(COUNT), atol=1e-5, rtol=0)
        spread = codec.scores(data.x).var(0)
        assert (spread.diff() <= 1e-6).all()
        torch.testing.assert_close(spread, torch.linalg.eigvalsh(data.x.T.cov()).flip(0)[:COUNT], atol=1e-5, rtol=1e-3)

    def test_buckets_are_equally_full(self, prior, data):
        codes = prior.net.codec.encode(data.x)
        assert codes.shape == (2000, COUNT) and codes.min() == 0 and codes.max() == BUCKETS - 1
        full = F.one_hot(codes, BUCKETS).float().mean(0)
        assert (full - 1 / BUCKETS).abs().max() < 0.01

    def test_there_and_back_is_near(self, prior, data):
        assert 0.95 < prior.ceiling(data.x) < 1
        z = prior.net.codec.decode(prior.net.codec.encode(data.x))
        torch.testing.assert_close(z.norm(dim=1), torch.ones(2000))
        assert prior.ceiling(data.x) == pytest.approx((z * data.x).sum(1).mean().item(), rel=1e-4)

    def test_more_buckets_and_more_components_lose_less(self, clip, data):
        def ceiling(*sizes):
            prior = ArPrior(clip=clip, net=ArNet(PrincipalCodes(SIZE, *sizes), text=TEXT, length=LENGTH, width=32))
            prior.fit(data.x, data.y)
            return prior.ceiling(data.x)

        assert ceiling(3, 4) < ceiling(6, 4) < ceiling(6, 16)

    def test_with_all_components_and_many_buckets_nothing_is_lost(self, data):
        codec = PrincipalCodes(SIZE, SIZE, 200)
        codec.fit(data.x)
        assert F.cosine_similarity(codec.decode(codec.encode(data.x)), data.x).mean() > 0.999

    def test_a_fit_can_be_repeated(self, prior, data):
        again = PrincipalCodes(SIZE, COUNT, BUCKETS)
        again.fit(data.x)
        assert all(value.equal(again.state_dict()[name]) for name, value in prior.net.codec.state_dict().items())

    def test_quantiles_by_hand(self):
        values = torch.tensor([[3.0, 30.0], [1.0, 10.0], [0.0, 0.0], [2.0, 20.0]])
        assert quantiles(values, 2).tolist() == [[2.0], [20.0]]
        assert quantiles(values, 4).tolist() == [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]

    def test_senseless_sizes_and_too_few_embeddings_are_refused(self, data):
        for wrong in ((8, 0, 4), (8, 9, 4), (8, 4, 1)):
            with pytest.raises(ValueError, match=r"1..8 components and at least 2 buckets"):
                PrincipalCodes(*wrong)
        with pytest.raises(ValueError, match="need at least 80 embeddings, got 79"):
            PrincipalCodes(SIZE, 4, 8).fit(data.x[:79])


class TestTheNetwork:
    def test_a_guess_sees_caption_level_and_the_codes_before_and_nothing_else(self, prior, clip, data):
        net, cond = prior.net, told(clip, data.y[:1])
        level, codes = torch.tensor([1]), net.codec.encode(data.x[:1])
        logits = net(cond, level, codes[:, :-1])
        assert logits.shape == (1, COUNT, BUCKETS)
        for place in (0, 2, COUNT - 2):
            changed = codes.clone()
            changed[0, place] = (codes[0, place] + 1) % BUCKETS
            moved = (net(cond, level, changed[:, :-1]) - logits).abs().amax(2)[0] > 1e-6
            assert not moved[: place + 1].any() and moved[place + 1 :].all()
        for other in (net(cond, level + 1, codes[:, :-1]), net(told(clip, data.y[1:2]), level, codes[:, :-1])):
            assert ((other - logits).abs().amax(2) > 1e-6).all()

    def test_the_past_is_not_computed_anew_and_the_answer_is_the_same(self, prior, clip, data):
        net, cond = prior.net, told(clip, data.y[:4])
        level, codes = torch.tensor([0, 1, 2, 3]), net.codec.encode(data.x[:4])
        at_once, past = net(cond, level, codes[:, :-1]), net.remember()
        one_by_one = [net(cond, level, codes[:, :n], past) for n in range(COUNT)]
        assert all(part.shape[1] == 1 for part in one_by_one)
        torch.testing.assert_close(torch.cat(one_by_one, 1), at_once, atol=1e-4, rtol=1e-4)

    def test_whoever_is_told_no_caption_is_not_told_the_level(self, prior):
        null, before = prior.null.expand(2), torch.zeros(2, 0, dtype=torch.int64)
        low, high = prior.net(null, torch.tensor([0, 3]), before)
        torch.testing.assert_close(low, high)

    def test_levels_are_equally_frequent(self, prior, clip, data):
        level = prior.net.levels_of((data.x * clip.text_emb(data.y)).sum(1))
        assert (torch.bincount(level, minlength=4) / 2000 - 0.25).abs().max() < 0.01


class TestTheRecipe:
    def test_at_the_start_all_buckets_are_equally_likely(self, clip, data):
        prior = ArPrior(clip=clip, net=small())
        prior.fit(data.x, data.y)
        [(phase, loss, metrics)] = prior.losses(data, Rng(0))
        assert phase == "net" and loss.item() == pytest.approx(math.log(BUCKETS), rel=1e-4)
        assert metrics["bits"].item() == pytest.approx(COUNT * math.log2(BUCKETS), rel=1e-4)

    def test_the_fit_is_needed_and_training_can_do_it(self, clip, data):
        prior = ArPrior(clip=clip, net=small())
        for attempt in (
            lambda: list(prior.losses(data, Rng(0))),
            lambda: prior.embeddings(data.y[:2], seeded()),
            lambda: prior.ceiling(data.x),
        ):
            with pytest.raises(ValueError, match=r"call fit\(embeddings, tokens\)"):
                attempt()
        itself = ArPrior(clip=clip, net=small(), examples=lambda: data)
        list(itself.losses(data, Rng(0)))
        prior.fit(data.x, data.y)
        assert itself.net.codec.edges.equal(prior.net.codec.edges) and itself.net.dot_edges.equal(prior.net.dot_edges)

    def test_clip_is_not_kept_and_another_is_refused(self, prior, data):
        assert not any("centres" in name and "codec" not in name for name in prior.net.state_dict())
        with pytest.raises(ValueError, match="is not the one"):
            ArPrior(clip=StandIn(seed=1), net=prior.net).embeddings(data.y[:2], seeded())


class TestDrawing:
    def test_unit_vectors_the_same_for_the_same_seed(self, prior):
        z = prior.embeddings(all_captions(3), seeded())
        torch.testing.assert_close(z.norm(dim=1), torch.ones(12))
        assert z.equal(prior.embeddings(all_captions(3), seeded()))
        assert not z.equal(prior.embeddings(all_captions(3), seeded(1)))

    def test_every_draw_is_one_of_the_codes(self, prior):
        z, codec = prior.embeddings(all_captions(3), seeded()), prior.net.codec
        codes = codec.encode(z * 0 + z)
        assert codes.shape == (12, COUNT) and F.cosine_similarity(codec.decode(codes), z).mean() > 0.9

    def test_it_draws_from_its_own_chances(self, prior, clip):
        """The first code's frequencies are the network's chances."""
        tokens = captions(torch.full((3000,), 2))
        level = torch.full((3000,), 3)
        codes = prior._write(told(clip, tokens), level, seeded(), 1.0, 1.0)
        with torch.no_grad():
            chances = prior.net(told(clip, tokens[:1]), level[:1], codes[:1, :0])[0, 0].softmax(0)
        found = torch.bincount(codes[:, 0], minlength=BUCKETS) / 3000
        assert (found - chances).abs().max() < 0.04

    def test_guidance_of_1_is_off_and_0_hears_nothing(self, prior, clip):
        tokens, level = all_captions(2), torch.full((8,), 2)
        write = prior._write
        off = write(told(clip, tokens), level, seeded(), 1.0, 1e-4)
        near = write(told(clip, tokens), level, seeded(), 1.0 + 1e-6, 1e-4)
        assert near.equal(off)
        deaf = write(told(clip, tokens), level, seeded(), 0.0, 1e-4)
        assert deaf.equal(deaf[:1].expand(8, -1)) and not off.equal(deaf)

    def test_a_level_that_does_not_exist_is_refused(self, prior):
        with pytest.raises(ValueError, match=r"level must be in 0..3, got 4"):
            prior.embeddings(all_captions(1), seeded(), level=4)

    def test_it_draws_wrapped_in_half_precision(self, prior):
        half = Runtime(torch.device("cpu"), torch.bfloat16)
        prior.modules["net"] = half.wrap(prior.net)
        assert prior.embeddings(all_captions(1), seeded()).dtype == torch.float32


@pytest.fixture(scope="module")
def learned(clip, data) -> ArPrior:
    torch.manual_seed(0)
    prior = ArPrior(clip=clip, net=small())
    prior.fit(data.x, data.y)
    optimisers = {"net": adamw(prior.net.parameters(), 5e-3, warmup=20)}
    list(train(prior, Batches(data, 100, seed=0), optimisers, steps=250, runtime=CPU))
    prior.net.eval()
    return prior


class TestWhatItLearns:
    def test_both_variants_of_a_caption(self, learned, clip, data):
        found = variants(clip, learned.embeddings(data.y, seeded(), level=None), data.y)
        assert (found >= 0).float().mean() > 0.9
        assert (found == 0).float().mean() > 0.1 and (found == 1).float().mean() > 0.1

    def test_a_higher_level_agrees_better_with_the_text(self, learned, clip):
        tokens = all_captions(100)
        text = clip.text_emb(tokens)
        low, high = ((learned.embeddings(tokens, seeded(), level=at) * text).sum(1).mean() for at in (0, 3))
        assert high > low + 0.02
