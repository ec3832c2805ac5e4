"""The peer: diffusers' UNet2DModel at the size of the course's default network, in the ways one would run it.

Run as a script it does nothing.
"""

from dataclasses import asdict, dataclass
from itertools import product

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from edu_diffusion.systems.ddpm import ddpm_unet
from edu_diffusion.training import Runtime, pick_runtime
from edu_diffusion.training.runtime import has_bf16_units

# The widths and blocks that diffusers' own course trains on 28x28 pictures; one layer a block instead of two brings the
# parameters to ours, and is the faster of the ways to do so. All else is the class's default.
PEER = {
    "sample_size": 28,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}


class Peer(nn.Module):
    """diffusers' network, called as the course calls its own."""

    def __init__(self):
        super().__init__()
        self.net = UNet2DModel(**PEER)

    def forward(self, x_t: Tensor, t: Tensor, cond: None = None) -> Tensor:
        """The guess of the noise."""
        return self.net(x_t, t).sample


@dataclass(frozen=True)
class Setup:
    """One network and one way to run it. `attention` is diffusers' choice of processor; the course has but one."""

    network: str
    dtype: str = "float32"
    channels_last: bool = False
    fused: bool = False
    attention: str = "sdpa"

    @property
    def runtime(self) -> Runtime:
        """Where and how it computes."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return Runtime(torch.device("cpu"), getattr(torch, self.dtype), layout)

    def build(self, seed: int = 0) -> nn.Module:
        """A fresh network, in place."""
        torch.manual_seed(seed)
        if self.network == "course":
            return self.runtime.place(ddpm_unet())
        peer = Peer()
        for layer in peer.modules():
            if isinstance(layer, Attention):
                layer.set_processor(AttnProcessor2_0() if self.attention == "sdpa" else AttnProcessor())
        return self.runtime.place(peer)

    def to_json(self) -> dict:
        """A plain dictionary."""
        return asdict(self)


def course() -> Setup:
    """The course's network as the course runs it here."""
    runtime = pick_runtime("cpu")
    channels_last = runtime.memory_format == torch.channels_last
    return Setup("course", str(runtime.dtype).removeprefix("torch."), channels_last, fused=True)


DEFAULT = Setup("diffusers")


def tunings(fp32_only: bool = False) -> list[Setup]:
    """The ways to run the peer that its documentation offers without compiling."""
    dtypes = ["float32"] if fp32_only or not has_bf16_units() else ["float32", "bfloat16"]
    return [
        Setup("diffusers", dtype, channels_last, fused=True, attention=attention)
        for dtype, channels_last, attention in product(dtypes, (False, True), ("sdpa", "plain"))
    ]


def parameters(net: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in net.parameters())
