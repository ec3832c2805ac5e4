"""How a CLIP is measured, asked of readers that are known: one that knows all, and one that knows a bag of words."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.data.captions import meaning
from edu_diffusion.data.scenes import COLOURS, GROUNDS, PLACES, RELATIONS, SHAPES, SIZES, is_held_out
from edu_diffusion.systems.clip import ClipRecipe
from edu_diffusion.zoo import measure_text
from edu_diffusion.zoo.measure_text import (
    ATTRIBUTES,
    Wording,
    class_captions,
    counted,
    exchanged,
    gap,
    groups,
    having,
    languages,
    measure_clip,
    measure_noised_clip,
    retrieval,
    scenes,
    told_apart,
    zero_shot,
)

KINDS = (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES))


class Reader(ClipRecipe):
    """Embeds scenes and captions exactly. With `bag` it knows what occurs, and not what belongs to what."""

    logit_scale = torch.tensor(100.0)

    def __init__(self, bag: bool = False):
        self.bag = bag

    def embed(self, scene):
        things = torch.zeros(2, 18)
        for k, thing in enumerate(scene.things):
            hot = [one_hot(getattr(thing, name), values) for name, values in KINDS]
            things[k] = torch.cat(hot)
        parts = [things.sum(0)] if self.bag else list(things)
        rest = (("ground", GROUNDS), ("place", PLACES), ("relation", RELATIONS))
        parts += [one_hot(getattr(scene, name), values) for name, values in rest]
        return F.normalize(torch.cat(parts), dim=0)

    def read(self, texts):
        return torch.stack([self.embed(meaning(text)) for text in texts])

    def prompts(self, classes):
        return torch.stack([F.normalize(self.read(texts).mean(0), dim=0) for texts in classes])


def without(said, attribute):
    """What a caption says, but for one attribute; for a shape, colour or size but for that of the first thing."""
    if hasattr(said, attribute):
        return replace(said, **{attribute: None})
    first, *rest = said.things
    return replace(said, things=(replace(first, **{attribute: ATTRIBUTES[attribute][0]}), *rest))


def one_hot(value, values):
    return torch.tensor([float(value == each) for each in values])


@pytest.fixture
def seen(monkeypatch):
    """Pictures are not drawn: a reader is shown the scene itself."""
    monkeypatch.setattr(measure_text, "looked_at", lambda clip, given: torch.stack([clip.embed(s) for s in given]))


def test_no_two_scenes_of_a_group_are_said_alike():
    first, second = groups(40, 20)
    for group in (first, second):
        assert len({measure_text.full_caption(scene) for scene in group}) == 20
    assert groups(40, 20)[0] == first and not any(is_held_out(scene) for scene in first)


class TestCaptionsOfAClass:
    @pytest.mark.parametrize("attribute", ATTRIBUTES)
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_each_says_its_value(self, attribute, language):
        for value, texts in zip(ATTRIBUTES[attribute], class_captions(attribute, 3, language), strict=True):
            assert len(texts) == 3
            for text in texts:
                said = meaning(text)
                owner = said if hasattr(said, attribute) else said.things[0]
                assert getattr(owner, attribute) == value

    @pytest.mark.parametrize("attribute", ATTRIBUTES)
    def test_all_else_is_the_same_in_every_class(self, attribute):
        first, *others = [
            [without(meaning(text), attribute) for text in texts] for texts in class_captions(attribute, 40)
        ]
        assert all(other == first for other in others) and len(set(first)) > 1

    def test_bare_words(self):
        assert class_captions("size", 0) == [["small"], ["large"]]


class TestExchanged:
    def test_places_and_colours(self):
        scene = next(s for s in scenes(50, things=2) if exchanged(s, "colours"))
        one, two = scene.things
        assert exchanged(scene).things == (two, one)
        other = exchanged(scene, "colours").things
        assert [(t.shape, t.colour) for t in other] == [(one.shape, two.colour), (two.shape, one.colour)]

    def test_it_is_another_scene_and_not_held_out(self):
        found = [(scene, exchanged(scene, "colours")) for scene in scenes(200, things=2)]
        assert any(other is None for _, other in found)
        assert all(other is None or (other != scene and not is_held_out(other)) for scene, other in found)

    def test_nothing_else_can_be_exchanged(self):
        with pytest.raises(ValueError, match='"places" or "colours"'):
            exchanged(scenes(1, things=2)[0], "sizes")


def test_having_changes_one_attribute():
    scene = scenes(1, things=2)[0]
    for attribute in ("shape", "ground"):
        other = having(scene, attribute, ATTRIBUTES[attribute][0])
        assert having(other, attribute, ATTRIBUTES[attribute][1]) != other
        assert other.things[1] == scene.things[1] and other.relation == scene.relation


class TestMeasures:
    def test_who_knows_all_is_always_right(self, seen):
        reader = Reader()
        assert retrieval(reader, groups(40, 20)) == (1, 1) == retrieval(reader, groups(40, 20), "zh")
        for attribute in ATTRIBUTES:
            assert zero_shot(reader, attribute, Wording("", 8), 60) > 0.98
        assert told_apart(reader, "places", 50) == told_apart(reader, "colours", 50) == counted(reader, 40) == 1

    def test_a_bag_of_words_can_only_guess(self, seen):
        reader = Reader(bag=True)
        assert zero_shot(reader, "ground", Wording("", 8), 60) == 1
        assert told_apart(reader, "places", 50) == told_apart(reader, "colours", 50) == 0.5

    def test_translations_mean_the_same(self):
        same, other = languages(Reader(), 30)
        assert same == pytest.approx(1) and other < 0.8

    def test_the_gap_is_between_the_means(self, seen):
        reader = Reader()
        assert gap(reader, 20) == pytest.approx(0, abs=1e-6)
        reader.read = lambda texts: -Reader.read(reader, texts)
        mean = torch.stack([reader.embed(scene) for scene in scenes(20)]).mean(0)
        assert gap(reader, 20) == pytest.approx(2 * mean.norm().item(), rel=1e-5)

    def test_everything_has_a_number(self, seen, monkeypatch):
        monkeypatch.setattr(measure_text, "groups", lambda count, among=20: groups(20, 20))
        monkeypatch.setattr(measure_text, "languages", lambda clip, samples: languages(clip, 20))
        monkeypatch.setattr(
            measure_text, "WORDINGS", {"one": Wording("one", 1), "many": Wording("four", 4, "probabilities")}
        )
        found = measure_clip(Reader(), seed=3, samples=20)
        assert {f"zero_shot_{a}" for a in ATTRIBUTES} | {"finds_caption_zh", "told_apart_colours"} <= set(found)
        assert found["finds_caption_en"].value == 1 and found["counted"].seed == 3

    def test_real_pictures_and_captions_of_both_kinds_of_clip(self, monkeypatch):
        """Untrained ones: what comes out are shares, and at t = 0 noise is none."""
        torch.manual_seed(0)
        clip, noisy, few = ClipRecipe(), ClipRecipe(noisy=True), groups(6, 6)
        assert all(0 <= share <= 1 for share in retrieval(clip, few))
        assert 0 <= told_apart(clip, "places", 4) <= 1 and 0 <= zero_shot(clip, "size", Wording("", 2), 6) <= 1
        monkeypatch.setattr(measure_text, "groups", lambda count: few)
        monkeypatch.setattr(measure_text, "TIMES", (0, 500))
        found = measure_noised_clip(noisy, samples=6)
        assert found["finds_caption_0"].value == pytest.approx(retrieval(noisy, few)[0])
