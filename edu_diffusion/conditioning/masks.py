"""A picture with a hole as a condition, and the holes to train with."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from edu_diffusion.types import Cond, Rng

HOLE_CHANNELS = 4  # the picture's three with the hole cut out, and the mask


def with_hole(x0: Float[Tensor, "b 3 h w"], mask: Bool[Tensor, "n 1 h w"]) -> Float[Tensor, "b 4 h w"]:
    """The picture with 0, a mid grey, where the mask is True, and the mask itself as a fourth channel, 1 there.

    Without the fourth channel a hole could not be told from something grey. `mask` is one for all, or one for each.

    Source: GLIDE (arXiv:2112.10741), section 4.3: a masked picture and a mask as extra channels.
    """
    hole = mask.to(x0.device).expand(len(x0), -1, -1, -1)
    return torch.cat([x0.masked_fill(hole, 0.0), hole.to(x0)], dim=1)


def random_boxes(
    n: int, size: tuple[int, int], rng: Rng, least: float = 0.25, most: float = 1.0
) -> Bool[Tensor, "n 1 h w"]:
    """n masks of height and width `size`, each True in one box, whose sides are `least` to `most` of the picture's.

    All numbers are drawn uniformly; the box always lies inside. It may cover the whole picture: then there is nothing
    to go by, as for a model that is not tuned.

    Raises: ValueError unless 0 < least <= most <= 1.
    """
    if not 0 < least <= most <= 1:
        raise ValueError(f"least and most must be shares with 0 < least <= most <= 1, got {least} and {most}")
    inside = [_interval(n, edge, rng, least, most) for edge in size]
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def box(size: tuple[int, int], top: int, left: int, height: int, width: int) -> Bool[Tensor, "1 1 h w"]:
    """A mask of one box, whose upper left pixel is (top, left).

    Raises: ValueError if the box is empty or does not lie inside.
    """
    if height < 1 or width < 1 or top < 0 or left < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError(
            f"a box of {height}x{width} pixels at row {top}, column {left} does not lie inside {size[0]}x{size[1]}"
        )
    mask = torch.zeros(1, 1, *size, dtype=torch.bool)
    mask[..., top : top + height, left : left + width] = True
    return mask


def hole_cond(cond: Cond, x0: Float[Tensor, "b 3 h w"], mask: Bool[Tensor, "n 1 h w"]) -> Cond:
    """A condition, and with it the picture with a hole."""
    return Cond(cond.vec, cond.tokens, cond.mask, with_hole(x0, mask))


def _interval(n: int, edge: int, rng: Rng, least: float, most: float) -> Bool[Tensor, "n edge"]:
    """True in an interval of pixels, for each of n."""
    length = ((least + (most - least) * rng.uniform(n)) * edge).round().clamp(1, edge)
    start = (rng.uniform(n) * (edge - length + 1)).floor()
    at = torch.arange(edge)
    return (at >= start[:, None]) & (at < (start + length)[:, None])
