"""Pictures to scenes: what is in a picture, and how much of a caption is met by it.

`filters` finds the likeliest thing in the whole picture, in its left and right halves, and in its upper and lower ones;
the reader believes the layout that explains most: one thing, two side by side, or two above each other.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from edu_diffusion.data.captions import Wanted, meaning
from edu_diffusion.data.drawing import AWAY, GROUND, STEP, averaged
from edu_diffusion.data.filters import Found, best_things
from edu_diffusion.data.world import COLOURS, GROUNDS, PLACES, RELATIONS, SHAPES, SIZES, Scene, Thing

FOUND = 0.3  # what fits worse than this is no thing
PART = 64  # pictures read at a time
_OFF = 0.2  # so far a ground may be off, and still no thing's colour is near it
_LAYOUTS = ((0,), (1, 2), (3, 4))  # regions

Pictures = Float[Tensor, "n 3 size size"]


@dataclass(frozen=True)
class Reading:
    """What was found in a picture: no thing, one with its place, or two with their relation.

    `centres` are in pixels of a picture of 64 by 64, x before y. `fit` says how well each thing is met: 1 is exactly.
    """

    things: tuple[Thing, ...]
    ground: str
    place: str | None
    relation: str | None
    centres: tuple[tuple[float, ...], ...]
    fit: tuple[float, ...]


@dataclass(frozen=True)
class Accuracy:
    """How much of what captions say is true of pictures; only what a caption says counts.

    `attributes` is the share of all attributes that are right, `whole` that of the captions with all of them right,
    `one` and `two` the latter among captions of one thing and of two (nan if there are none). `kinds` is the share for
    each kind of attribute, `right` says which captions are right as a whole.
    """

    attributes: float
    whole: float
    one: float
    two: float
    kinds: dict[str, float]
    right: Bool[Tensor, " n"]


def read_scene(picture: Float[Tensor, "3 size size"]) -> Reading:
    """What is in one picture. See `read_scenes`."""
    return read_scenes(picture[None])[0]


@torch.no_grad()
def read_scenes(pictures: Pictures) -> list[Reading]:
    """What is in each of some pictures in [-1, 1], of 64, 32 or 16 pixels; those of 64 are read at 32.

    Raises: ValueError for another size, or numbers that are not finite.
    """
    size = pictures.shape[-1]
    if size not in (16, 32, 64) or not pictures.isfinite().all():
        raise ValueError(f"the reader reads finite pictures of 16, 32 or 64 pixels, got {tuple(pictures.shape)}")
    small = averaged(pictures.cpu().float(), min(size, 32)).contiguous()
    return [reading for part in small.split(PART) for reading in _read(part)]


def caption_accuracy(wanted: Sequence[str | Scene | Wanted], pictures: Pictures) -> Accuracy:
    """How much of each caption, or of each whole scene, is true of its picture, by the reader.

    The number of things counts as an attribute. Two things are compared in the order in which the picture has them, or
    in the other if that is nearer to the caption, but then the relation is wrong.

    Raises: ValueError for no pictures, another number of captions, or a caption that `meaning` does not understand.
    """
    if len(wanted) != len(pictures) or not len(pictures):
        raise ValueError(f"every picture needs one caption, got {len(wanted)} captions and {len(pictures)} pictures")
    asked = [meaning(each) if isinstance(each, str) else each for each in wanted]
    checks = [agreement(each, reading) for each, reading in zip(asked, read_scenes(pictures), strict=True)]
    right = torch.tensor([all(ok for _, ok in found) for found in checks])
    two = torch.tensor([len(each.things) == 2 for each in asked])
    kinds = defaultdict(list)
    for kind, ok in (check for found in checks for check in found):
        kinds[kind].append(ok)
    shares = {kind: sum(oks) / len(oks) for kind, oks in kinds.items()}
    every = [ok for oks in kinds.values() for ok in oks]
    return Accuracy(sum(every) / len(every), _share(right), _share(right[~two]), _share(right[two]), shares, right)


def agreement(wanted: Wanted | Scene, reading: Reading) -> list[tuple[str, bool]]:
    """Each attribute that is asked for, and whether the reading has it."""
    found = reading.things + (None,) * (2 - len(reading.things))
    checks = [("number", len(wanted.things) == len(reading.things))]
    for kind in ("ground", "place"):
        if getattr(wanted, kind) is not None:
            checks.append((kind, getattr(wanted, kind) == getattr(reading, kind)))
    options = []
    for order in (found, found[::-1]):
        same = order is found and wanted.relation == reading.relation
        relation = [("relation", same)] if wanted.relation is not None else []
        options.append([*relation, *_compared(wanted.things, order)])
    return checks + max(options, key=lambda option: sum(ok for _, ok in option))


def _compared(wanted: Sequence[Thing], found: Sequence[Thing | None]) -> Iterator[tuple[str, bool]]:
    for asked, thing in zip(wanted, found, strict=False):
        for kind in ("shape", "colour", "size"):
            if getattr(asked, kind) is not None:
                yield kind, thing is not None and getattr(asked, kind) == getattr(thing, kind)


def _share(right: Bool[Tensor, " k"]) -> float:
    return right.float().mean().item()


def _read(x: Pictures) -> list[Reading]:
    # Things never cover half of a picture, so the median is the ground; it may be a little off the world's three.
    base = x.flatten(2).median(dim=2).values
    ground = torch.cdist(base, GROUND).argmin(1)
    base = GROUND[ground] + (base - GROUND[ground]).clamp(-_OFF, _OFF)
    found = best_things(x - base[:, :, None, None], base)
    explained = found.score * (found.fit > FOUND)
    layout = torch.stack([explained[:, list(regions)].sum(1) for regions in _LAYOUTS], dim=1).argmax(1)
    columns = [part.tolist() for part in (*found, layout, ground)]
    return [_reading(Found(*row[:-2]), *row[-2:]) for row in zip(*columns, strict=True)]


def _reading(found: Found, layout: int, ground: int) -> Reading:
    """The reading of one picture; `found` has plain lists, with a number for each region."""
    regions = [r for r in _LAYOUTS[layout] if found.fit[r] > FOUND]
    things = tuple(Thing(SHAPES[found.shape[r]], COLOURS[found.colour[r]], SIZES[found.size[r]]) for r in regions)
    centres = tuple(tuple(found.centre[r]) for r in regions)
    return Reading(
        things,
        GROUNDS[ground],
        place=_place(*centres[0]) if len(things) == 1 else None,
        relation=RELATIONS[layout - 1] if len(things) == 2 else None,
        centres=centres,
        fit=tuple(found.fit[r] for r in regions),
    )


def _place(x: float, y: float) -> str:
    """The place whose middle is nearest."""
    return min(PLACES, key=lambda place: math.dist((x, y), [32 + AWAY * step for step in STEP[place]]))
