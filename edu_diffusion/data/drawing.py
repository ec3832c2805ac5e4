"""Scenes to pictures: shapes as distance functions, drawn for a whole batch at once.

A shape is given by its signed distance: negative inside, positive outside, in units of the thing's radius. A pixel
is covered by as much as the edge cuts off of it, to good approximation 1/2 - distance in pixels, between 0 and 1.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from edu_diffusion.data.world import COLOURS, GROUNDS, SHAPES, Scene, draws

CANVAS = 64  # scenes are drawn at this size; smaller pictures are its area averages
RADIUS = {"small": 9.5, "large": 13.5}  # in pixels of the canvas
PATCH = 36  # a square of so many pixels has room for any thing
REACH = 1.1  # no shape reaches farther than this many radii from its centre, in x or in y
AWAY = 13  # how far a place is from the centre, in pixels of the canvas
STEP = {"centre": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}

_LEVELS = {
    "red": (215, 15, 30),
    "orange": (255, 125, 0),
    "yellow": (250, 235, 40),
    "green": (0, 150, 45),
    "cyan": (0, 215, 235),
    "blue": (20, 50, 230),
    "purple": (125, 0, 165),
    "pink": (255, 110, 190),
}
PAINT = torch.tensor([_LEVELS[colour] for colour in COLOURS]) / 127.5 - 1  # [8, 3], in [-1, 1]
GROUND = torch.tensor([[-1.0], [0.0], [1.0]]).expand(-1, 3)  # black, grey, white

Plane = Float[Tensor, "..."]  # x and y of many points: those of a row and of a column together span a plane


class Placed(NamedTuple):
    """Where things are: one row for each, of the picture `picture`, in pixels of the canvas."""

    picture: Int64[Tensor, " k"]
    shape: Int64[Tensor, " k"]
    colour: Int64[Tensor, " k"]
    centre: Float[Tensor, "k 2"]
    radius: Float[Tensor, " k"]


def render(
    scenes: Sequence[Scene],
    size: int = CANVAS,
    *,
    index: Sequence[int] | None = None,
    seed: int = 0,
    split: str = "train",
) -> Float[Tensor, "n 3 size size"]:
    """The pictures of some scenes, in [-1, 1].

    Places and radii vary a little, depending on nothing but each scene's `index` (0, 1, 2, ... if not given), the
    seed and the split. Sizes below 64 are averages over squares of pixels, so `size` must divide 64.

    Raises: ValueError for a size that does not divide 64, or as many indices as there are not scenes.
    """
    index = range(len(scenes)) if index is None else index
    if len(index) != len(scenes):
        raise ValueError(f"every scene needs one index, got {len(scenes)} scenes and {len(index)} indices")
    rows = [row for k, scene in enumerate(scenes) for row in _place(scene, k, draws("place", seed, split, index[k]))]
    ground = torch.tensor([GROUNDS.index(scene.ground) for scene in scenes], dtype=torch.int64)
    return paint(placed(rows), ground, size)


def placed(rows: Sequence[tuple]) -> Placed:
    """Rows (picture, shape, colour, x, y, radius) as tensors."""
    picture, shape, colour, x, y, radius = zip(*rows, strict=True) if rows else [()] * 6
    whole = [torch.tensor(column, dtype=torch.int64) for column in (picture, shape, colour)]
    return Placed(*whole, torch.tensor([x, y], dtype=torch.float32).T, torch.tensor(radius, dtype=torch.float32))


def paint(things: Placed, ground: Int64[Tensor, " n"], size: int = CANVAS) -> Float[Tensor, "n 3 size size"]:
    """Things on grounds, as pictures in [-1, 1]: each pixel is ground + coverage * (paint - ground).

    Raises: ValueError for a size that does not divide 64.
    """
    if size < 1 or CANVAS % size:
        raise ValueError(f"the size must divide {CANVAS}, got {size}")
    corner, cover = patches(things)
    factor = min(CANVAS // size, 4)
    cover = averaged(cover, PATCH // factor)
    base = GROUND[ground]
    change = (PAINT[things.colour] - base[things.picture])[:, :, None, None] * cover[:, None]
    x = base[:, :, None, None].repeat(1, 1, CANVAS // factor, CANVAS // factor)
    # Two things of a picture never overlap, so what they change simply adds up.
    for picture, (left, top), patch in zip(things.picture.tolist(), (corner // factor).tolist(), change, strict=True):
        x[picture, :, top : top + patch.shape[-2], left : left + patch.shape[-1]] += patch
    return averaged(x, size).clamp_(-1, 1)


def averaged(x: Float[Tensor, "*rest h w"], size: int) -> Float[Tensor, "*rest size size"]:
    """Pictures made smaller by exact averages over squares of pixels.

    Raises: ValueError if the size does not divide the pictures' size.
    """
    factor = x.shape[-1] // max(size, 1)
    if size < 1 or x.shape[-2:] != (factor * size, factor * size):
        raise ValueError(f"pictures of {tuple(x.shape[-2:])} cannot be averaged to {size} by {size}")
    if factor == 1:
        return x
    return F.avg_pool2d(x.reshape(-1, 1, *x.shape[-2:]), factor).reshape(*x.shape[:-2], size, size)


def patches(things: Placed) -> tuple[Int64[Tensor, "k 2"], Float[Tensor, "k 36 36"]]:
    """The part of the canvas around each thing: its upper left corner, and how much of each pixel is covered, 0 to 1.

    Corners are multiples of 4, so that patches can be averaged to 32 and 16 pixels as the whole canvas would be.
    """
    corner = ((things.centre - 16) / 4).floor().clamp_(0, (CANVAS - PATCH) // 4) * 4
    middle = corner[..., None] + torch.arange(PATCH) + 0.5  # of each column, and of each row
    x, y = (middle - things.centre[..., None]).unbind(1)
    return corner.long(), coverage(things.shape, x, y, things.radius)


def coverage(
    shape: Int64[Tensor, " k"], x: Float[Tensor, "k w"], y: Float[Tensor, "k h"], radius: Float[Tensor, " k"]
) -> Float[Tensor, "k h w"]:
    """How much of each pixel each thing covers, 0 to 1. x and y are the pixels' distances from the thing's centre."""
    cover = torch.empty(len(shape), y.shape[1], x.shape[1])
    for number, name in enumerate(SHAPES):
        rows = (shape == number).nonzero()[:, 0]
        r = radius[rows, None, None]
        right, down = x[rows, None, :] / r, y[rows, :, None] / r
        # Beyond a sharp point the distance to its edges grows slowly: without the box, a faint trace would go on there.
        distance = torch.maximum(DISTANCE[name](right, down), _box(right, down, REACH, REACH))
        cover[rows] = (0.5 - r * distance).clamp_(0, 1)
    return cover


def _place(scene: Scene, picture: int, u: tuple[float, ...]) -> list[tuple]:
    """Rows for `placed`: the middle of a place, or of a half of the picture, moved a little."""
    rows = []
    for k, thing in enumerate(scene.things):
        wiggle = [2 * number - 1 for number in u[3 * k : 3 * k + 3]]
        radius = RADIUS[thing.size] * (1 + 0.03 * wiggle[0])
        if scene.relation is None:
            x, y = (32 + AWAY * step + 1.5 * w for step, w in zip(STEP[scene.place], wiggle[1:], strict=True))
        else:
            # Along the line through both, a thing keeps to its half; across, it is freer.
            along = (16, 48)[k] + min(2, 16 - REACH * radius - 0.6) * wiggle[1]
            across = 32 + 2 * wiggle[2]
            x, y = (along, across) if scene.relation == "left of" else (across, along)
        rows.append((picture, SHAPES.index(thing.shape), COLOURS.index(thing.colour), x, y, radius))
    return rows


# The shapes, of radius 1 around the origin, x to the right and y down. Their areas are alike, from 1.8 to 2.8.


def _circle(x: Plane, y: Plane) -> Plane:
    return torch.hypot(x, y) - 0.93


def _square(x: Plane, y: Plane) -> Plane:
    return _box(x, y, 0.83, 0.83)


def _triangle(x: Plane, y: Plane) -> Plane:
    return torch.maximum(y - 0.95, _line(x.abs(), y, (0.0, -0.95), (1.1, 0.95)))


def _star(x: Plane, y: Plane, outer: float = 1.15, inner: float = 0.54) -> Plane:
    # All five points are folded onto one half of one, whose edge is a single line. The shift centres it in height.
    y = y - 0.0955 * outer
    fifth = math.tau / 5
    angle = torch.remainder(torch.atan2(x, -y) + fifth / 2, fifth) - fifth / 2
    length = torch.hypot(x, y)
    corner = (inner * math.cos(fifth / 2), inner * math.sin(fifth / 2))
    return -_line(length * angle.cos(), length * angle.sin().abs(), corner, (outer, 0.0))


def _heart(x: Plane, y: Plane, q: float = 0.86) -> Plane:
    # A square standing on its corner, and a circle over each of its upper edges. The shift centres it in height.
    x, y = x.abs(), y - 0.1035 * q
    circle = torch.hypot(x - q / 2, y + q / 2) - q / math.sqrt(2)
    return torch.minimum(circle, (x + y.abs() - q) / math.sqrt(2))


def _ring(x: Plane, y: Plane) -> Plane:
    return (torch.hypot(x, y) - 0.76).abs() - 0.26


def _cross(x: Plane, y: Plane) -> Plane:
    return torch.minimum(_box(x, y, 1.0, 0.34), _box(x, y, 0.34, 1.0))


def _diamond(x: Plane, y: Plane) -> Plane:
    return _line(x.abs(), -y.abs(), (0.0, -1.1), (0.86, 0.0))


def _box(x: Plane, y: Plane, width: float, height: float) -> Plane:
    return torch.maximum(x.abs() - width, y.abs() - height)


def _line(x: Plane, y: Plane, start: tuple[float, float], end: tuple[float, float]) -> Plane:
    """The distance to a line, positive on the right of one who goes from `start` to `end` with y pointing up."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return ((x - start[0]) * dy - (y - start[1]) * dx) / math.hypot(dx, dy)


DISTANCE: dict[str, Callable[[Plane, Plane], Plane]] = dict(
    zip(SHAPES, (_circle, _square, _triangle, _star, _heart, _ring, _cross, _diamond), strict=True)
)
