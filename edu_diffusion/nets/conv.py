"""Convolutions that know no time: from a picture to a small map, and from a small map to a picture."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.layers import group_norm, resize, zeroed


class Residual(nn.Module):
    """Two convolutions around a shortcut; `ResBlock` without an embedding. Starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            group_norm(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            group_norm(width),
            nn.SiLU(),
            zeroed(nn.Conv2d(width, width, 3, padding=1)),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """One block."""
        return x + self.layers(x)


class ConvEncoder(nn.Module):
    """From a picture to a map of `out` channels: 28x28 pixels become 7x7 places with the two default widths.

    The first halving only sorts 2x2 pixels into channels; every further level halves once more.
    """

    def __init__(self, out: int, *, channels: int = 1, widths: Sequence[int] = (32, 64), blocks: int = 1):
        super().__init__()
        self.enter = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = [Residual(widths[0]) for _ in range(blocks)]
        for before, width in pairwise(widths):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), *(Residual(width) for _ in range(blocks))]
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Sequential(group_norm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], out, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h2 w2"]:
        """The map. Height and width of x must be multiples of 2 for each width."""
        return self.leave(self.layers(self.enter(F.pixel_unshuffle(x, 2))))


class ConvDecoder(nn.Module):
    """From a map of `inside` channels back to a picture: the encoder's mirror, with the same widths."""

    def __init__(self, inside: int, *, channels: int = 1, widths: Sequence[int] = (32, 64), blocks: int = 1):
        super().__init__()
        self.enter = nn.Conv2d(inside, widths[-1], 3, padding=1)
        layers: list[nn.Module] = [Residual(widths[-1]) for _ in range(blocks)]
        for width, after in pairwise(widths[::-1]):
            layers += [Double(width, after), *(Residual(after) for _ in range(blocks))]
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Sequential(group_norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 4 * channels, 3, padding=1))

    def forward(self, h: Float[Tensor, "b inside h w"]) -> Float[Tensor, "b c h2 w2"]:
        """A picture, not yet held to a range."""
        return F.pixel_shuffle(self.leave(self.layers(self.enter(h))), 2)


class Double(nn.Conv2d):
    """Twice the height and width: a convolution, then each place repeated."""

    def __init__(self, inside: int, outside: int):
        super().__init__(inside, outside, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """To twice the size."""
        return resize(super().forward(x), (2 * x.shape[-2], 2 * x.shape[-1]))
