"""What an entry of the zoo is: how to build it, how it is trained, on what, and how it is measured."""

from collections.abc import Callable
from dataclasses import dataclass

from edu_diffusion.data import Dataset, checksum, fashion
from edu_diffusion.metrics import Measured
from edu_diffusion.training import Recipe
from edu_diffusion.types import Batch


@dataclass(frozen=True)
class Plan:
    """The numbers of a training: AdamW at `rate`, warmed up, then falling to 0; weights averaged with decay `ema`."""

    steps: int
    batch: int = 64
    rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    ema: float | None = 0.997
    flip: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """One model of the zoo. `build()` makes the untrained system; `measure(system, seed)` gives its results.

    `data()` is what it is trained on, and `content()` twelve digits that name this data's exact content.
    """

    name: str
    about: str
    build: Callable[[], Recipe]
    plan: Plan
    measure: Callable[..., dict[str, Measured]]
    data: Callable[[], Dataset | Batch] = fashion
    content: Callable[[], str] = checksum
