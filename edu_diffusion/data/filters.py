"""Matched filters: which thing, in which colour, explains a region of a picture best.

Take white noise on a picture of one thing: the likeliest thing is the one whose own picture is nearest. So every
shape and size is tried, a little stretched, shifted and blurred, and in every colour, in the whole picture and in its
four halves.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from edu_diffusion.data.drawing import CANVAS, PAINT, RADIUS, coverage
from edu_diffusion.data.world import SHAPES, SIZES

REGIONS = ("whole", "left", "right", "top", "bottom")
_STRETCH = (0.96, 1.0, 1.04)  # of the radius
_WINDOW = {16: 12, 32: 20}  # pixels, for pictures of so many
_SHIFTS = {16: 4, 32: 2}  # steps in a pixel
_FAINT = 0.3  # a change of colour below this counts as noise, where the middle of a thing is sought

Changes = Float[Tensor, "n 3 size size"]


class Found(NamedTuple):
    """The best thing in each region of each picture.

    `score` is the energy that it explains, `fit` that over its own energy, or over that of all in its window if that is
    more: 1 for a thing exactly as it should be, on a clean ground.
    `centre` is in pixels of the canvas.
    """

    score: Float[Tensor, "n regions"]
    fit: Float[Tensor, "n regions"]
    shape: Int64[Tensor, "n regions"]
    size: Int64[Tensor, "n regions"]
    colour: Int64[Tensor, "n regions"]
    centre: Float[Tensor, "n regions 2"]


def best_things(change: Changes, ground: Float[Tensor, "n 3"]) -> Found:
    """The likeliest thing in each region. `change` is a picture of 16 or 32 pixels, less the colour of its ground."""
    bank = _bank(change.shape[-1])
    crops, corner = _crops(change)
    paint = PAINT - ground[:, None]  # [n, 8, 3]
    strength = paint.square().sum(2)
    # How much of each pixel a thing of each colour seems to cover, by least squares.
    cover = torch.einsum("nrcp,nkc->nrkp", crops, paint) / strength[:, None, :, None]
    rough = _gain(cover, bank.filters[bank.plain], bank.power[bank.plain])
    colour = (strength[:, None] * rough.amax(3)).argmax(2)
    own = cover.gather(2, colour[:, :, None, None].expand(-1, -1, 1, cover.shape[-1]))[:, :, 0]
    gain, best = _gain(own, bank.filters, bank.power).max(2)
    strength = strength.gather(1, colour)
    # Of a picture all in one colour, any thing explains its own part: so the rest of the window counts, too.
    energy = torch.maximum(strength * bank.power[best], crops.square().sum(dim=(2, 3)))
    return Found(
        score=strength * gain,
        fit=strength * gain / energy,
        shape=bank.shape[best],
        size=bank.size[best],
        colour=colour,
        centre=(corner + bank.middle[best]) * (CANVAS / change.shape[-1]),
    )


def _gain(cover: Float[Tensor, "*k p"], filters: Float[Tensor, "m p"], power: Float[Tensor, " m"]) -> Tensor:
    """What a thing with coverage t explains: |change|^2 - |change - paint t|^2 = |paint|^2 (2 cover t - t^2)."""
    return torch.addmm(-power, cover.flatten(0, -2), filters.T, alpha=2).view(*cover.shape[:-1], -1)


class _Bank(NamedTuple):
    """The filters for one size of picture: a window's coverage by each shape, size, stretch and shift, twice: sharp
    and blurred.
    """

    filters: Float[Tensor, "m p"]
    power: Float[Tensor, " m"]
    shape: Int64[Tensor, " m"]
    size: Int64[Tensor, " m"]
    middle: Float[Tensor, "m 2"]  # the thing's centre, from the window's corner
    plain: Bool[Tensor, " m"]  # neither stretched nor shifted


@cache
def _bank(picture: int) -> _Bank:
    factor, steps = CANVAS // picture, _SHIFTS[picture]
    shifts = [k / steps for k in range(-steps, steps + 1)]
    kinds = list(product(range(len(SHAPES)), range(len(SIZES)), _STRETCH, shifts, shifts))
    shape = torch.tensor([kind[0] for kind in kinds])
    radius = torch.tensor([RADIUS[SIZES[size]] * stretch for _, size, stretch, _, _ in kinds])
    # Shift 0 puts not the centre of the thing but its centre of mass in the middle, as `_crops` does.
    mass = torch.stack([_centre_of_mass(number) for number in range(len(SHAPES))])
    shift = torch.tensor([kind[3:] for kind in kinds])
    middle = (_WINDOW[picture] / 2 + shift) * factor - mass[shape] * radius[:, None]
    grid = torch.arange(_WINDOW[picture] * factor) + 0.5
    fine = coverage(shape, grid - middle[:, :1], grid - middle[:, 1:], radius)
    sharp = F.avg_pool2d(fine[:, None], factor)
    filters = torch.cat([sharp, _blurred(sharp)]).flatten(1)
    return _Bank(
        filters,
        filters.square().sum(1),
        shape.repeat(2),
        size=torch.tensor([kind[1] for kind in kinds] * 2),
        middle=(middle / factor).repeat(2, 1),
        plain=torch.tensor([kind[2:] == (1.0, 0.0, 0.0) for kind in kinds] * 2),
    )


def _blurred(x: Float[Tensor, "m 1 h w"]) -> Float[Tensor, "m 1 h w"]:
    """Each pixel mixed with its eight neighbours, by the weights 1, 2, 1 along both axes."""
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    return F.conv2d(x, torch.outer(line, line)[None, None], padding=1)


def _centre_of_mass(shape: int) -> Float[Tensor, "2"]:
    """x and y of a shape's centre of mass, in radii from its centre."""
    grid = torch.linspace(-1.5, 1.5, 61)
    cover = coverage(torch.tensor([shape]), 20 * grid[None], 20 * grid[None], torch.tensor([20.0]))[0]
    return torch.stack([(cover * grid).sum(), (cover * grid[:, None]).sum()]) / cover.sum()


def _crops(change: Changes) -> tuple[Float[Tensor, "n regions 3 p"], Float[Tensor, "n regions 2"]]:
    """A window around what is in each region, blank outside of the region; and the windows' corners, x before y."""
    n, _, size, _ = change.shape
    window, half = _WINDOW[size], _WINDOW[size] // 2
    middle = _middles(change)
    corner = (middle - half).round().long()
    steps = torch.arange(window) + half + 1
    rows, columns = corner[..., 1, None] + steps, corner[..., 0, None] + steps
    rows, columns = rows[..., :, None], columns[..., None, :]
    picture, region = torch.arange(n)[:, None, None, None], torch.arange(len(REGIONS))[:, None, None]
    crops = F.pad(change, (half + 1,) * 4).movedim(1, -1)[picture, rows, columns]  # [n, regions, window, window, 3]
    inside = F.pad(_regions(size), (half + 1,) * 4)[region, rows, columns]
    return (crops * inside[..., None]).flatten(2, 3).transpose(2, 3), corner.float()


def _middles(change: Changes) -> Float[Tensor, "n regions 2"]:
    """The centre of mass of what differs from the ground in each region; its own middle, where nothing does."""
    size = change.shape[-1]
    weight = (F.avg_pool2d(change, 3, 1, padding=1).square().sum(1).sqrt() - _FAINT).clamp_(min=0)
    weight = (weight[:, None] + 1e-6) * _regions(size)
    grid = torch.arange(size) + 0.5
    x, y = weight.sum(2) @ grid, weight.sum(3) @ grid
    return torch.stack([x, y], dim=2) / weight.sum(dim=(2, 3))[..., None]


@cache
def _regions(size: int) -> Float[Tensor, "regions size size"]:
    """1 inside of each region, 0 outside."""
    first = (torch.arange(size) < size // 2).float()
    across, down = first.expand(size, size), first[:, None].expand(size, size)
    return torch.stack([torch.ones(size, size), across, 1 - across, down, 1 - down])
