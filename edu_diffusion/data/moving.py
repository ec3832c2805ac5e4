"""Scenes that move: a few frames of one thing on its way, with captions, and a reader of the motion.

The same world, the same drawing and the same held-out combinations as `scenes`; new are a direction and a speed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data.captions import as_number
from edu_diffusion.data.drawing import RADIUS, REACH, paint, placed
from edu_diffusion.data.grammar import is_chinese, say, say_thing, split, understand, vocabulary
from edu_diffusion.data.reader import Reading, read_scenes
from edu_diffusion.data.wordings import MOVING
from edu_diffusion.data.world import COLOURS, GROUNDS, HELD_OUT, SHAPES, SIZES, SPLITS, Thing, draws, one_of, pick

DIRECTIONS = ("left", "right", "up", "down", "up left", "up right", "down left", "down right")
SPEEDS = ("slow", "fast")
PACE = {"slow": 1.6, "fast": 4.0}  # pixels of 64 from frame to frame
FRAMES = 8
SAID = {"size": 0.5, "speed": 0.6, "ground": 0.5}  # how often a caption says what it could leave out
_STILL = 0.5  # what goes less than this from frame to frame does not move

Film = Float[Tensor, "frames 3 size size"]


@dataclass(frozen=True)
class Motion:
    """One thing that moves. In what a caption asks for, None means that it does not say; in a reading, none was found.

    Raises: ValueError for a ground, direction or speed that the world does not have.
    """

    thing: Thing | None
    ground: str | None
    direction: str | None
    speed: str | None

    def __post_init__(self):
        for what, known in (("ground", GROUNDS), ("direction", DIRECTIONS), ("speed", SPEEDS)):
            if getattr(self, what) is not None:
                one_of(what, getattr(self, what), known)


def motion_of(index: int, seed: int = 0, split: str = "train") -> Motion:
    """The motion with a number: always the same for the same index, seed and split.

    The things of "train" and "test" are none of those that `HELD_OUT` names, those of "held-out" no others.

    Raises: ValueError for another split.
    """
    one_of("split", split, SPLITS)
    for attempt in count():
        u = draws("motion", seed, split, index, attempt)
        thing = Thing(pick(u[0], SHAPES), pick(u[1], COLOURS), pick(u[2], SIZES))
        if ((thing.shape, thing.colour) in HELD_OUT.things) == (split == "held-out"):
            return Motion(thing, pick(u[3], GROUNDS), pick(u[4], DIRECTIONS), pick(u[5], SPEEDS))


def render_films(
    motions: Sequence[Motion],
    size: int = 32,
    *,
    frames: int = FRAMES,
    index: Sequence[int] | None = None,
    seed: int = 0,
    split: str = "train",
) -> Float[Tensor, "n frames 3 size size"]:
    """The frames of some motions, in [-1, 1]; radii, places and paces vary a little by index, seed and split.

    Raises: ValueError for fewer than 2 or more than 8 frames (a fast thing would leave the picture), another number of
    indices than of motions, or a size that does not divide 64.
    """
    index = range(len(motions)) if index is None else index
    if not 2 <= frames <= FRAMES or len(index) != len(motions):
        raise ValueError(
            f"films have 2 to {FRAMES} frames and an index for each motion, got {frames} frames, {len(motions)} "
            f"motions and {len(index)} indices"
        )
    rows = []
    for n, motion in enumerate(motions):
        rows += _path(motion, n * frames, frames, draws("path", seed, split, index[n]))
    ground = torch.tensor([GROUNDS.index(motion.ground) for motion in motions for _ in range(frames)])
    return paint(placed(rows), ground.long(), size).unflatten(0, (len(motions), frames))


def motion_caption(motion: Motion, choice: int | torch.Generator, language: str = "en", *, full: bool = False) -> str:
    """One of many captions of a motion. Thing and direction are always said; size, speed and ground if `full`.

    Raises: ValueError for another language than "en" and "zh".
    """
    one_of("language", language, tuple(MOVING))
    choice, told = as_number(choice), MOVING[language]
    u, v = iter(draws("motion wording", choice, language)), draws("motion said", choice, language)
    size, speed, ground = (full or number < SAID[what] for what, number in zip(SAID, v, strict=False))
    slots = {"A": say_thing(told, motion.thing, size, u)}
    for slot in ("direction", "speed"):
        slots[slot] = pick(next(u), told.names[slot][getattr(motion, slot)])
    core = pick(next(u), tuple(wording for wording in told.one if ("{speed}" in wording) == speed))
    return say(told, core, slots, motion.ground if ground else None, u)


def motion_meaning(text: str) -> Motion:
    """What a caption of a motion asks for: the inverse of `motion_caption`.

    Raises: ValueError for a text that is not one of the wordings.
    """
    found = understand(MOVING["zh" if is_chinese(text) else "en"], split_motion_words(text))
    if found is None:
        raise ValueError(
            f'cannot make out what {text!r} asks for. Say it like "a red star moves to the left slowly" or '
            '"一颗红色的星星慢慢地向左移动"'
        )
    return Motion(found.things[0], *(found.names.get(slot) for slot in ("ground", "direction", "speed")))


@cache
def motion_words() -> tuple[str, ...]:
    """The vocabulary of the motions' captions, both languages, English first."""
    return vocabulary(MOVING["en"]) + vocabulary(MOVING["zh"])


def split_motion_words(text: str) -> list[str]:
    """The words of a caption of a motion. See `captions.split_words`."""
    return split(text, vocabulary(MOVING["zh"]))


def read_motion(film: Film) -> Motion:
    """What moves in a film, where to, and how fast. See `read_motions`."""
    return read_motions(film[None])[0]


def read_motions(films: Float[Tensor, "n frames 3 size size"]) -> list[Motion]:
    """What moves in each film, where to, and how fast: from the things that the reader finds in its frames.

    The pace is the slope of the straight line that fits the thing's places best, in least squares. Frames in which not
    exactly one thing is found are left out. What cannot be told (no thing, nothing moves) is None.

    Raises: ValueError for pictures that `read_scenes` does not read.
    """
    readings = read_scenes(films.flatten(0, 1))
    frames = films.shape[1]
    return [_motion(readings[k : k + frames]) for k in range(0, len(readings), frames)]


def _path(motion: Motion, picture: int, frames: int, u: tuple[float, ...]) -> list[tuple]:
    """Rows for `placed`: a straight way, its middle near to that of the picture."""
    radius = RADIUS[motion.thing.size] * (1 + 0.03 * (2 * u[0] - 1))
    pace = PACE[motion.speed] * (1 + 0.05 * (2 * u[1] - 1))
    start, step = [], [pace * part for part in _unit(motion.direction)]
    for each, number in zip(step, u[2:4], strict=True):
        half = abs(each) * (frames - 1) / 2
        room = min(4, 32 - REACH * radius - half - 0.6)
        start.append(32 - each * (frames - 1) / 2 + room * (2 * number - 1))
    kind = (SHAPES.index(motion.thing.shape), COLOURS.index(motion.thing.colour))
    return [(picture + k, *kind, start[0] + k * step[0], start[1] + k * step[1], radius) for k in range(frames)]


def _unit(direction: str) -> tuple[float, float]:
    """A direction as a vector of length 1, x to the right and y down."""
    x = ("right" in direction) - ("left" in direction)
    y = ("down" in direction) - ("up" in direction)
    return x / math.hypot(x, y), y / math.hypot(x, y)


def _motion(readings: Sequence[Reading]) -> Motion:
    ground = Counter(reading.ground for reading in readings).most_common(1)[0][0]
    seen = [(k, reading) for k, reading in enumerate(readings) if len(reading.things) == 1]
    if not seen:
        return Motion(None, ground, None, None)
    thing = Counter(reading.things[0] for _, reading in seen).most_common(1)[0][0]
    x, y = _slope([k for k, _ in seen], [reading.centres[0] for _, reading in seen])
    pace = math.hypot(x, y)
    if pace < _STILL:
        return Motion(thing, ground, None, None)
    direction = max(DIRECTIONS, key=lambda name: x * _unit(name)[0] + y * _unit(name)[1])
    speed = min(SPEEDS, key=lambda name: abs(math.log(pace / PACE[name])))
    return Motion(thing, ground, direction, speed)


def _slope(times: Sequence[int], places: Sequence[tuple[float, ...]]) -> list[float]:
    """How far x and y go from frame to frame, by least squares; 0 if there is only one frame."""
    t, place = torch.tensor(times, dtype=torch.float64), torch.tensor(places, dtype=torch.float64)
    t = t - t.mean()
    return (t @ place / t.square().sum().clamp(min=1e-9)).tolist()
