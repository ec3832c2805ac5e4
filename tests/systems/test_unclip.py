"""The chain: every stage is what the part before it hands on, and one seed gives one picture."""

from dataclasses import replace

import pytest
import torch

from edu_diffusion.systems.unclip import Stages
from tests.systems.tiny_unclip import WIDTH, pictures, seeded, tiny_clip, tiny_decoder, tiny_unclip

CAPTIONS = ["a red star", "a blue ring above a red star"]


@pytest.fixture(scope="module")
def system():
    return tiny_unclip()


def test_the_stages_are_the_parts_one_after_the_other(system):
    stages = system.stages(CAPTIONS, seeded(), steps=2)
    tokens, generator = system.tokenizer(CAPTIONS), seeded()
    torch.testing.assert_close(stages.text_emb, system.clip.text_emb(tokens))
    image_emb = system.prior.embeddings(tokens, generator)
    small = system.decoder.pictures(system.decoder.told(image_emb, tokens), generator, steps=2)
    middle = system.up1.pictures(small, generator)
    assert torch.equal(stages.image_emb, image_emb) and torch.equal(stages.small, small)
    assert torch.equal(stages.middle, middle)
    assert torch.equal(stages.large, system.up2.pictures(middle, generator))
    assert [x.shape[1:] for x in (stages.small, stages.middle, stages.large)] == [(3, s, s) for s in (16, 32, 64)]


def test_pictures_are_the_last_stage_and_repeatable(system):
    x, again, other = (system.pictures(CAPTIONS, seeded(seed), steps=2) for seed in (0, 0, 1))
    assert torch.equal(x, again) and not torch.equal(x, other)
    assert torch.equal(x, system.stages(CAPTIONS, seeded(), steps=2).large)
    assert x.min() >= -1 and x.max() <= 1


def test_captions_may_be_read_by_the_decoder_or_not(system):
    read, unread = (system.stages(CAPTIONS, seeded(), steps=2, read=read) for read in (True, False))
    assert torch.equal(read.image_emb, unread.image_emb) and not torch.allclose(read.small, unread.small)


def test_drawing_embeddings_is_the_second_half(system):
    image_emb = system.clip.image_emb(pictures(2))
    stages = system.draw(image_emb, seeded(), steps=2)
    assert isinstance(stages, Stages) and stages.text_emb is None and torch.equal(stages.image_emb, image_emb)
    told = system.decoder.told(image_emb)
    assert torch.equal(stages.small, system.decoder.pictures(told, seeded(), steps=2))


def test_variations_differ_and_are_as_many_as_asked_for(system):
    x = system.variations(pictures(1), 3, seeded(), steps=2)
    assert x.shape == (3, 3, 64, 64) and not torch.allclose(x[0], x[1])
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        system.variations(2 + pictures(1), 3, seeded())


def test_a_caption_that_cannot_be_read_is_an_error(system):
    with pytest.raises(ValueError, match="unknown word 'stars'"):
        system.pictures(["a red stars"], seeded())
    with pytest.raises(ValueError, match="at least one word"):
        system.pictures([""], seeded())


def test_another_clip_is_an_error(system):
    with pytest.raises(ValueError, match="the prior was trained with the CLIP"):
        replace(system, clip=tiny_clip(seed=1))
    other = tiny_decoder(tiny_clip(seed=1))
    with pytest.raises(ValueError, match="the decoder was trained with the CLIP"):
        replace(system, decoder=other)
    assert replace(system, clip=tiny_clip()).clip is not system.clip  # the same weights are the same CLIP
    assert system.decoder.inner.width == WIDTH
