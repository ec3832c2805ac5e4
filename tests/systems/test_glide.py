"""GLIDE: what it is told, what it keeps, and what it refuses. Its networks here are tiny and know nothing yet."""

import pytest
import torch

from edu_diffusion.conditioning.masks import box
from edu_diffusion.conditioning.text import TextEncoder, Tokenizer
from edu_diffusion.data import Batches
from edu_diffusion.diffusion import ClassifierFree, ClassifierGuided, cosine, linear, simple_loss
from edu_diffusion.systems.clip import CLIP, ClipRecipe, ImageTower, fingerprint
from edu_diffusion.systems.glide import Glide, GlideInpaint, TextUNet, text_unet, widened
from edu_diffusion.training import Ema, adamw, train
from edu_diffusion.types import Batch, Rng

WORDS = Tokenizer(("a", "red", "blue", "green", "star", "ring", "left", "of"), length=8)
TINY = {"widths": (16, 32), "attention": (False, True), "head_width": 16, "patch": 4}
HOLE = box((32, 32), 4, 6, 12, 10)


def tiny_net(**options) -> TextUNet:
    torch.manual_seed(0)
    return text_unet(WORDS, width=32, depth=1, **TINY | options)


def awake(net: TextUNet) -> TextUNet:
    """The same with nothing at 0: as if it had been trained, every input matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if (parameter == 0).all():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net


def glide(**options) -> Glide:
    return Glide(awake(tiny_net()), tokenizer=WORDS, **options)


def batch(n=8) -> Batch:
    texts = ["a red star", "a blue ring", "a green star", "a red ring"]
    colours = torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return Batch(colours.expand(n, 3, 32, 32).contiguous(), WORDS([texts[i % 4] for i in range(n)]))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def one_loss(recipe, examples, seed=0):
    [(phase, loss, _)] = recipe.losses(examples, Rng(seed))
    assert phase == "net"
    return loss


@pytest.mark.parametrize("kind", [Glide, GlideInpaint])
def test_training_lowers_the_loss_and_teaches_the_text_encoder_too(kind):
    extra = {"spatial": 4} if kind is GlideInpaint else {}
    recipe, examples = kind(tiny_net(**extra), tokenizer=WORDS), batch()
    before = {name: value.clone() for name, value in recipe.net.text.state_dict().items()}
    start = one_loss(recipe, examples, 5).item()
    ema = Ema(recipe.net, 0.5)
    optimisers = {"net": adamw(recipe.net.parameters(), 2e-3, warmup=1)}
    for _ in train(recipe, Batches(examples, 8, seed=0), optimisers, steps=60, ema={"net": ema}):
        pass
    assert one_loss(recipe, examples, 5).item() < 0.9 * start
    after = recipe.net.text.state_dict()
    assert not torch.equal(before["embed.weight"], after["embed.weight"])
    averaged = ema.module.text.state_dict()["embed.weight"]
    assert not torch.equal(averaged, before["embed.weight"]), "one average holds both"


class TestCaptions:
    def test_its_loss_is_the_packages_own_with_the_caption_left_out_at_times(self):
        recipe, examples = glide(p_uncond=0.5), batch()
        rng = Rng(3)
        t, _ = recipe.memory["times"].draw(8, rng)
        eps, gone = rng.normal_like(examples.x), rng.uniform(8) < 0.5
        assert 0 < gone.sum() < 8
        tokens = torch.where(gone[:, None], WORDS.null, examples.y)
        expected = simple_loss(recipe.denoiser, examples.x, t, eps, recipe.told(tokens)).mean()
        torch.testing.assert_close(one_loss(recipe, examples, 3), expected)

    def test_words_and_their_numbers_are_one(self):
        recipe = glide()
        by_word, by_number = recipe.told(["a red star"]), recipe.told(WORDS(["a red star"]))
        assert torch.equal(by_word.tokens, by_number.tokens) and torch.equal(by_word.vec, by_number.vec)
        assert by_word.mask.tolist() == [[True] * 5 + [False] * 3]

    def test_another_caption_is_another_picture(self):
        recipe = glide()
        texts = ("a red star", "a blue ring", "a red star")
        one, other, again = (recipe.pictures([text], seeded(), steps=2) for text in texts)
        assert torch.equal(one, again) and not torch.allclose(one, other, atol=1e-3)

    def test_captions_are_read_once_and_not_at_every_step(self, monkeypatch):
        recipe, calls = glide(), []
        read = TextUNet.read
        monkeypatch.setattr(TextUNet, "read", lambda self, tokens: calls.append(len(tokens)) or read(self, tokens))
        recipe.pictures(["a red star", "a blue ring"], seeded(), steps=5)
        assert sorted(calls) == [1, 2], "the null caption and the two"

    @pytest.mark.parametrize(
        ("captions", "says"),
        [
            ([""], "at least one word"),
            (["a rad star"], "did you mean 'red'"),
            (["a red star left of a blue ring"], "6"),
        ],
    )
    def test_bad_captions_are_refused(self, captions, says):
        with pytest.raises(ValueError, match=says):
            glide().pictures(captions, seeded())

    def test_a_batch_without_captions_is_refused(self):
        with pytest.raises(ValueError, match="learns from captions"):
            glide().check(Batch(batch().x, torch.arange(8)))
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            glide().check(Batch(2 * batch().x, batch().y))


class TestLayout:
    def test_the_map_tells_the_places_apart_and_can_be_left_out(self):
        told, plain = glide(), Glide(awake(tiny_net(layout=0)), tokenizer=WORDS)
        assert plain.net.to_map is None and plain.net.unet.spatial == 0
        layout = told.net.to_map(told.told(["a red star"]).vec, torch.zeros(1, 3, 32, 32))
        assert layout.shape == (1, 8, 32, 32) and layout.std(dim=(2, 3)).min() > 0

    def test_without_the_map_it_is_the_papers_network(self):
        torch.manual_seed(0)
        plain = Glide(awake(tiny_net(layout=0)), tokenizer=WORDS)
        x_t, cond = torch.randn(2, 3, 32, 32, generator=seeded()), plain.told(["a red star"] * 2)
        assert torch.equal(plain.net(x_t, torch.ones(2), cond), plain.net.unet(x_t, torch.ones(2), cond))


class TestReadingAsClip:
    @staticmethod
    def both() -> tuple[ClipRecipe, Glide]:
        clip = TestGuidance.clip()
        recipe = Glide.from_clip(clip, **TINY)
        awake(recipe.net.unet)
        return clip, recipe

    def test_it_reads_what_clip_reads(self):
        clip, recipe = self.both()
        tokens = WORDS(["a red star", "a blue ring"])
        assert torch.equal(recipe.told(tokens).tokens, clip.text_states(tokens).cpu())

    def test_its_text_encoder_is_not_trained_and_clip_is_not_touched(self):
        clip, recipe = self.both()
        before = fingerprint(clip)
        optimisers = {"net": adamw(recipe.net.parameters(), 2e-3, warmup=1)}
        old = recipe.net.unet.leave[-1].weight.clone()
        for _ in train(recipe, Batches(batch(), 8, seed=0), optimisers, steps=3):
            pass
        assert not torch.equal(recipe.net.unet.leave[-1].weight, old)
        for mine, theirs in zip(recipe.net.text.parameters(), clip.inner.text.parameters(), strict=True):
            assert torch.equal(mine, theirs) and mine is not theirs
        assert fingerprint(clip) == before

    def test_it_may_learn_on(self):
        clip = TestGuidance.clip()
        recipe, before = Glide.from_clip(clip, learn_text=True, **TINY), fingerprint(clip)
        awake(recipe.net.unet)
        optimisers = {"net": adamw(recipe.net.parameters(), 2e-3, warmup=1)}
        for _ in train(recipe, Batches(batch(), 8, seed=0), optimisers, steps=3):
            pass
        assert not torch.equal(recipe.net.text.embed.weight, clip.inner.text.embed.weight)
        assert fingerprint(clip) == before

    def test_tuned_to_inpaint_it_stays_as_it_is_too(self):
        tuned = GlideInpaint.from_glide(self.both()[1])
        assert not any(p.requires_grad for p in tuned.net.text.parameters())
        assert all(p.requires_grad for p in tuned.net.unet.parameters())


class TestGuidance:
    def test_the_null_is_the_null_caption_read(self):
        recipe = glide()
        guided, cond, x_t = recipe.guided(3.0), recipe.told(batch().y), torch.randn(8, 3, 32, 32, generator=seeded())
        assert isinstance(guided, ClassifierFree)
        null = recipe.told(WORDS.null.expand(8, -1))
        eps_null, eps_cond = (recipe.denoiser(x_t, 500, each).eps for each in (null, cond))
        torch.testing.assert_close(
            guided(x_t, 500, cond).eps, eps_null + 3 * (eps_cond - eps_null), atol=1e-3, rtol=1e-3
        )

    @staticmethod
    def clip(tokenizer=WORDS, **options) -> ClipRecipe:
        torch.manual_seed(3)
        text = TextEncoder(tokenizer.size, length=tokenizer.length, width=32, depth=1)
        tower = ImageTower(widths=(16, 16), time=options.get("noisy", False))
        return ClipRecipe(CLIP(tower, text), tokenizer, **options)

    def test_clip_guidance_goes_up_its_own_similarity(self):
        recipe, clip = glide(), self.clip()
        guided = recipe.clip_guided(clip, ["a red star"] * 2, 20.0)
        assert isinstance(guided, ClassifierGuided)
        x_t, cond, log_prob = (
            torch.randn(2, 3, 32, 32, generator=seeded()),
            recipe.told(["a red star"] * 2),
            guided.log_prob,
        )
        plain, pushed = recipe.denoiser(x_t, 300, cond), guided(x_t, 300, cond)
        direction = plain.eps - pushed.eps  # along the gradient
        with torch.no_grad():
            assert (log_prob(x_t + 1e-2 * direction / direction.norm(), 300) > log_prob(x_t, 300)).all()

    def test_a_clip_with_other_words_is_refused(self):
        with pytest.raises(ValueError, match="two captions"):
            glide().clip_guided(self.clip(Tokenizer(("a", "red"), length=8)), ["a red"], 1.0)

    def test_a_noised_clip_of_another_schedule_is_refused(self):
        with pytest.raises(ValueError, match="schedule"):
            glide(schedule=cosine()).clip_guided(self.clip(noisy=True, schedule=linear()), ["a red star"], 1.0)


def inpaint() -> GlideInpaint:
    return GlideInpaint(awake(tiny_net(spatial=4)), tokenizer=WORDS)


PAINTERS = {"plain": glide, "tuned": inpaint}


@pytest.mark.parametrize("make", PAINTERS.values(), ids=PAINTERS)
class TestPainting:
    def test_outside_the_mask_nothing_changes(self, make):
        x0 = batch(2).x
        made = make().paint(x0, HOLE, ["a red star"], seeded(), steps=3)
        outside = ~HOLE.expand(x0.shape)
        assert torch.equal(made[outside], x0[outside]) and not torch.equal(made, x0)
        assert made.aminmax().min >= -1 and made.aminmax().max <= 1

    def test_a_caption_for_each_picture(self, make):
        recipe, x0 = make(), batch(2).x
        both = recipe.paint(x0, HOLE, ["a red star", "a blue ring"], seeded(), steps=2)
        same = recipe.paint(x0, HOLE, ["a red star"], seeded(), steps=2)
        torch.testing.assert_close(both[0], same[0], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(both[1], same[1], atol=1e-3)

    @pytest.mark.parametrize(
        ("x0", "mask", "captions", "says"),
        [
            (batch(2).x, box((16, 16), 0, 0, 4, 4), ["a red star"], "must have the size"),
            (batch(2).x[..., :16, :16], box((16, 16), 0, 0, 4, 4), ["a red star"], "draws 32x32 pictures, got 16x16"),
            (batch(2).x, HOLE & False, ["a red star"], "empty"),
            (batch(2).x * 3, HOLE, ["a red star"], r"\[-1, 1\]"),
            (batch(2).x, HOLE, ["a red star"] * 3, "one for each of the 2 pictures"),
            (batch(2).x, HOLE, [""], "at least one word"),
        ],
    )
    def test_bad_input_is_refused(self, make, x0, mask, captions, says):
        with pytest.raises(ValueError, match=says):
            make().paint(x0, mask, captions, seeded(), steps=2)


class TestChanging:
    def test_more_strength_changes_more(self):
        recipe, x0 = glide(), batch(2).x
        near, far = (recipe.change(x0, ["a blue ring"], seeded(), s, steps=4) for s in (0.1, 1.0))
        assert (near - x0).abs().mean() < (far - x0).abs().mean()

    @pytest.mark.parametrize(("strength", "times", "says"), [(0.0, 1, "strength"), (0.5, 3, r"\[-1, 1\]")])
    def test_bad_input_is_refused(self, strength, times, says):
        with pytest.raises(ValueError, match=says):
            glide().change(times * batch(2).x, ["a blue ring"], seeded(), strength)


class TestTuning:
    def test_before_training_it_does_what_the_plain_one_does(self):
        plain, x_t = glide(), torch.randn(2, 3, 32, 32, generator=seeded())
        tuned, cond = GlideInpaint.from_glide(plain), plain.told(["a red star"] * 2)
        expected = plain.denoiser(x_t, 400, cond).raw
        told = tuned.painter(batch(2).x, HOLE, 1.0)(x_t, 400, tuned.told(["a red star"] * 2)).raw
        torch.testing.assert_close(told, expected)

    def test_the_plain_one_is_left_as_it_was_and_the_copy_can_learn(self):
        plain = glide()
        plain.net.eval().requires_grad_(False)
        tuned = GlideInpaint.from_glide(plain)
        assert all(p.requires_grad for p in tuned.net.parameters()) and tuned.net.training
        one_loss(tuned, batch()).backward()
        assert tuned.net.unet.enter.weight.grad[:, (3 + 8) * 16 :].abs().sum() > 0, "the new channels get a gradient"
        assert plain.net.spatial == 0 and not any(p.requires_grad for p in plain.net.parameters())

    def test_it_is_shown_the_picture_around_the_hole_and_not_what_is_in_it(self):
        tuned, x_t = inpaint(), torch.randn(2, 3, 32, 32, generator=seeded())
        cond, x0 = tuned.told(["a red star"] * 2), batch(2).x
        inside, outside = torch.where(HOLE, -x0, x0), torch.where(HOLE, x0, -x0)
        raw = [tuned.painter(x, HOLE, 1.0)(x_t, 400, cond).raw for x in (x0, inside, outside)]
        assert torch.equal(raw[0], raw[1]) and not torch.allclose(raw[0], raw[2], atol=1e-3)

    def test_a_network_is_widened_once(self):
        with pytest.raises(ValueError, match="spatial channels already"):
            widened(tiny_net(spatial=4), 4)


def test_the_default_network_fits_the_zoo():
    pytest.importorskip("edu_diffusion.data.captions")
    for recipe in (Glide(), GlideInpaint()):
        assert 2 * sum(p.numel() for p in recipe.net.parameters()) < 8 * 2**20
