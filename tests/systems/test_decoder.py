"""The decoder: the three ways of being told an embedding, what is left out how often, and whose CLIP it was."""

import pytest
import torch

from edu_diffusion.data import Batches
from edu_diffusion.diffusion import ClassifierFree, ddim, generate
from edu_diffusion.nets.layers import resize
from edu_diffusion.systems.clip import fingerprint
from edu_diffusion.systems.decoder import Decoder, DecoderNet
from edu_diffusion.training import Ema, adamw, train
from edu_diffusion.types import Batch, Cond, Rng
from tests.systems.tiny_unclip import LENGTH, SMALL, TEXT, WIDTH, pictures, seeded, shaken, tiny_clip, tiny_decoder


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


class Quick:
    """A CLIP to whom all pictures look alike, and that only counts words."""

    def image_emb(self, x):
        return torch.ones(len(x), WIDTH) / WIDTH**0.5

    def text_emb(self, tokens):
        return torch.ones(len(tokens), WIDTH) / WIDTH**0.5

    def text_states(self, tokens):
        return tokens[..., None].expand(-1, -1, TEXT).float()


def batch(clip, n=4) -> Batch:
    return Batch(pictures(n), clip.tokenizer(["a red star", "a blue ring"] * (n // 2)))


def one_loss(decoder, given, seed=0):
    [(phase, loss, _)] = decoder.losses(given, Rng(seed))
    assert phase == "net" and loss.ndim == 0 and loss.isfinite()
    return loss


class TestNet:
    x, t = torch.zeros(2, 3, 16, 16), torch.tensor([10.0, 10.0])

    @pytest.mark.parametrize("way", ["vec", "tokens", "spatial"])
    def test_each_way_alone_tells_the_embedding(self, way):
        off = {"vec": False, "tokens": 0, "spatial": 0}
        on = {"vec": True, "tokens": 4, "spatial": 2}[way]
        net = shaken(DecoderNet(WIDTH, **SMALL | off | {way: on}))
        one, other = net(self.x, self.t, Cond(vec=torch.randn(2, WIDTH, generator=seeded())))
        assert not torch.allclose(one, other)

    def test_all_off_is_refused(self):
        with pytest.raises(ValueError, match="nothing could tell"):
            DecoderNet(WIDTH, vec=False, tokens=0, spatial=0, **SMALL)

    def test_the_map_says_something_of_each_place(self):
        net = DecoderNet(WIDTH, spatial=2, **SMALL)
        told = net.to_map(torch.randn(2, WIDTH, generator=seeded()), self.x)
        assert told.shape == (2, 2, 16, 16)
        assert torch.equal(resize(told, (8, 8)).repeat_interleave(2, 2).repeat_interleave(2, 3), told)
        assert told[0, 0].unique().numel() == 64

    def test_a_caption_it_cannot_read_and_one_it_misses(self, clip):
        z, states = torch.zeros(2, WIDTH), torch.zeros(2, 3, TEXT)
        mask = torch.ones(2, 3, dtype=torch.bool)
        with pytest.raises(ValueError, match="reads no captions"):
            DecoderNet(WIDTH, **SMALL)(self.x, self.t, Cond(z, states, mask))
        with pytest.raises(ValueError, match="null caption"):
            DecoderNet(WIDTH, text=TEXT, **SMALL)(self.x, self.t, Cond(z))
        with pytest.raises(ValueError, match="embedding of 16 numbers for each picture, got one of 5"):
            DecoderNet(WIDTH, **SMALL)(self.x, self.t, Cond(z[:, :5]))
        with pytest.raises(ValueError, match="got none"):
            DecoderNet(WIDTH, **SMALL)(self.x, self.t)


class TestCondition:
    def test_two_independent_coins(self, clip):
        decoder, n = Decoder(clip=Quick(), net=tiny_decoder(clip).net, tokenizer=clip.tokenizer), 4000
        tokens = clip.tokenizer(["a red star"]).expand(n, -1)
        cond = decoder.condition(Batch(torch.zeros(n, 3, 2, 2), tokens), Rng(0))
        blind, deaf = ~cond.vec.any(1), (cond.tokens == decoder.null.tokens).flatten(1).all(1)
        assert blind.float().mean().item() == pytest.approx(0.1, abs=0.02)
        assert deaf.float().mean().item() == pytest.approx(0.5, abs=0.03)
        assert (blind & deaf).float().mean().item() == pytest.approx(0.05, abs=0.015)

    def test_it_tells_the_embedding_of_the_large_picture(self, clip):
        decoder, x = tiny_decoder(clip, text=False), pictures()
        decoder.drop_image = 0.0
        cond = decoder.condition(Batch(x), Rng(0))
        torch.testing.assert_close(cond.vec, clip.image_emb(resize(x, (32, 32))))
        assert cond.tokens is None

    def test_told_fills_in_what_is_not_given(self, clip):
        decoder, z = tiny_decoder(clip), clip.image_emb(pictures())
        tokens = clip.tokenizer(["a red star"] * 4)
        only_text, only_z = decoder.told(tokens=tokens), decoder.told(z)
        assert not only_text.vec.any() and torch.equal(only_z.vec, z)
        torch.testing.assert_close(only_z.tokens, decoder.null.tokens.expand(4, -1, -1))
        assert only_text.mask.sum(1).tolist() == [5] * 4 and decoder.null.mask.sum() == 2
        with pytest.raises(ValueError, match="embeddings, captions, or both"):
            decoder.told()
        with pytest.raises(ValueError, match="reads no captions"):
            tiny_decoder(clip, text=False).told(z, tokens)

    def test_it_wants_captions_if_it_reads_them(self, clip):
        with pytest.raises(ValueError, match="the batch has none"):
            one_loss(tiny_decoder(clip), Batch(pictures()))
        one_loss(tiny_decoder(clip, text=False), Batch(pictures()))


class TestTraining:
    def test_a_step_lowers_the_loss_and_leaves_clip_alone(self, clip):
        decoder, given, before = tiny_decoder(clip), batch(clip), fingerprint(clip)
        start = one_loss(decoder, given, 5).item()
        optimisers = {"net": adamw(decoder.net.parameters(), 5e-3, warmup=1)}
        ema = {"net": Ema(decoder.net, 0.9)}
        for _ in train(decoder, Batches(given, 4, seed=0), optimisers, steps=15, ema=ema):
            pass
        assert one_loss(decoder, given, 5).item() < 0.9 * start
        assert fingerprint(clip) == before and list(decoder.modules) == ["net"]
        # Whose embeddings they are is known to the averaged weights too: those are what the zoo keeps.
        assert torch.equal(ema["net"].module.made_for, decoder.net.made_for) and decoder.net.made_for.any()

    def test_the_target_is_the_small_picture(self, clip, monkeypatch):
        decoder, seen = tiny_decoder(clip), []
        monkeypatch.setattr(decoder, "loss", lambda d, x0, t, eps, cond: seen.append(x0) or x0.flatten(1).mean(1))
        one_loss(decoder, batch(clip))
        torch.testing.assert_close(seen[0], torch.nn.functional.avg_pool2d(pictures(), 4))


class TestAnotherClip:
    def test_is_an_error(self, clip):
        decoder = tiny_decoder(clip)
        decoder.sign()
        other = tiny_decoder(tiny_clip(seed=1))
        other.net.load_state_dict(decoder.net.state_dict())
        with pytest.raises(ValueError, match="is not the one"):
            other.told(torch.zeros(1, WIDTH))
        same = tiny_decoder(tiny_clip())
        same.net.load_state_dict(decoder.net.state_dict())
        assert same.told(torch.zeros(1, WIDTH)).tokens.shape == (1, LENGTH, TEXT)

    def test_clip_may_be_read_when_first_needed(self, clip):
        asked = []
        decoder = Decoder(clip=lambda: asked.append(1) or clip, net=DecoderNet(WIDTH, **SMALL))
        assert not asked
        decoder.sign()
        assert decoder.eyes is clip and asked == [1]


class TestPictures:
    def test_are_repeatable_and_in_range(self, clip):
        decoder = tiny_decoder(clip)
        shaken(decoder.net)
        cond = decoder.told(clip.image_emb(pictures()))
        x, again, other = (decoder.pictures(cond, seeded(seed), steps=3) for seed in (0, 0, 1))
        assert torch.equal(x, again) and not torch.equal(x, other)
        assert x.shape == (4, 3, 16, 16) and x.min() >= -1 and x.max() <= 1

    def test_guidance_is_the_wrapper_with_nothing_told(self, clip):
        decoder = tiny_decoder(clip)
        shaken(decoder.net)
        guided = decoder.guided(2.0)
        assert isinstance(guided, ClassifierFree) and guided.null is decoder.null
        cond, x_T = decoder.told(clip.image_emb(pictures())), torch.randn(4, 3, 16, 16, generator=seeded())
        plain = generate(decoder.denoiser, x_T.shape, steps=2, rule=ddim(), cond=cond, x_init=x_T)
        off = generate(decoder.guided(1.0), x_T.shape, steps=2, rule=ddim(), cond=cond, x_init=x_T)
        torch.testing.assert_close(plain, off)
