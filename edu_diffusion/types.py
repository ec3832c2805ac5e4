"""Shared types: what the rooms of the package hand to each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples: `x` is the data, `y` what is known of each: a class number, or a row of token numbers."""

    x: Shaped[Tensor, "b ..."]
    y: Shaped[Tensor, "b ..."] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(self.x.to(device), None if self.y is None else self.y.to(device))


@dataclass(frozen=True)
class Cond:
    """What a network is told besides x_t and t. Each part is optional; the first axis is always the batch.

    `vec` is added to the time embedding; `tokens` (with `mask`, True where a token is real) are looked at by attention,
    beside the picture's own places; `spatial` is joined to the input as extra channels.
    """

    vec: Float[Tensor, "b v"] | None = None
    tokens: Float[Tensor, "b n d"] | None = None
    mask: Bool[Tensor, "b n"] | None = None
    spatial: Float[Tensor, "b c h w"] | None = None

    def __len__(self) -> int:
        """The batch size: 0 if there is no part at all.

        Raises: ValueError if the parts do not agree on it.
        """
        sizes = {len(part) for part in self._parts() if part is not None}
        if len(sizes) > 1:
            raise ValueError(f"the parts of a Cond must have one batch size, got {sorted(sizes)}")
        return sizes.pop() if sizes else 0

    def to(self, device: torch.device | str) -> "Cond":
        """The same condition on another device."""
        return self._map(lambda part: part.to(device))

    def expand(self, n: int) -> "Cond":
        """A condition of batch size 1 repeated n times, with no copy of memory."""
        return self._map(lambda part: part.expand(n, *part.shape[1:]))

    def select(self, index: Int[Tensor, "k"]) -> "Cond":
        """The conditions of some examples."""
        return self._map(lambda part: part[index.to(part.device)])

    @staticmethod
    def cat(conds: Sequence["Cond"]) -> "Cond":
        """Several conditions as one batch.

        Raises: ValueError if one has a part that another lacks.
        """
        joined = {}
        for field in fields(Cond):
            parts = [getattr(cond, field.name) for cond in conds]
            given = [part for part in parts if part is not None]
            if given and len(given) < len(parts):
                raise ValueError(f"some conditions have {field.name!r} and some do not: they cannot be one batch")
            joined[field.name] = torch.cat(given) if given else None
        return Cond(**joined)

    def _parts(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Cond":
        return Cond(*[None if part is None else change(part) for part in self._parts()])


class Rng:
    """Random numbers for training that do not depend on the device, nor on how many processes share a batch.

    They come from one CPU generator. With `world` processes, each draws the numbers of the whole batch and keeps
    its own `rank`-th part: so two processes with half the batch each see what one process would have seen.
    """

    def __init__(self, seed: int, rank: int = 0, world: int = 1):
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in 0..{world - 1}, got {rank}")
        self.rank, self.world = rank, world
        self.generator = torch.Generator().manual_seed(seed)

    def normal_like(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers of x's shape, on x's device."""
        whole = torch.randn(len(x) * self.world, *x.shape[1:], generator=self.generator)
        return self._mine(whole).to(x.device, x.dtype)

    def uniform(self, n: int) -> Float[Tensor, "n"]:
        """n numbers in [0, 1), on the CPU."""
        return self._mine(torch.rand(n * self.world, generator=self.generator))

    def whole(self, mine: Tensor) -> Tensor:
        """What all processes hold, put together in the order of the whole batch: the counterpart of drawing a part."""
        if self.world == 1:
            return mine
        parts = [torch.empty_like(mine) for _ in range(self.world)]
        torch.distributed.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    def state_dict(self) -> dict:
        """The generator's state, for a checkpoint."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.generator.set_state(state["generator"])

    def _mine(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.world)[self.rank]


def check_pictures(x: Float[Tensor, "n c h w"]) -> None:
    """Refuse pictures that are not in [-1, 1], the range in which the course keeps them.

    Raises: ValueError naming the range that was given; also for pictures that look as if they were in [0, 1].
    """
    low, high = (value.item() for value in x.aminmax())
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"pictures must lie in [-1, 1], got [{low:.4g}, {high:.4g}]. Clamp samples with .clamp(-1, 1); turn pixel "
            "levels 0..255 into this range with x / 127.5 - 1"
        )
    # A few bright pictures may have no dark pixel at all; many of them hardly.
    if low >= 0 and len(x) >= 16:
        raise ValueError(
            f"pictures must lie in [-1, 1], got [{low:.4g}, {high:.4g}], which looks like [0, 1]: use 2 * x - 1"
        )
