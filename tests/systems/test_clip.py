"""CLIP: its loss against the definition, its towers, what it says of pictures and words, and that it stays frozen."""

import math

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.conditioning import TextEncoder, Tokenizer
from edu_diffusion.conditioning.text import END
from edu_diffusion.data import Batches
from edu_diffusion.diffusion import cosine, linear
from edu_diffusion.systems.clip import (
    CLIP,
    ClipRecipe,
    ImageTower,
    check_same,
    contrastive_loss,
    fingerprint,
    freeze,
)
from edu_diffusion.training import adamw, train
from edu_diffusion.types import Batch, Rng

COLOURS = ("black", "red", "green", "blue", "white")
TOKENIZER = Tokenizer(("a", "wall", *COLOURS), 6)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(n, d=8, seed=0):
    return F.normalize(torch.randn(n, d, generator=seeded(seed)), dim=-1)


def tiny(noisy=False, seed=0) -> ClipRecipe:
    torch.manual_seed(seed)
    text = TextEncoder(TOKENIZER.size, length=6, width=32, depth=1)
    net = CLIP(ImageTower(16, widths=(16, 16), time=noisy), text, 16)
    return ClipRecipe(net, TOKENIZER, noisy)


def walls(n=64, size=8, seed=0) -> Batch:
    """Walls in five colours, with a little noise, and captions that name them."""
    colour = torch.arange(n) % len(COLOURS)
    table = torch.tensor([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]]) * 0.9
    x = table[colour][:, :, None, None] + 0.1 * (2 * torch.rand(n, 3, size, size, generator=seeded(seed)) - 1)
    return Batch(x, TOKENIZER([f"a {COLOURS[i]} wall" for i in colour]))


def by_definition(image_emb, text_emb, scale):
    """Minus the mean log-share that the right partner has among all, asked from both sides; number by number."""
    n, total = len(image_emb), 0.0
    like = [[scale * sum((a * b).item() for a, b in zip(i, t, strict=True)) for t in text_emb] for i in image_emb]
    for k in range(n):
        row, column = like[k], [like[j][k] for j in range(n)]
        for others in (row, column):
            total += math.log(sum(math.exp(v - like[k][k]) for v in others))
    return total / (2 * n)


class TestLoss:
    @pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
    def test_it_is_the_definition(self, scale):
        a, b = unit(5), unit(5, seed=1)
        assert contrastive_loss(a, b, scale).item() == pytest.approx(by_definition(a, b, scale), rel=1e-4)

    def test_both_directions_count(self):
        a, b = unit(6), unit(6, seed=1)
        torch.testing.assert_close(contrastive_loss(a, b, 5.0), contrastive_loss(b, a, 5.0))
        one_way = F.cross_entropy(5 * a @ b.T, torch.arange(6))
        assert abs(contrastive_loss(a, b, 5.0) - one_way) > 1e-3

    def test_who_knows_nothing_pays_log_n(self):
        same = unit(1).expand(7, -1)
        assert contrastive_loss(same, same, 14.3).item() == pytest.approx(math.log(7), rel=1e-5)

    def test_perfect_pairs_cost_as_little_as_the_factor_allows(self):
        eye = torch.eye(4)
        for scale in (1.0, 10.0):
            assert contrastive_loss(eye, eye, scale).item() == pytest.approx(math.log1p(3 * math.exp(-scale)), abs=1e-6)

    def test_half_precision_around_it_changes_nothing(self):
        a, b = unit(6), unit(6, seed=1)
        with torch.autocast("cpu", torch.bfloat16):
            inside = contrastive_loss(a, b, 100.0)
        torch.testing.assert_close(inside, contrastive_loss(a, b, 100.0))

    def test_a_common_order_of_pairs_does_not_matter(self):
        a, b, order = unit(6), unit(6, seed=1), torch.randperm(6, generator=seeded())
        torch.testing.assert_close(contrastive_loss(a[order], b[order], 9.0), contrastive_loss(a, b, 9.0))


class TestTowers:
    def test_embeddings_have_length_one(self):
        clip, batch = tiny(), walls(6)
        for emb in (clip.image_emb(batch.x), clip.text_emb(batch.y)):
            assert emb.shape == (6, 16)
            torch.testing.assert_close(emb.norm(dim=1), torch.ones(6))

    def test_both_at_once_are_each_alone(self):
        clip, batch = tiny(), walls(6)
        both = clip.net(batch.x, batch.y)
        torch.testing.assert_close(both[0], clip.image_emb(batch.x))
        torch.testing.assert_close(both[1], clip.text_emb(batch.y))

    def test_larger_pictures_are_averaged_and_smaller_repeated(self):
        clip, x = tiny(), walls(3, size=32).x
        large = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        torch.testing.assert_close(clip.image_emb(large), clip.image_emb(x))
        small = F.avg_pool2d(x, 2)
        again = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
        torch.testing.assert_close(clip.image_emb(small), clip.image_emb(again))

    def test_where_a_thing_lies_matters(self):
        clip, x = tiny(), -torch.ones(1, 3, 32, 32)
        x[..., 4:12, 4:12] = 1
        assert (clip.image_emb(x) - clip.image_emb(x.roll(16, -1))).abs().max() > 1e-3

    @pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 32, 16)])
    def test_pictures_of_another_form_are_refused(self, shape):
        with pytest.raises(ValueError, match="square, of 3 channels"):
            tiny().image_emb(torch.zeros(shape))

    def test_a_large_batch_is_taken_in_parts(self, monkeypatch):
        clip, batch = tiny(), walls(7)
        whole = clip.image_emb(batch.x), clip.text_emb(batch.y), clip.text_states(batch.y)
        monkeypatch.setattr("edu_diffusion.systems.clip.PART", 3)
        for part, all_ in zip(
            (clip.image_emb(batch.x), clip.text_emb(batch.y), clip.text_states(batch.y)), whole, strict=True
        ):
            torch.testing.assert_close(part, all_)

    def test_states_are_zero_at_padding(self):
        clip, tokens = tiny(), TOKENIZER(["red", "a red wall"])
        states = clip.text_states(tokens)
        assert states.shape == (2, 6, 32)
        assert states[0, 3:].eq(0).all() and (states[0, 2] != 0).any()

    def test_the_course_size(self):
        from edu_diffusion.systems.clip import small_clip

        net = small_clip(TOKENIZER)
        look, read = (sum(p.numel() for p in part.parameters()) for part in (net.image, net.text))
        assert 0.6e6 < look < 0.8e6 and 0.2e6 < read < 0.3e6


class TestTemperature:
    def test_it_starts_at_the_papers(self):
        assert tiny().logit_scale.item() == pytest.approx(1 / 0.07)

    def test_the_factor_is_kept_at_100(self):
        clip, batch = tiny(), walls(6)
        clip.net.log_scale.data.fill_(7.0)
        assert clip.logit_scale.item() == pytest.approx(100)
        _, loss, metrics = next(clip.losses(batch, Rng(0)))
        assert metrics["logit scale"].item() == pytest.approx(100)
        loss.backward()
        # Put back onto the clamp, not beyond it: it can still fall.
        assert clip.net.log_scale.item() == pytest.approx(math.log(100)) and clip.net.log_scale.grad.abs() > 0


class TestRecipe:
    def test_a_short_training_finds_the_captions(self):
        clip = tiny()
        optimisers = {"net": adamw(clip.net.parameters(), 3e-3, warmup=5)}
        # Five to a batch, one of each colour: no two captions are alike.
        for _ in train(clip, iter([walls(5, seed=i) for i in range(60)]), optimisers, steps=60):
            pass
        test = walls(5, seed=99)
        like = clip.image_emb(test.x) @ clip.text_emb(test.y).T
        assert like.argmax(1).equal(torch.arange(5)) and like.argmax(0).equal(torch.arange(5))
        classes = [[f"a {colour} wall"] for colour in COLOURS]
        many = walls(50, seed=100)
        assert (clip.zero_shot(many.x, classes) == torch.arange(50) % 5).all()

    def test_the_loss_is_that_of_the_embeddings(self):
        clip, batch = tiny(), walls(6)
        name, loss, metrics = next(clip.losses(batch, Rng(0)))
        emb = clip.image_emb(batch.x), clip.text_emb(batch.y)
        assert name == "net"
        torch.testing.assert_close(loss.detach(), contrastive_loss(*emb, 1 / 0.07), rtol=1e-4, atol=1e-5)
        own = (emb[0] @ emb[1].T).argmax(1) == torch.arange(6)
        assert metrics["found"].item() == pytest.approx(own.float().mean().item())

    def test_a_seed_gives_the_same_noise(self):
        clip, batch = tiny(noisy=True), walls(6)
        one, same, other = (next(clip.losses(batch, Rng(seed)))[1] for seed in (0, 0, 1))
        assert one.equal(same) and not one.equal(other)

    def test_bad_batches_are_refused(self):
        clip, batch = tiny(), walls(20)
        clip.check(batch)
        with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
            clip.check(Batch(torch.rand(20, 3, 8, 8), batch.y))
        with pytest.raises(ValueError, match="rows of token numbers"):
            clip.check(Batch(batch.x, None))
        with pytest.raises(ValueError, match="rows of token numbers"):
            clip.check(Batch(batch.x, torch.arange(20)))
        with pytest.raises(ValueError, match="end token"):
            clip.check(Batch(batch.x, batch.y.masked_fill(batch.y == END, 0)))

    def test_it_reads_batches_like_any_recipe(self):
        clip = tiny()
        optimisers = {"net": adamw(clip.net.parameters(), 1e-3)}
        *_, last = train(clip, Batches(walls(), 8, seed=0), optimisers, steps=2)
        assert {"loss", "found", "logit scale"} == set(last.metrics)


class TestPrompts:
    def test_a_class_is_the_mean_of_its_captions(self):
        clip = tiny()
        (emb,) = clip.prompts([["red", "a red wall"]])
        torch.testing.assert_close(emb, F.normalize(clip.read(["red", "a red wall"]).sum(0), dim=0))

    def test_classes_may_have_unequal_numbers_of_captions(self):
        assert tiny().prompts([["red"], ["blue", "a blue wall"]]).shape == (2, 16)


class TestNearestClass:
    """The first class has two captions that are far apart, the second has one that lies between them."""

    classes = (["red", "blue"], ["a red wall"])
    known = {"red": [1.0, 0.0], "blue": [0.0, 1.0], "a red wall": [0.8, 0.6]}  # noqa: RUF012

    @pytest.fixture
    def clip(self, monkeypatch):
        clip = tiny()
        monkeypatch.setattr(clip, "read", lambda texts: torch.tensor([self.known[text] for text in texts]))
        return clip

    def test_each_caption_is_asked(self, clip):
        image_emb = torch.eye(2)
        assert clip.nearest_class(image_emb, self.classes, "probabilities").tolist() == [0, 0]
        assert clip.nearest_class(image_emb, self.classes).tolist() == [1, 0]  # red is nearer to the other's mean

    def test_probabilities_are_averaged_not_summed(self, clip):
        image_emb = torch.tensor([[0.8, 0.6]])
        alike = (["a red wall"] * 50, ["a red wall"])
        assert clip.nearest_class(image_emb, alike, "probabilities").tolist() == [0]
        many = (["red"] * 50, ["a red wall"])
        assert clip.nearest_class(image_emb, many, "probabilities").tolist() == [1]

    def test_it_is_a_softmax_over_all_captions(self, clip):
        image_emb = F.normalize(torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), dim=1)
        captions = torch.tensor(list(self.known.values()))
        shares = (clip.logit_scale.detach() * image_emb @ captions.T).softmax(1)
        means = torch.stack([shares[:, :2].mean(1), shares[:, 2]], 1)
        assert clip.nearest_class(image_emb, self.classes, "probabilities").equal(means.argmax(1))

    def test_anything_else_is_an_error(self, clip):
        with pytest.raises(ValueError, match='must be "embeddings" or "probabilities"'):
            clip.nearest_class(torch.eye(2), self.classes, "words")


class TestGuidance:
    def test_the_gradient_is_that_of_the_dot_product(self):
        clip, tokens = freeze(tiny(noisy=True)), walls(3).y
        x = walls(3).x.clone().requires_grad_(True)
        score = clip.log_prob(tokens)(x, 200)
        expected = 1 / 0.07 * (clip.image_emb(x.detach(), 200) * clip.text_emb(tokens)).sum(1)
        torch.testing.assert_close(score.detach(), expected)
        (gradient,) = torch.autograd.grad(score.sum(), x)
        bump = 1e-2 * F.normalize(gradient.flatten(1)).view_as(x)
        with torch.no_grad():
            after = clip.log_prob(tokens)(x + bump, 200)
        assert (after > score.detach()).all()

    def test_only_a_noisy_one_hears_the_time(self):
        x, tokens = walls(3).x, walls(3).y
        clean, noisy = tiny(), tiny(noisy=True)
        torch.nn.init.normal_(noisy.net.image.embed_time[-1].weight)
        for clip, hears in ((clean, False), (noisy, True)):
            early, late = (clip.log_prob(tokens)(x, t) for t in (1, 900))
            assert torch.allclose(early, late) != hears

    def test_another_schedule_is_refused_by_a_noisy_one(self):
        class Denoiser:
            schedule = linear()

        tokens = walls(2).y
        with pytest.raises(ValueError, match="'cosine', the denoiser on 'linear'"):
            tiny(noisy=True).guide(Denoiser(), tokens)
        assert tiny().guide(Denoiser(), tokens, 3.0).scale == 3.0
        Denoiser.schedule = cosine()
        tiny(noisy=True).guide(Denoiser(), tokens)


class TestFrozen:
    def test_its_weights_cannot_be_trained(self):
        clip = freeze(tiny())
        assert not any(p.requires_grad for p in clip.net.parameters()) and not clip.net.training

    def test_the_fingerprint_knows_every_weight(self):
        clip, same, other = tiny(), tiny(), tiny(seed=1)
        assert fingerprint(clip) == fingerprint(same) == fingerprint(clip.net) != fingerprint(other)
        before = fingerprint(clip)
        clip.net.log_scale.data += 1e-6
        assert fingerprint(clip) != before

    def test_using_it_leaves_it_as_it_was(self):
        clip, batch = freeze(tiny()), walls(4)
        before = fingerprint(clip)
        x = batch.x.clone().requires_grad_(True)
        clip.log_prob(batch.y)(x, 5).sum().backward()
        clip.zero_shot(batch.x, [["red"], ["blue"]])
        assert fingerprint(clip) == before

    def test_another_clip_is_an_error(self):
        clip = tiny()
        check_same(clip, fingerprint(clip))
        with pytest.raises(ValueError, match="is not the one that the model was trained with"):
            check_same(tiny(seed=1), fingerprint(clip))

    def test_it_may_lie_in_a_wrapper(self):
        """As the zoo's loader leaves it on machines that compute in half precision."""
        from edu_diffusion.training.runtime import Autocast, Runtime

        clip, batch = freeze(tiny()), walls(3)
        before, emb = fingerprint(clip), clip.image_emb(batch.x)
        clip.modules["net"] = Autocast(clip.net, Runtime(torch.device("cpu"), torch.bfloat16))
        assert fingerprint(clip) == before
        torch.testing.assert_close(clip.image_emb(batch.x), emb, atol=0.05, rtol=0)
        assert clip.text_emb(batch.y).dtype == clip.text_states(batch.y).dtype == torch.float32
