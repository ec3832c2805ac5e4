"""Where and how to compute: device, precision, memory format. The one place that looks at the machine."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Process:
    """This process among those that `accelerate launch` started: its number, and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this one writes files and prints."""
        return self.rank == 0


def process() -> Process:
    """This process; the only one, unless a launcher's environment variables say otherwise."""
    return Process(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@dataclass(frozen=True)
class Runtime:
    """A device, the precision of its matrix products, and how images lie in memory."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.channels_last

    def autocast(self) -> AbstractContextManager:
        """A context in which matrix products and convolutions use `dtype`, and all else stays float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def place(self, module: nn.Module) -> nn.Module:
        """The module on this device, its convolutions in this memory format. Changes it in place."""
        return module.to(self.device).to(memory_format=self.memory_format)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, placed, as something to call anywhere: autocast inside, float32 outside."""
        placed = self.place(module)
        return placed if self.dtype == torch.float32 else Autocast(placed, self)

    def describe(self) -> str:
        """One line for a card: device, precision, threads."""
        kind = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        precision = str(self.dtype).removeprefix("torch.")
        count = torch.get_num_threads()
        threads = f", {count} thread{'s' * (count > 1)}" if self.device.type == "cpu" else ""
        return f"{kind}, {precision}{threads}"


class Autocast(nn.Module):
    """A module that runs under its runtime's autocast and answers in float32; its parts are those of the module."""

    def __init__(self, module: nn.Module, runtime: Runtime):
        super().__init__()
        self.module, self.runtime = module, runtime

    def forward(self, *inputs, **options) -> Tensor:
        """The module's answer."""
        with self.runtime.autocast():
            return self.module(*inputs, **options).float()

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":  # not there yet
                raise
            return getattr(self.module, name)


def bare(module: nn.Module) -> nn.Module:
    """The module itself, out of what `Runtime.wrap` or the training loop may have put around it."""
    while isinstance(module, Autocast | nn.parallel.DistributedDataParallel):
        module = module.module
    return module


def pick_runtime(device: str | torch.device | None = None) -> Runtime:
    """The best this machine offers: CUDA in bf16 where it can, then MPS, then the CPU.

    A CPU computes in bf16 where it has matrix units for it (AMX), else in float32: emulated bf16 is slower.

    Raises: ValueError if a named device is not there.
    """
    chosen = torch.device(device) if device is not None else _best_device()
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device 'cuda' was asked for, but torch sees no CUDA device: leave the device out")
        return Runtime(chosen, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)
    if chosen.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device 'mps' was asked for, but this machine has none: leave the device out")
        return Runtime(chosen)
    if chosen.type == "cpu":
        return Runtime(chosen, torch.bfloat16 if has_bf16_units() else torch.float32)
    raise ValueError(f"device must be cpu, cuda or mps, got {str(chosen)!r}")


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (x86's AMX)."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def cpu_name() -> str:
    """The processor's name as the system tells it, or its architecture."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
