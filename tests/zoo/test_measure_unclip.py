"""How unCLIP is measured: what the decoder is told in each way, and what the reader makes of real pictures."""

import pytest
import torch

from edu_diffusion.conditioning.text import scene_tokenizer
from edu_diffusion.data.captions import full_caption
from edu_diffusion.data.scenes import Scene, Thing, render
from edu_diffusion.metrics import Measured
from edu_diffusion.zoo import measure_unclip
from edu_diffusion.zoo.measure_unclip import WAYS, accuracy, asked, drawn, read_variants, told
from tests.systems.tiny_unclip import seeded, tiny_clip, tiny_unclip


@pytest.fixture(scope="module")
def system():
    return tiny_unclip(tiny_clip(tokenizer=scene_tokenizer()))


@pytest.fixture(scope="module")
def given(system):
    return asked(system, 6)


def test_what_is_asked_belongs_together(system, given):
    assert len(given) == 6 and len(given.select(2, 5)) == 3
    assert system.tokenizer.text(given.tokens)[0] and given.select(2, 5).captions == given.captions[2:5]
    again = asked(system, 150)
    assert again.captions[:6] == given.captions  # whatever the count, and across its parts
    torch.testing.assert_close(again.image_emb[:6], given.image_emb)


def test_each_way_tells_what_it_says(system, given):
    said = {way: told(system, given, way, seeded()) for way in WAYS}
    null = system.decoder.null
    assert torch.equal(said["true"].vec, given.image_emb)
    torch.testing.assert_close(said["text"].vec, system.clip.text_emb(given.tokens))
    assert torch.equal(said["prior"].vec, said["both"].vec) and not torch.equal(said["prior"].vec, said["true"].vec)
    assert not said["caption"].vec.any()
    for way in ("true", "prior", "text"):
        assert torch.equal(said[way].mask, null.mask.expand(6, -1))
    for way in ("both", "caption"):
        assert torch.equal(said[way].mask, system.tokenizer.real(given.tokens))
    with pytest.raises(ValueError, match="way must be one of"):
        told(system, given, "guess", seeded())


def test_pictures_are_finished_and_repeatable(system, given):
    x, again = (drawn(system, given, "true", steps=1) for _ in range(2))
    assert x.shape == (6, 3, 64, 64) and torch.equal(x, again)


def test_real_pictures_are_right(system):
    some = asked(system, 40)
    x = render(some.scenes, split="test")
    assert accuracy(some, x, "true").whole > 0.9 and accuracy(some, x).whole > 0.9
    assert accuracy(some, x.roll(1, 0)).whole < 0.3


def test_variants_are_read():
    scenes = [
        Scene((Thing("star", "red", size),), ground, place=place)
        for size, ground, place in (("small", "black", "centre"), ("large", "white", "bottom"))
    ]
    pair = Scene((Thing("star", "red", "small"), Thing("ring", "blue", "small")), "grey", relation="above")
    right, variant = read_variants([full_caption(each) for each in (*scenes, pair)], render([*scenes, pair]))
    assert variant.tolist() == [0, 29, 0] and right == 1


def test_the_card_has_what_was_asked_for(system, monkeypatch):
    monkeypatch.setattr(measure_unclip, "fd", lambda x, seed: Measured("fd", 1.0, len(x), seed))
    monkeypatch.setattr(measure_unclip, "MANY", 2)
    monkeypatch.setattr(measure_unclip, "drawn", lambda s, given, way, seed: render(given.scenes, split="test"))
    found = measure_unclip.measure_unclip(system, samples=8)
    assert {"true_whole", "captions_whole", "Chinese_whole", "held-out_whole", "fd", "seconds_1", "seconds_2"} <= set(
        found
    )
    assert found["true_whole"].value == 1 and found["seconds_2"].unit.startswith("s on")
