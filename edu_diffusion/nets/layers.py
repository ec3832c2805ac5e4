"""The parts a network is made of."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def zeroed(layer: nn.Module) -> nn.Module:
    """The same layer with weights and bias at 0: a residual branch that ends in it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def precise(layer: nn.Module, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The layer's answer in its weights' own precision, whatever the precision around it.

    For a network's first and last layer: half precision there rounds x_t and the answer, a sampler at high noise makes
    much of small errors, and the layers between average theirs.
    """
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(next(layer.parameters()).dtype))


def sinusoid(t: Float[Tensor, "b"], width: int, longest: float = 10_000.0) -> Float[Tensor, "b width"]:
    """Cosines and sines of t at width / 2 frequencies, from 1 down towards 1 / longest, in radians per unit of t.

    t is in the units the network was trained with: here 0..T, not 0..1.

    Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.5.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(half, device=t.device) / half)
    angles = t[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """The time as a vector: sinusoids, then two layers that may bend them."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, "b"]) -> Float[Tensor, "b width"]:
        """Embed the times of a batch."""
        return self.layers(sinusoid(t, self.width))


class ResBlock(nn.Module):
    """Two convolutions around a shortcut; the embedding scales and shifts what lies between them.

    It starts as the identity (or the shortcut's 1x1 convolution where the channels change). Not `adaptive`, the
    embedding is only added, before the norm.

    Source: DDPM (arXiv:2006.11239), appendix B, where it is added; scale and shift: ADM (arXiv:2105.05233), section 3.
    """

    def __init__(self, inside: int, outside: int, embedding: int, dropout: float = 0.0, adaptive: bool = True):
        super().__init__()
        self.norm1, self.norm2 = group_norm(inside), group_norm(outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(outside, outside, 3, padding=1))
        self.adaptive = adaptive
        self.film = zeroed(nn.Linear(embedding, 2 * outside if adaptive else outside))
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b o h w"]:
        """One block; `embedding` has been through its nonlinearity already."""
        h = self.tell(self.conv1(F.silu(self.norm1(x))), embedding)
        return self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))

    def tell(self, h: Float[Tensor, "b o h w"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b o h w"]:
        """The norm, and the embedding's word: a scale and a shift for each channel."""
        told = self.film(embedding)[:, :, None, None]
        if not self.adaptive:
            return self.norm2(h + told)
        scale, shift = told.chunk(2, dim=1)
        return torch.addcmul(shift, self.norm2(h), 1 + scale)


class ResizeBlock(ResBlock):
    """A residual block that also changes height and width: both its ways are resized, and it is told the embedding.

    Source: BigGAN (arXiv:1809.11096), appendix B; ADM (arXiv:2105.05233), section 3.
    """

    def forward(
        self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"], size: tuple[int, int]
    ) -> Float[Tensor, "b o h2 w2"]:
        """To the given height and width."""
        h = self.conv1(resize(F.silu(self.norm1(x)), size))
        h = self.tell(h, embedding)
        return self.shortcut(resize(x, size)) + self.conv2(self.dropout(F.silu(h)))


def resize(x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c h2 w2"]:
    """To a smaller size by averaging areas, to a larger one by repeating pixels."""
    return F.interpolate(x, size=tuple(size), mode="area" if size[0] < x.shape[-2] else "nearest")


class Down(nn.Conv2d):
    """Half the height and width, by a strided convolution. It is not told the embedding."""

    def __init__(self, inside: int, outside: int):
        super().__init__(inside, outside, 3, stride=2, padding=1)

    def forward(
        self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"], size: tuple[int, int]
    ) -> Float[Tensor, "b o h2 w2"]:
        """To half the size, rounded up, which `size` must be."""
        return super().forward(x)


class Up(nn.Module):
    """Twice the height and width: a convolution, then each pixel repeated. It is not told the embedding.

    In this order the convolution works on the small picture, at a quarter of the cost; the stage that follows smooths.
    """

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"], size: tuple[int, int]
    ) -> Float[Tensor, "b o h2 w2"]:
        """To the given size, which need not be exactly twice: 4 pixels come from 7, and go back to 7."""
        return resize(self.conv(x), size)


def group_norm(channels: int, size: int = 16) -> nn.GroupNorm:
    """GroupNorm with groups of about `size` channels.

    Source: Wu and He 2018 (arXiv:1803.08494).
    """
    groups = max(1, channels // size)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)
