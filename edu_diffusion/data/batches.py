"""An endless, resumable stream of shuffled batches, for pictures and for 2-D toys alike."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from edu_diffusion.types import Batch


@runtime_checkable
class Dataset(Protocol):
    """What `Batches` reads from: a length, and the examples of the given numbers as one `Batch`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Int64[Tensor, " b"]) -> Batch: ...


class Batches(Iterator[Batch]):
    """Shuffled batches without end, drawn on the CPU with a generator of their own.

    `data` is a dataset (`fashion()`), a `Batch` of tensors, or one tensor of examples. Each epoch is a new
    shuffle; its last examples are left out when they do not fill a batch. `flip` mirrors each picture left to
    right with probability one half.

    `size` is the whole batch. With `world` processes each one draws the same order and takes its own contiguous
    part of every batch, `size / world` examples, so together they see the batches that one process alone sees.

    Raises: ValueError for a size that does not fit the data or the number of processes, a rank outside 0..world-1, or
    `flip` of data that say `mirrors = False`, as pictures whose captions name a left and a right.
    """

    def __init__(
        self,
        data: Dataset | Batch | Tensor,
        size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        flip: bool = False,
    ):
        self.data = _as_dataset(data)
        _check(len(self.data), size, rank, world)
        if flip and not getattr(data, "mirrors", True):
            raise ValueError("these pictures must not be flipped: their captions would be wrong")
        self.size, self.flip, self.rank, self.world = size, flip, rank, world
        self.local = size // world
        self.offset = rank * self.local
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = -1
        self._new_epoch()

    def __next__(self) -> Batch:
        if self.position + self.size > len(self.data):
            self._new_epoch()
        start = self.position + self.offset
        part = slice(start, start + self.local)
        self.position += self.size
        batch = self.data[self.order[part]]
        return Batch(_mirrored(batch.x, self.mirror[part]), batch.y) if self.flip else batch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands. It is the same in every process, so any number of processes can resume it."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "epoch_start": self.epoch_start.clone(),
            "examples": len(self.data),
            "size": self.size,
            "flip": self.flip,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken: the same examples, the same flips, in the same order.

        Raises: ValueError when the state belongs to other data, another batch size, or another flip setting.
        """
        for name, here in (("examples", len(self.data)), ("size", self.size), ("flip", self.flip)):
            if state[name] != here:
                raise ValueError(
                    f"this state was saved with {name} = {state[name]}, but these batches have {name} = {here}; "
                    "resume with the same data and settings, or start a new run"
                )
        self.generator.set_state(state["epoch_start"])
        self._new_epoch()
        self.epoch, self.position = state["epoch"], state["position"]

    def _new_epoch(self) -> None:
        # Everything random in an epoch is drawn here, so the generator's state now is all that resuming needs.
        self.epoch_start = self.generator.get_state()
        self.order = torch.randperm(len(self.data), generator=self.generator)
        self.mirror = torch.rand(len(self.data), generator=self.generator) < 0.5
        self.epoch, self.position = self.epoch + 1, 0


class _Tensors:
    """Tensors already in memory, as a dataset."""

    def __init__(self, x: Tensor, y: Tensor | None = None):
        if y is not None and len(x) != len(y):
            raise ValueError(f"x and y must have the same length, got {len(x)} and {len(y)}")
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Int64[Tensor, " b"]) -> Batch:
        return Batch(self.x[index], None if self.y is None else self.y[index])


def _as_dataset(data: Dataset | Batch | Tensor) -> Dataset:
    if isinstance(data, Batch):
        return _Tensors(data.x, data.y)
    return _Tensors(data) if isinstance(data, Tensor) else data


def _mirrored(x: Tensor, mirror: Tensor) -> Tensor:
    return torch.where(mirror.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


def _check(examples: int, size: int, rank: int, world: int) -> None:
    if not 1 <= size <= examples:
        raise ValueError(f"batch size must be in 1..{examples} (the number of examples), got {size}")
    if world < 1 or size % world:
        raise ValueError(f"batch size {size} must divide evenly among {world} processes")
    if not 0 <= rank < world:
        raise ValueError(f"rank must be in 0..{world - 1}, got {rank}")
