"""Sentences from wordings, and back: what both languages, and still and moving scenes, have in common.

A wording is a text with slots in braces: "{A} left of {B}". Filled in, it makes a sentence; taken as a pattern, it
finds in a sentence what stands in its slots. So whatever can be written can be understood, and little else.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from edu_diffusion.data.world import Thing, pick

_CHINESE = re.compile("[\u4e00-\u9fff]+")
_SPELLINGS = {"gray": "grey", "center": "centre"}
_COMMAS = re.compile("[,，]")


# Without eq, a language is hashed by its identity, so that what is made of it can be kept.
@dataclass(frozen=True, eq=False)
class Language:
    """How one language says it. Words are set apart by spaces, in Chinese too; `join` says whether they stay."""

    shape: dict[str, tuple[str, ...]]  # with a slot for how it is
    how: tuple[str, ...]  # a colour, with a size or without
    names: dict[str, dict[str, tuple[str, ...]]]  # slot: name of the world: words for it
    one: tuple[str, ...]  # about one thing, {A}
    two: dict[str, tuple[str, ...]]  # about {A} and {B}, for each relation
    ground: tuple[str, ...]  # what the ground adds to a sentence, {core}
    whole: str  # a sentence that begins like this has no ground before it
    join: str


class Understood(NamedTuple):
    """What a sentence says: its things, their relation, and the name in each other slot that it has."""

    things: tuple[Thing, ...]
    relation: str | None
    names: dict[str, str]


def say_thing(told: Language, thing: Thing, sized: bool, u: Iterator[float]) -> str:
    """A thing in words, with its size or without. u are numbers in [0, 1) that choose the wording."""
    form = pick(next(u) ** 2, told.shape[thing.shape])  # the square makes the first form the most frequent
    how = pick(next(u), tuple(each for each in _hows(told, form) if _sized(each) == sized))
    slots = {slot: pick(next(u), told.names[slot][name]) for slot, name in _names_of(how, thing)}
    how = how.format(**slots)
    return form.format(how=how, short=how)


def say(told: Language, core: str, slots: dict[str, str], ground: str | None, u: Iterator[float]) -> str:
    """A sentence: the wording `core` with its slots filled, and the ground, unless it is None."""
    text = core.format(**slots)
    if ground is not None:
        fits = tuple(each for each in told.ground if each.startswith("{core}") or not core.startswith(told.whole))
        text = pick(next(u), fits).format(core=text, ground=pick(next(u), told.names["ground"][ground]))
    return re.sub(r"\ba (?=orange)", "an ", told.join.join(text.split()))


def understand(told: Language, found: Iterable[str]) -> Understood | None:
    """What the words of a sentence say; None if it is not one of the language's wordings."""
    text = _normal(found)
    for names, core in _grounds(told, text):
        for relation, wording in _wordings(told):
            match = _pattern(told, wording).fullmatch(core)
            slots = match.groupdict() if match else {}
            things = tuple(_things(told).get(slots.pop(slot)) for slot in "AB" if slot in slots)
            if match and all(things):
                return Understood(things, relation, names | {slot: _name(told, slot, slots[slot]) for slot in slots})
    return None


@cache
def vocabulary(told: Language) -> tuple[str, ...]:
    """All words that a language's sentences are made of, in the order of their letters."""
    texts = [*told.how, *told.ground, *(wording for _, wording in _wordings(told))]
    for forms in (told.shape, *told.names.values()):
        texts += [text for each in forms.values() for text in each]
    found = {word for text in texts for word in _COMMAS.sub("", re.sub(r"{\w+}", " ", text)).split()}
    return tuple(sorted(found | ({"an"} if "a" in found else set())))


def split(text: str, known: Iterable[str]) -> list[str]:
    """The words of a text, without punctuation and capitals, in British spelling.

    Chinese is cut into the longest known words, from the left; a character that begins none stands alone.
    """
    found, known = [], frozenset(known)
    for part in re.findall(r"\w+", _CHINESE.sub(r" \g<0> ", text.casefold())):
        found += _cut(part, known) if is_chinese(part) else [_SPELLINGS.get(part, part)]
    return found


def is_chinese(text: str) -> bool:
    """Whether there are Chinese characters in a text."""
    return _CHINESE.search(text) is not None


def _hows(told: Language, form: str) -> tuple[str, ...]:
    return tuple(how for how in told.how if "{how}" in form or not how.endswith("{colour}"))


def _sized(how: str) -> bool:
    return "{size}" in how or "{very}" in how


def _names_of(how: str, thing: Thing) -> list[tuple[str, str]]:
    """The slots of a wording, and the names that belong there."""
    return [(slot, thing.colour if slot == "colour" else thing.size) for slot in re.findall(r"{(\w+)}", how)]


def _wordings(told: Language) -> list[tuple[str | None, str]]:
    """All sentences but for the ground, each with its relation."""
    pairs = [(relation, wording) for relation, both in told.two.items() for wording in both]
    return [(None, wording) for wording in told.one] + pairs


def _grounds(told: Language, text: str) -> Iterator[tuple[dict[str, str], str]]:
    """Each way to see a ground and a core in a text; first that there is no ground."""
    yield {}, text
    for wording in told.ground:
        if match := _pattern(told, wording).fullmatch(text):
            yield {"ground": _name(told, "ground", match["ground"])}, match["core"]


@cache
def _pattern(told: Language, wording: str) -> re.Pattern:
    """A wording as an expression that finds what stands in its slots."""
    slots = {slot: f"(?P<{slot}>.+)" for slot in ("A", "B", "core")}
    for slot, names in told.names.items():
        slots[slot] = f"(?P<{slot}>{'|'.join(form for forms in names.values() for form in forms)})"
    return re.compile(_normal(_COMMAS.sub("", wording).split()).format(**slots))


@cache
def _things(told: Language) -> dict[str, Thing]:
    """Every way to say a thing, and the thing."""
    found = {}
    for shape, colour, size in product(told.shape, told.names["colour"], told.names["size"]):
        kinds = [(form, how) for form in told.shape[shape] for how in _hows(told, form)]
        for form, how in kinds:
            slots, names = zip(*_names_of(how, Thing(shape, colour, size)), strict=True)
            for words in product(*(told.names[slot][name] for slot, name in zip(slots, names, strict=True))):
                text = how.format(**dict(zip(slots, words, strict=True)))
                text = _normal(form.format(how=text, short=text).split())
                found[text] = Thing(shape, colour, size if _sized(how) else None)
    return found


def _name(told: Language, slot: str, words: str) -> str:
    return next(name for name, forms in told.names[slot].items() if words in forms)


def _normal(words: Iterable[str]) -> str:
    """Words as the patterns see them: one space between, and "a" for "an"."""
    return " ".join("a" if word == "an" else word for word in words)


def _cut(text: str, known: frozenset[str]) -> list[str]:
    """A run of Chinese characters as words."""
    found, longest = [], max(map(len, known))
    while text:
        size = next((size for size in range(longest, 1, -1) if text[:size] in known), 1)
        found.append(text[:size])
        text = text[size:]
    return found
