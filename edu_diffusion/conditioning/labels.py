"""Class labels as conditions, and conditions left out on purpose."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.types import Cond, Rng


@dataclass(frozen=True)
class Labels:
    """Turns class numbers into a `Cond`: `vec` is 1 at the class and 0 elsewhere.

    The network's first layer on `vec` is linear, so its columns are the classes' embeddings, and its bias is the
    embedding of `null`, the vector of zeros.
    """

    classes: int = 10

    def __call__(self, y: Int[Tensor, "b"]) -> Cond:
        """The condition of these classes, each in 0..classes - 1.

        Raises: ValueError naming a class that is out of range.
        """
        low, high = (int(value) for value in y.aminmax())
        if low < 0 or high >= self.classes:
            raise ValueError(f"a class must be in 0..{self.classes - 1}, got {low if low < 0 else high}")
        return Cond(vec=F.one_hot(y.long(), self.classes).float())

    @property
    def null(self) -> Cond:
        """The condition that stands for "no class", with batch size 1."""
        return Cond(vec=torch.zeros(1, self.classes))


def drop(cond: Cond, null: Cond, share: float, rng: Rng) -> Cond:
    """Each example's condition, replaced by `null` with probability `share`: example by example, not batch by batch.

    Raises: ValueError if share is not in [0, 1], or if null has other parts than cond.
    Source: Ho and Salimans (arXiv:2207.12598), algorithm 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    gone, parts = rng.uniform(len(cond)) < share, {}
    for field in fields(Cond):
        mine, nothing = getattr(cond, field.name), getattr(null, field.name)
        if (mine is None) != (nothing is None):
            raise ValueError(f"cond and null must have the same parts; only one of them has {field.name!r}")
        if mine is not None:
            chosen = gone.to(mine.device).reshape(-1, *[1] * (mine.ndim - 1))
            parts[field.name] = torch.where(chosen, nothing.to(mine.device), mine)
    return Cond(**parts)
