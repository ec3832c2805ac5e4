"""The diffusion prior: what its network sees, what is scaled and put back, that it draws all that fits a caption."""

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.conditioning import drop
from edu_diffusion.data import Batches
from edu_diffusion.diffusion import X0, ancestral, ddim, generate, simple_loss
from edu_diffusion.systems.prior import DiffusionPrior, PriorNet, embedded, nearest_to, told
from edu_diffusion.training import Runtime, adamw, pick_runtime, train
from edu_diffusion.types import Batch, Cond, Rng
from tests.standin_clip import CAPTIONS, LENGTH, SIZE, TEXT, StandIn, captions, shaken, variants, world

CPU = pick_runtime("cpu")


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**options) -> PriorNet:
    return PriorNet(SIZE, **{"text": TEXT, "length": LENGTH, "width": 32, "depth": 2} | options)


@pytest.fixture(scope="module")
def clip() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def data(clip) -> Batch:
    return world(clip, 2000, seeded(1), share=0.3)


@pytest.fixture
def prior(clip, data) -> DiffusionPrior:
    made = DiffusionPrior(clip=clip, net=shaken(small))
    made.fit(data.x)
    return made


@pytest.fixture(scope="module")
def learned(clip, data) -> DiffusionPrior:
    torch.manual_seed(0)
    prior = DiffusionPrior(clip=clip, net=small())
    prior.fit(data.x)
    optimisers = {"net": adamw(prior.net.parameters(), 3e-3, warmup=20)}
    list(train(prior, Batches(data, 50, seed=0), optimisers, steps=200, runtime=CPU))
    prior.net.eval()
    return prior


def all_captions(times: int) -> torch.Tensor:
    return captions(torch.arange(CAPTIONS).repeat(times))


class TestTheNetwork:
    def test_it_sees_the_embedding_the_time_and_every_part_of_the_caption(self, clip):
        net, tokens = shaken(small), all_captions(1)
        cond, x, t = told(clip, tokens), torch.randn(4, SIZE, generator=seeded()), torch.full((4,), 100.0)
        before = net(x, t, cond)
        assert before.shape == (4, SIZE)
        other_words = Cond(vec=cond.vec, tokens=cond.tokens + 1, mask=cond.mask)
        other_text = Cond(vec=cond.vec.flip(0), tokens=cond.tokens, mask=cond.mask)
        for after in (net(x + 1, t, cond), net(x, t + 50, cond), net(x, t, other_words), net(x, t, other_text)):
            assert ((after - before).abs().amax(1) > 1e-3).all()

    def test_padding_is_not_seen_whatever_stands_there(self, clip):
        net, tokens = shaken(small), all_captions(1)
        cond, x, t = told(clip, tokens), torch.randn(4, SIZE, generator=seeded()), torch.full((4,), 100.0)
        noisy = torch.where(cond.mask[..., None], cond.tokens, 9.0)
        torch.testing.assert_close(net(x, t, Cond(vec=cond.vec, tokens=noisy, mask=cond.mask)), net(x, t, cond))

    def test_what_is_padding_for_all_costs_nothing_and_changes_nothing(self, clip):
        """Caption 0 has three tokens: alone, or in a batch with longer ones, it gets the same answer."""
        net, x, t = shaken(small), torch.randn(4, SIZE, generator=seeded()), torch.full((4,), 100.0)
        together = net(x, t, told(clip, all_captions(1)))
        alone = net(x[:1], t[:1], told(clip, captions(torch.tensor([0]))))
        torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-5)

    def test_a_caption_is_read_once_for_several_noised_embeddings(self, clip):
        """Causal: the caption's tokens are the same for every x_t, so only what comes after may depend on it."""
        net, cond = shaken(small), told(clip, all_captions(1))
        x, t = torch.randn(12, SIZE, generator=seeded()), torch.linspace(1, 900, 12)
        often = cond.select(torch.arange(4).repeat_interleave(3))
        torch.testing.assert_close(net(x, t, cond), net(x, t, often), atol=1e-5, rtol=1e-5)

    def test_captions_with_unequally_many_are_refused(self, clip):
        with pytest.raises(ValueError, match="equally many x_t, got 5 for 4 captions"):
            small()(torch.zeros(5, SIZE), torch.ones(5), told(clip, all_captions(1)))

    def test_it_is_one_causal_transformer_over_the_paper_s_sequence(self, clip):
        """Read in two parts or as one sequence: caption, text embedding, time, noised embedding, query."""
        net, cond = shaken(small), told(clip, captions(torch.tensor([1, 3])))
        x, t = torch.randn(2, SIZE, generator=seeded()), torch.tensor([5.0, 700.0])
        n = int(cond.mask.sum(1).max())
        parts = [net.words(cond.tokens[:, :n]), net.text(cond.vec * SIZE**0.5)[:, None]]
        parts += [net.time(t)[:, None], net.noised(x)[:, None]]
        places = torch.cat([net.where[:, :n], net.where[:, LENGTH:]], 1)
        sequence = torch.cat([torch.cat(parts, 1) + places, net.query.expand(2, -1, -1)], 1)
        whole = net.leave(net.body(sequence)[:, -1])
        torch.testing.assert_close(net(x, t, cond), whole, atol=1e-5, rtol=1e-5)

    def test_no_caption_at_all(self, clip, prior):
        out = prior.net(torch.zeros(3, SIZE), torch.full((3,), 5.0), prior.null.expand(3))
        assert out.isfinite().all()

    @pytest.mark.parametrize("cond", [None, Cond(vec=torch.zeros(1, SIZE)), Cond(tokens=torch.zeros(1, LENGTH, TEXT))])
    def test_a_condition_without_a_caption_is_refused(self, cond):
        with pytest.raises(ValueError, match="as `told` makes it"):
            small()(torch.zeros(1, SIZE), torch.ones(1), cond)

    def test_captions_that_are_too_long_are_refused(self, clip):
        with pytest.raises(ValueError, match="captions of 5 tokens, got 6"):
            small(length=5)(torch.zeros(1, SIZE), torch.ones(1), told(clip, captions(torch.tensor([0]))))


class TestScaling:
    def test_each_number_has_mean_0_and_variance_1_and_comes_back(self, prior, data):
        x = prior.net.scaled(data.x)
        torch.testing.assert_close(x.mean(0), torch.zeros(SIZE), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.std(0), torch.ones(SIZE))
        torch.testing.assert_close(prior.net.unscaled(x), data.x)

    def test_what_comes_back_has_length_1(self, prior):
        z = prior.net.unscaled(torch.randn(50, SIZE, generator=seeded()))
        torch.testing.assert_close(z.norm(dim=1), torch.ones(50))

    def test_it_is_kept_with_the_weights(self, prior):
        fresh = small()
        fresh.load_state_dict(prior.net.state_dict())
        assert fresh.mean.equal(prior.net.mean) and fresh.std.equal(prior.net.std) and fresh.made_for.any()

    def test_a_number_that_never_changes_is_refused(self, clip):
        with pytest.raises(ValueError, match="number 2 is the same in all 10"):
            DiffusionPrior(clip=clip, net=small()).fit(torch.eye(SIZE)[[0, 1, 3, 4, 5, 6, 7, 0, 1, 3]])

    def test_training_and_drawing_need_it(self, clip, data):
        prior = DiffusionPrior(clip=clip, net=small())
        for attempt in (lambda: list(prior.losses(data, Rng(0))), lambda: prior.embeddings(data.y[:2], seeded())):
            with pytest.raises(ValueError, match=r"call fit\(embeddings\) before"):
                attempt()

    def test_training_can_do_it_itself(self, clip, data):
        prior = DiffusionPrior(clip=clip, net=small(), examples=lambda: data.x)
        list(prior.losses(data, Rng(0)))
        assert prior.net.mean.equal(data.x.mean(0))


class TestTheRecipe:
    def test_the_loss_is_the_plain_squared_error_of_the_clean_vector(self, prior, data):
        prior.p_uncond, prior.noisings = 0.0, 1
        [(phase, loss, _)] = prior.losses(data, Rng(3))
        rng = Rng(3)
        t, _ = prior.memory["times"].draw(len(data), rng)
        eps, x0 = rng.normal_like(data.x), prior.net.scaled(data.x)
        x_t = prior.schedule.signal(t, x0) * x0 + prior.schedule.noise(t, x0) * eps
        guess = prior.net(x_t, t.float(), told(prior.eyes, data.y))
        assert phase == "net" and loss.item() == pytest.approx((guess - x0).square().mean().item(), rel=1e-5)
        assert prior.target is X0 and prior.loss is simple_loss

    def test_the_caption_is_left_out_now_and_then(self, prior, data):
        vec = prior.condition(data, Rng(0)).vec
        gone = ~vec.any(1)
        assert 0.07 < gone.float().mean() < 0.13
        assert drop(told(prior.eyes, data.y), prior.null, 0.1, Rng(0)).vec.equal(vec)

    def test_clip_is_neither_trained_nor_kept(self, learned, clip):
        assert list(learned.modules) == ["net"] and not any("centres" in name for name in learned.net.state_dict())
        assert clip.centres.equal(StandIn().centres)

    def test_clip_is_read_when_it_is_first_needed_and_once(self, clip, data):
        asked = []
        prior = DiffusionPrior(clip=lambda: asked.append(1) or clip, net=shaken(small))
        assert not asked
        prior.fit(data.x)
        prior.embeddings(data.y[:2], seeded())
        assert asked == [1]

    def test_another_clip_is_refused(self, prior, data):
        other = DiffusionPrior(clip=StandIn(seed=1), net=prior.net)
        with pytest.raises(ValueError, match="is not the one"):
            other.embeddings(data.y[:2], seeded())

    def test_pictures_and_lost_lengths_are_refused(self, prior, data):
        with pytest.raises(ValueError, match="image embeddings and captions' tokens"):
            prior.check(Batch(torch.zeros(2, 3, 4, 4), data.y[:2]))
        with pytest.raises(ValueError, match="image embeddings and captions' tokens"):
            prior.check(Batch(data.x))
        with pytest.raises(ValueError, match="length 1, got lengths 3 to 3"):
            prior.check(Batch(3 * data.x, data.y))

    def test_embedded_is_what_clip_says_of_the_pictures(self, clip, data):
        class Shown:
            def __len__(self):
                return 700

            def __getitem__(self, index):
                x = F.pad(data.x[index], (0, 48 - SIZE)).view(-1, 3, 4, 4)
                return Batch(x, data.y[index])

        made = embedded(clip, Shown(), count=600)
        torch.testing.assert_close(made.x, data.x[:600])
        assert made.y.equal(data.y[:600]) and len(embedded(clip, Shown())) == 700


class TestDrawing:
    def test_unit_vectors_the_same_for_the_same_seed(self, prior):
        tokens = all_captions(3)
        z = prior.embeddings(tokens, seeded(), steps=4)
        torch.testing.assert_close(z.norm(dim=1), torch.ones(12))
        assert z.equal(prior.embeddings(tokens, seeded(), steps=4))
        assert not z.equal(prior.embeddings(tokens, seeded(1), steps=4))

    def test_it_is_the_course_s_own_loop(self, prior):
        tokens, options = all_captions(2), {"steps": 5, "rule": ddim(), "generator": seeded()}
        x = generate(prior.guided(2.0), (8, SIZE), cond=told(prior.eyes, tokens), **options)
        z = prior.embeddings(tokens, seeded(), scale=2.0, steps=5, best_of=1)
        torch.testing.assert_close(prior.net.unscaled(x), z)

    def test_of_two_the_one_nearer_to_the_text_is_kept(self, prior, clip):
        tokens = all_captions(50)
        text, alone = clip.text_emb(tokens), prior.embeddings(tokens, seeded(), steps=3, best_of=1)
        best = prior.embeddings(tokens, seeded(), steps=3, best_of=2)
        assert (best * text).sum(1).mean() > (alone * text).sum(1).mean()
        with pytest.raises(ValueError, match="at least 1"):
            prior.embeddings(tokens, seeded(), best_of=0)

    def test_nearest_to_by_hand(self):
        drawn = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]])
        text = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        assert nearest_to(drawn, text).tolist() == [[0.0, 1.0], pytest.approx([0.6, 0.8])]

    def test_it_draws_wrapped_in_half_precision(self, prior):
        half = Runtime(torch.device("cpu"), torch.bfloat16)
        prior.modules["net"] = half.wrap(prior.net)
        assert prior.embeddings(all_captions(1), seeded(), steps=3).dtype == torch.float32


class TestWhatItLearns:
    def test_both_variants_of_a_caption_as_often_as_they_occur(self, learned, clip):
        tokens = all_captions(100)
        z = learned.embeddings(tokens, seeded(), best_of=1, rule=ancestral())
        found = variants(clip, z, tokens)
        assert (found >= 0).float().mean() > 0.9  # few lie between
        assert 0.2 < (found == 0).float().mean() < 0.4  # 0.3 of the data do

    def test_in_one_step_it_is_a_regression_and_lies_in_neither(self, learned, clip):
        """The best guess from pure noise is the mean, and in this world two variants are far apart."""
        tokens = all_captions(100)
        z = learned.embeddings(tokens, seeded(), best_of=1, steps=1)
        mean = F.normalize((0.3 * clip.centres[:, 0] + 0.7 * clip.centres[:, 1]), dim=1).repeat(100, 1)
        assert F.cosine_similarity(z, mean).mean() > 0.93
        assert (variants(clip, z, tokens) < 0).float().mean() > 0.2

    def test_guidance_away_from_no_caption(self, learned, clip):
        tokens = all_captions(100)
        text = clip.text_emb(tokens)
        none, some = (learned.embeddings(tokens, seeded(), scale=s, best_of=1) for s in (0.0, 1.0))
        assert (some * text).sum(1).mean() > (none * text).sum(1).mean() + 0.2
