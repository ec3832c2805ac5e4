"""The nearest training example of each sample: was it made, or only remembered?"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Nearest(NamedTuple):
    """For each query, the number of the nearest reference and the distance to it."""

    index: Int64[Tensor, " n"]
    distance: Float[Tensor, " n"]


def nearest(queries: Float[Tensor, "n ..."], references: Float[Tensor, "m ..."], *, chunk: int = 4096) -> Nearest:
    """The nearest reference of each query, for pictures (n, c, h, w) or features (n, f) alike.

    Distances are root mean squares over the pixels or features: L2 divided by the square root of their number.
    Between pictures in [-1, 1] a distance is thus in 0..2, whatever their size. Every reference is looked at.

    Raises: ValueError for shapes that disagree, no references, or values that are not finite.
    """
    if queries.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(
            f"queries {tuple(queries.shape)} and references {tuple(references.shape)} must hold examples of one "
            "shape, and at least one reference"
        )
    if not queries.isfinite().all() or not references.isfinite().all():
        raise ValueError("queries and references must be finite, but some values are nan or infinite")
    queries = queries.flatten(1)
    best = Nearest(torch.zeros(len(queries), dtype=torch.int64), torch.full((len(queries),), torch.inf))
    for start in range(0, len(references), chunk):
        best = _nearer(best, queries, references[start : start + chunk].flatten(1), start)
    # The search ranks by a fast formula; the distance itself is computed from the difference, so a copy is at 0.
    difference = queries - references.flatten(1)[best.index]
    return Nearest(best.index, difference.square().mean(dim=1).sqrt())


def _nearer(best: Nearest, queries: Float[Tensor, "n d"], part: Float[Tensor, "m d"], start: int) -> Nearest:
    """`best` improved by the references of one chunk. Scores are ||r||^2 - 2 q . r, the square less ||q||^2."""
    score, index = torch.addmm(part.square().sum(dim=1), queries, part.T, alpha=-2).min(dim=1)
    closer = score < best.distance
    return Nearest(torch.where(closer, index + start, best.index), torch.where(closer, score, best.distance))
