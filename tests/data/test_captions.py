from dataclasses import replace
from itertools import product

import pytest
import torch

from edu_diffusion.data.captions import LANGUAGES, Wanted, caption, full_caption, meaning, split_words, words
from edu_diffusion.data.grammar import _pattern, _things, _wordings, is_chinese
from edu_diffusion.data.world import RELATIONS, Scene, Thing, scene_of, swapped

STAR, RING = Thing("star", "red", "small"), Thing("ring", "blue", "large")
ONE, TWO = Scene((STAR,), "black", place="left"), Scene((STAR, RING), "white", relation="above")
SCENES = [scene_of(i, 0, split) for i in range(150) for split in ("train", "held-out")]


def everything(scene: Scene) -> Wanted:
    return Wanted(scene.things, scene.ground, scene.place, scene.relation)


def agrees(wanted: Wanted, scene: Scene) -> bool:
    """Whether nothing that is said is wrong of the scene."""
    pairs = [(wanted.ground, scene.ground), (wanted.place, scene.place)]
    for asked, thing in zip(wanted.things, scene.things, strict=True):
        pairs += [(asked.shape, thing.shape), (asked.colour, thing.colour), (asked.size, thing.size)]
    return wanted.relation == scene.relation and all(said in (None, true) for said, true in pairs)


@pytest.mark.parametrize("language", LANGUAGES)
class TestBothLanguages:
    def test_a_full_caption_says_everything(self, language):
        for i, scene in enumerate(SCENES):
            assert meaning(full_caption(scene, language, i)) == everything(scene)

    def test_a_caption_never_says_anything_wrong(self, language):
        for i, scene in enumerate(SCENES):
            assert agrees(meaning(caption(scene, i, language)), scene)

    def test_a_swapped_scene_has_the_swapped_meaning(self, language):
        for i in range(100):
            scene = scene_of(i, things=2)
            one, other = meaning(caption(scene, i, language)), meaning(caption(swapped(scene), i, language))
            assert {one.things[0].shape, one.things[1].shape} == {other.things[0].shape, other.things[1].shape}
            assert one != other and one.relation == other.relation
            assert (one.things[0].shape, one.things[0].colour) == (other.things[1].shape, other.things[1].colour)

    def test_size_place_and_ground_are_said_about_half_the_time(self, language):
        said = [meaning(caption(ONE, i, language)) for i in range(300)]
        for share in (
            sum(wanted.things[0].size is not None for wanted in said) / 300,
            sum(wanted.place is not None for wanted in said) / 300,
            sum(wanted.ground is not None for wanted in said) / 300,
        ):
            assert 0.35 < share < 0.75

    def test_every_wording_is_written(self, language):
        told = LANGUAGES[language]
        scenes = (ONE, TWO, replace(TWO, relation="left of"))
        texts = {full_caption(scene, language, i) for scene in scenes for i in range(150)}
        texts |= {caption(scene, i, language) for scene in scenes for i in range(150)}
        bare = [" ".join(split_words(text)) for text in texts]
        for wording in [*told.ground, *(wording for _, wording in _wordings(told))]:
            assert any(_pattern(told, wording).fullmatch(text) for text in bare), wording

    def test_no_two_things_are_said_alike(self, language):
        told = LANGUAGES[language]
        found = set(_things(told).values())
        assert found == {Thing(*kind) for kind in product(told.shape, told.names["colour"], (None, "small", "large"))}

    def test_the_vocabulary_is_what_captions_are_made_of(self, language):
        used = {word for i, scene in enumerate(SCENES * 4) for word in split_words(full_caption(scene, language, i))}
        used |= {word for i, scene in enumerate(SCENES) for word in split_words(caption(scene, i, language))}
        assert used == set(words(language))
        assert list(words(language)) == sorted(set(words(language)))

    def test_captions_fit_in_22_words(self, language):
        assert max(len(split_words(full_caption(scene, language, i))) for i, scene in enumerate(SCENES * 4)) <= 22

    def test_the_choice_decides_the_words(self, language):
        assert caption(TWO, 5, language) == caption(TWO, 5, language)
        assert len({caption(TWO, i, language) for i in range(50)}) > 25
        first, same = (caption(TWO, torch.Generator().manual_seed(3), language) for _ in range(2))
        assert first == same


def test_english_reads_naturally():
    texts = [caption(scene, i) for i, scene in enumerate(SCENES * 2)]
    assert any("an orange" in text for text in texts) and not any("a orange" in text for text in texts)
    assert all(text == " ".join(text.split()) and text == text.lower() for text in texts)


def test_chinese_has_the_right_measure_words():
    texts = [full_caption(scene, "zh", i) for i, scene in enumerate(SCENES * 2)]
    for text in texts:
        assert " " not in text and not any("a" <= letter <= "z" for letter in text)
        for noun, measure in (("星星", "颗"), ("五角星", "颗"), ("爱心", "颗"), ("圆环", "个"), ("正方形", "个")):
            if noun in text:
                before = text[: text.index(noun)]
                assert max(before.rfind("一颗"), before.rfind("一个")) == before.rfind(f"一{measure}")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a red star", Wanted((Thing("star", "red"),))),
        ("A small red star on the left.", Wanted((STAR,), place="left")),
        ("red star in the center on gray", Wanted((Thing("star", "red"),), "grey", "centre")),
        ("an orange ring", Wanted((Thing("ring", "orange"),))),
        ("a red star above a blue ring", Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="above")),
        ("a blue ring below a red star", Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="above")),
        ("a blue ring right of a red star", Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="left of")),
        ("一颗红色的小星星", Wanted((STAR,))),
        ("一颗红色的星星在左边", Wanted((Thing("star", "red"),), place="left")),
        (
            "一颗红色的星星在一个蓝色的圆环的左边",
            Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="left of"),
        ),
        ("一个蓝色的大圆环在一颗红色的小星星的下面，背景是白色的。", everything(TWO)),
    ],
)
def test_typed_captions_are_understood(text, wanted):
    assert meaning(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "red",
        "a star",
        "a red dog",
        "a red star and a blue ring",
        "a red star left of",
        "a red star above a blue ring on the left",
        "a red star on red",
        "a red star on black on white",
        "红色",
        "一颗红色的小狗",
        "a red 星星",
    ],
)
def test_what_is_no_wording_is_refused(text):
    with pytest.raises(ValueError, match="cannot make out"):
        meaning(text)


def test_words_are_both_languages_english_first():
    assert words() == words("en") + words("zh") and len(set(words())) == len(words())
    assert not any(map(is_chinese, words("en"))) and all(map(is_chinese, words("zh")))


def test_chinese_is_cut_into_the_longest_words():
    assert split_words("一颗红色的小星星在圆环上面，背景是黑色的") == [
        *("一颗", "红色", "的", "小", "星星", "在", "圆环", "上面"),
        *("背景", "是", "黑色", "的"),
    ]
    assert split_words("红狗") == ["红", "狗"]


def test_punctuation_capitals_and_spelling_do_not_count():
    assert split_words("A RED star, in the center!") == ["a", "red", "star", "in", "the", "centre"]
    assert split_words("  ") == []


def test_another_language_is_refused():
    for call in (lambda: words("fr"), lambda: caption(ONE, 0, "fr"), lambda: full_caption(ONE, "fr")):
        with pytest.raises(ValueError, match="language"):
            call()


def test_every_relation_has_wordings_from_both_ends():
    for language, relation in product(LANGUAGES, RELATIONS):
        scene = replace(TWO, relation=relation)
        texts = [" ".join(split_words(full_caption(scene, language, i))) for i in range(60)]
        star = {"en": "star", "zh": "星"}[language]
        ring = {"en": "ring", "zh": "圆环"}[language]
        first = [text.index(star) < text.index(ring) for text in texts]
        assert 10 < sum(first) < 50
