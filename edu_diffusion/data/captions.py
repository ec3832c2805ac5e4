"""Captions of scenes in English and Chinese: written, cut into words, and understood again.

What a caption leaves out stays open: that is why many pictures fit one text. `wordings` has the sentences.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import torch

from edu_diffusion.data.grammar import Language, is_chinese, say, say_thing, split, understand, vocabulary
from edu_diffusion.data.wordings import LANGUAGES
from edu_diffusion.data.world import Scene, Thing, draws, pick

SAID = {"size": 0.5, "place": 0.6, "ground": 0.5}  # how often a caption says what it could leave out


@dataclass(frozen=True)
class Wanted:
    """What a caption asks for. None means that it does not say, and that anything will do."""

    things: tuple[Thing, ...]
    ground: str | None = None
    place: str | None = None
    relation: str | None = None


def caption(scene: Scene, choice: int | torch.Generator, language: str = "en") -> str:
    """One of many captions of a scene, "en" or "zh". It never says anything wrong, but it may leave things out.

    Shapes, colours and the relation are always said; sizes, the place and the ground only sometimes. The same `choice`
    gives the same caption of the same scene; a generator draws one.

    Raises: ValueError for another language.
    """
    choice = as_number(choice)
    u = draws("said", choice, language)
    sizes = [number < SAID["size"] for number in u[:2]]
    return _sentence(scene, language, choice, sizes, place=u[2] < SAID["place"], ground=u[3] < SAID["ground"])


def full_caption(scene: Scene, language: str = "en", choice: int | torch.Generator = 0) -> str:
    """A caption that says everything there is to say. `choice` is the wording.

    Raises: ValueError for another language.
    """
    return _sentence(scene, language, as_number(choice), [True, True], place=True, ground=True)


@lru_cache(maxsize=4096)
def meaning(text: str) -> Wanted:
    """What a caption asks for, in either language: the inverse of `caption`.

    Raises: ValueError for a text that is not one of the wordings.
    """
    found = understand(LANGUAGES["zh" if is_chinese(text) else "en"], split_words(text))
    if found is None:
        raise ValueError(
            f'cannot make out what {text!r} asks for. Say it like "a small red star above a blue ring on black" or '
            '"一颗红色的小星星在左边"'
        )
    return Wanted(found.things, relation=found.relation, **found.names)


@cache
def words(language: str | None = None) -> tuple[str, ...]:
    """The vocabulary of one language, or of both, English first: each in the order of its letters, always the same.

    Raises: ValueError for another language.
    """
    return words("en") + words("zh") if language is None else vocabulary(told(language))


def split_words(text: str) -> list[str]:
    """The words of a text, without punctuation and capitals. "gray" and "center" count as "grey" and "centre".

    Chinese is cut into the longest known words, from the left; a character that begins none stands alone.
    """
    return split(text, words("zh"))


def told(language: str) -> Language:
    """A language by its name.

    Raises: ValueError for another than "en" and "zh".
    """
    if language not in LANGUAGES:
        raise ValueError(f"the language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    return LANGUAGES[language]


def as_number(choice: int | torch.Generator) -> int:
    """A choice of words as a number; a generator draws one."""
    if isinstance(choice, torch.Generator):
        return int(torch.randint(2**31, (1,), generator=choice))
    return choice


def _sentence(scene: Scene, language: str, choice: int, sizes: list[bool], place: bool, ground: bool) -> str:
    """A wording, filled in with what is to be said."""
    lang, u = told(language), iter(draws("wording", choice, language))
    slots = {
        slot: say_thing(lang, thing, sized, u) for slot, thing, sized in zip("AB", scene.things, sizes, strict=False)
    }
    if scene.relation is None:
        slots["place"] = pick(next(u), lang.names["place"][scene.place])
        core = pick(next(u), tuple(wording for wording in lang.one if ("{place}" in wording) == place))
    else:
        core = pick(next(u), lang.two[scene.relation])
    return say(lang, core, slots, scene.ground if ground else None, u)
