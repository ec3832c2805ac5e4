"""What an entry of the zoo is: how to build it, how it is trained, on what, and how it is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edu_diffusion.data import Dataset, checksum, fashion
from edu_diffusion.metrics import Measured
from edu_diffusion.training import Recipe
from edu_diffusion.types import Batch


@dataclass(frozen=True)
class Plan:
    """The numbers of a training: AdamW at `rate`, warmed up, then falling to 0; weights averaged with decay `ema`.

    `slower` says which parts of a network learn at a share of the rate: those whose parameters' names begin so.
    """

    steps: int
    batch: int = 64
    rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    ema: float | None = 0.997
    flip: bool = False
    seed: int = 0
    slower: Mapping[str, float] = field(default_factory=dict)

    def groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """The module's parameters, in groups of one learning rate.

        Raises: ValueError if no parameter's name begins as `slower` says.
        """
        shares = {}
        for name, parameter in module.named_parameters():
            share = next((share for start, share in self.slower.items() if name.startswith(start)), 1.0)
            shares.setdefault(share, []).append(parameter)
        names = [name for name, _ in module.named_parameters()]
        if missing := [start for start in self.slower if not any(name.startswith(start) for name in names)]:
            raise ValueError(f"no parameter's name begins as slower says ({', '.join(missing)})")
        return [{"params": some, "lr": share * self.rate} for share, some in shares.items()]


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
