"""The processes that train together, through accelerate. For one alone nothing happens here."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, reduce
from torch import Tensor, nn

from edu_diffusion.training.runtime import Runtime, process


class Team:
    """This process and the others that `accelerate launch` started, and what they must agree on.

    `runtime` is the one given, on the device that accelerate assigns to this process.

    Raises: ValueError if the processes were launched for another kind of device.
    """

    def __init__(self, runtime: Runtime):
        here = process()
        self.rank, self.world = here.rank, here.world
        self.accelerator = Accelerator(cpu=runtime.device.type == "cpu") if here.world > 1 else None
        if self.accelerator is not None:
            assigned = self.accelerator.device
            if assigned.type != runtime.device.type:
                raise ValueError(f"accelerate gives this process {assigned}, but {runtime.device} was asked for")
            runtime = replace(runtime, device=assigned)
        self.runtime = runtime

    @property
    def main(self) -> bool:
        """Whether this process writes the checkpoints."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module, wrapped so that gradients are averaged over all processes."""
        return module if self.accelerator is None else self.accelerator.prepare_model(module)

    def backward(self, loss: Tensor) -> None:
        """The gradients of a loss."""
        if self.accelerator is None:
            loss.backward()
        else:
            self.accelerator.backward(loss)

    def first(self, value: float) -> float:
        """What the first process says: its clock decides for all."""
        if self.accelerator is None:
            return value
        return float(broadcast(torch.tensor(value, device=self.runtime.device)))

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Each value, averaged over the processes."""
        if self.accelerator is not None:
            values = reduce(dict(values), "mean")
        return {name: float(value) for name, value in values.items()}
