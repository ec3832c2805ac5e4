"""The world of the captioned scenes: what there is in it, which scene has which number, and what is held out.

A scene is one or two coloured shapes on a plain ground. It is words, not pixels: `drawing` makes the picture,
`captions` the sentence, `reader` finds the scene in a picture again. All of it is the course's own drawing.
"""

import struct
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
PLACES = ("centre", "left", "right", "top", "bottom")
GROUNDS = ("black", "grey", "white")
RELATIONS = ("left of", "above")
SPLITS = ("train", "test", "held-out")


class HeldOut(NamedTuple):
    """What training never sees: `things` are (shape, colour), `pairs` are two shapes in one scene, in either order."""

    things: frozenset[tuple[str, str]]
    pairs: frozenset[frozenset[str]]


# Every shape and every colour is held out once, so that each is still seen often: only the combination is new.
HELD_OUT = HeldOut(
    things=frozenset(
        {
            ("circle", "purple"),
            ("square", "cyan"),
            ("triangle", "pink"),
            ("star", "blue"),
            ("heart", "yellow"),
            ("ring", "orange"),
            ("cross", "red"),
            ("diamond", "green"),
        }
    ),
    pairs=frozenset(
        {
            frozenset({"circle", "cross"}),
            frozenset({"square", "heart"}),
            frozenset({"triangle", "ring"}),
            frozenset({"star", "diamond"}),
        }
    ),
)


@dataclass(frozen=True)
class Thing:
    """One coloured shape. In what a caption asks for, a size of None means that it does not say.

    Raises: ValueError for a shape, colour or size that the world does not have.
    """

    shape: str
    colour: str
    size: str | None = None

    def __post_init__(self):
        one_of("shape", self.shape, SHAPES)
        one_of("colour", self.colour, COLOURS)
        if self.size is not None:
            one_of("size", self.size, SIZES)


@dataclass(frozen=True)
class Scene:
    """One thing at a `place`, or two in a `relation`: `things[0]` is left of, or above, `things[1]`.

    "Right of" and "below" are no scenes of their own but other wordings of these.

    Raises: ValueError for no thing or more than two, names that the world does not have, a place beside two
    things or a relation beside one.
    """

    things: tuple[Thing, ...]
    ground: str
    place: str | None = None
    relation: str | None = None

    def __post_init__(self):
        one_of("ground", self.ground, GROUNDS)
        if len(self.things) == 1 and self.relation is None:
            one_of("place", self.place, PLACES)
        elif len(self.things) == 2 and self.place is None:
            one_of("relation", self.relation, RELATIONS)
        else:
            raise ValueError(f"a scene is one thing with a place, or two with a relation, got {self}")


def scene_of(index: int, seed: int = 0, split: str = "train", *, things: int | None = None) -> Scene:
    """The scene with a number: always the same for the same index, seed and split, on every machine.

    Half the scenes have one thing and half two, unless `things` says 1 or 2; all else is drawn evenly. "train" and
    "test" are two streams of the same distribution, with nothing in them that `HELD_OUT` names; every scene of
    "held-out" has something of it.

    Raises: ValueError for another split, a negative index, or another number of things.
    """
    one_of("split", split, SPLITS)
    if index < 0 or things not in (None, 1, 2):
        raise ValueError(f"a scene needs an index of at least 0 and 1 or 2 things (or None), got {index}, {things}")
    number = things or (1 if draws("count", seed, split, index)[0] < 0.5 else 2)
    for attempt in count():
        scene = _drawn(number, draws("scene", seed, split, index, attempt))
        if scene is not None and is_held_out(scene) == (split == "held-out"):
            return scene


def is_held_out(scene: Scene) -> bool:
    """Whether a scene has a combination in it that training never sees."""
    shapes = frozenset(thing.shape for thing in scene.things)
    return shapes in HELD_OUT.pairs or any((thing.shape, thing.colour) in HELD_OUT.things for thing in scene.things)


def swapped(scene: Scene) -> Scene:
    """A scene of two things with the things exchanged: the same words, the other meaning.

    Raises: ValueError for a scene of one thing.
    """
    if len(scene.things) != 2:
        raise ValueError(f"only a scene of two things can be swapped, got {scene}")
    return replace(scene, things=scene.things[::-1])


def draws(*key: str | int) -> tuple[float, ...]:
    """Sixteen numbers in [0, 1) that depend on nothing but the key.

    They are the digits of a hash, so that any example can be had on its own, in any order, with no generator to
    carry along.
    """
    text = "/".join(part if isinstance(part, str) else str(int(part)) for part in key)
    digest = blake2b(text.encode()).digest()
    return tuple(word / 2**32 for word in struct.unpack("<16I", digest))


def pick(number: float, options: tuple) -> str:
    """The option that a number in [0, 1) points at."""
    return options[int(number * len(options))]


def one_of(what: str, given: str | None, known: tuple[str, ...]) -> None:
    """Refuse a name that is not known.

    Raises: ValueError that lists the known ones.
    """
    if given not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {given!r}")


def _drawn(number: int, u: tuple[float, ...]) -> Scene | None:
    """A scene made of random numbers; None for two things that only size would tell apart."""
    kinds = [(pick(a, SHAPES), pick(b, COLOURS), pick(c, SIZES)) for a, b, c in (u[0:3], u[3:6])]
    things, ground = tuple(Thing(*kind) for kind in kinds), pick(u[6], GROUNDS)
    if number == 1:
        return Scene(things[:1], ground, place=pick(u[7], PLACES))
    if kinds[0][:2] == kinds[1][:2]:
        return None
    return Scene(things, ground, relation=pick(u[7], RELATIONS))
