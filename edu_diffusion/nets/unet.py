"""The U-Net: the same size in and out, coarse in the middle, with skips across."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.attention import Attention
from edu_diffusion.nets.layers import (
    Down,
    ResBlock,
    ResizeBlock,
    TimeEmbedding,
    Up,
    group_norm,
    precise,
    zeroed,
)
from edu_diffusion.types import Cond

Feature = Float[Tensor, "b c h w"]


@dataclass(frozen=True)
class Builder:
    """What all levels of a network have in common, and how its stages and resizings are built."""

    embedding: int
    blocks: int = 1
    dropout: float = 0.0
    tokens: int | None = None
    head_width: int = 32
    adaptive: bool = True
    residual: bool = False

    def stage(self, width: int, attention: bool) -> "Stage":
        """A residual block and, if asked for, attention."""
        block = ResBlock(width, width, self.embedding, self.dropout, self.adaptive)
        return Stage(block, Attention(width, self.head_width, self.tokens) if attention else None)

    def down(self, inside: int, outside: int) -> nn.Module:
        """What halves height and width."""
        return self._resizing(inside, outside) if self.residual else Down(inside, outside)

    def up(self, inside: int, outside: int) -> nn.Module:
        """What doubles height and width."""
        return self._resizing(inside, outside) if self.residual else Up(inside, outside)

    def way_down(self, widths: Sequence[int], attention: Sequence[bool]) -> nn.ModuleList:
        """The stages from the finest level to the coarsest, and what leads from one level to the next."""
        parts = nn.ModuleList()
        for level, width in enumerate(widths):
            parts.extend(self.stage(width, attention[level]) for _ in range(self.blocks))
            if level < len(widths) - 1:
                parts.append(self.down(width, widths[level + 1]))
        return parts

    def _resizing(self, inside: int, outside: int) -> ResizeBlock:
        return ResizeBlock(inside, outside, self.embedding, self.dropout, self.adaptive)


class Stage(nn.Module):
    """A residual block and, at the levels that have it, attention."""

    def __init__(self, block: ResBlock, attention: Attention | None):
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, x: Feature, embedding: Float[Tensor, "b e"], cond: Cond) -> Feature:
        """The block, then attention."""
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, cond.tokens, cond.mask)


class Joined(nn.Module):
    """A stage on the way up, which also sees what its twin on the way down saw.

    The two are merged by a 1x1 convolution: a third cheaper than letting the block's 3x3 read both.
    """

    def __init__(self, stage: Stage, width: int):
        super().__init__()
        self.merge, self.stage = nn.Conv2d(2 * width, width, 1), stage

    def forward(self, x: Feature, skip: Feature, embedding: Float[Tensor, "b e"], cond: Cond) -> Feature:
        """Merge, then the stage."""
        return self.stage(self.merge(torch.cat([x, skip], dim=1)), embedding, cond)


class UNet(nn.Module):
    """A network for x_t, t and a condition.

    `widths` are the channels of each level, finest first; each level has `blocks` stages on the way down, and on the
    way up a twin of each, which is also handed what its twin saw (the skip). `attention` says which levels have it.
    `patch` folds patch x patch pixels into channels at the entrance and unfolds them at the exit: the convolutions
    then work on a smaller picture. `vec`, `tokens` and `spatial` are the widths of the parts of a `Cond`, where the
    network is to be given them. `skips` and `time` can be switched off, to see what they are for.

    The choices of ADM (arXiv:2105.05233, section 3): `head_width` channels for each head of attention; `adaptive` group
    norms, which the embedding scales and shifts (else it is added); `residual` blocks that change the size (else a
    convolution does).

    Heights and widths must be multiples of `patch`; anything else fits (7 goes to 4 and back to 7).

    Raises: ValueError if widths and attention differ in length, or a level with attention is not a whole number of
    heads wide.
    Source: DDPM (arXiv:2006.11239), appendix B; Ronneberger et al. 2015 (arXiv:1505.04597).
    """

    def __init__(
        self,
        channels: int = 1,
        out_channels: int | None = None,
        *,
        widths: Sequence[int] = (64, 128),
        blocks: int = 1,
        attention: Sequence[bool] = (False, True),
        patch: int = 2,
        dropout: float = 0.0,
        vec: int | None = None,
        tokens: int | None = None,
        spatial: int = 0,
        skips: bool = True,
        time: bool = True,
        head_width: int = 32,
        adaptive: bool = True,
        residual: bool = False,
    ):
        super().__init__()
        if len(widths) != len(attention):
            raise ValueError(f"attention must say yes or no for each of the {len(widths)} levels, got {len(attention)}")
        self.channels, self.spatial, self.patch, self.skips = channels, spatial, patch, skips
        self.widths = tuple(widths)
        self.takes_tokens, self.embedding = tokens is not None, 4 * widths[0]
        self.embed_time = TimeEmbedding(self.embedding) if time else None
        self.embed_vec = None if vec is None else nn.Linear(vec, self.embedding)

        builder = Builder(self.embedding, blocks, dropout, tokens, head_width, adaptive, residual)
        self.enter = nn.Conv2d((channels + spatial) * patch**2, widths[0], 3, padding=1)
        self.down, self.up = builder.way_down(widths, attention), nn.ModuleList()
        self.middle = builder.stage(widths[-1], attention[-1])
        for level, width in reversed(list(enumerate(widths))):
            stages = (builder.stage(width, attention[level]) for _ in range(blocks))
            self.up.extend(Joined(stage, width) if skips else stage for stage in stages)
            if level > 0:
                self.up.append(builder.up(width, widths[level - 1]))
        self.leave = nn.Sequential(
            group_norm(widths[0]),
            nn.SiLU(),
            zeroed(nn.Conv2d(widths[0], (out_channels or channels) * patch**2, 3, padding=1)),
        )

    def forward(
        self, x_t: Float[Tensor, "b c h w"], t: Float[Tensor, "b"], cond: Cond | None = None
    ) -> Float[Tensor, "b o h w"]:
        """The network's output for its target, of x_t's height and width.

        Raises: ValueError if x_t or the condition does not fit this network.
        """
        cond = cond or Cond()
        self._check(x_t, cond)
        embedding = F.silu(self._embed(t, cond))
        if cond.spatial is not None:
            x_t = torch.cat([x_t, cond.spatial], dim=1)
        h = precise(self.enter, F.pixel_unshuffle(x_t, self.patch))
        seen, sizes = [], []
        for part in self.down:
            if isinstance(part, Stage):
                h = part(h, embedding, cond)
                seen.append(h)
            else:
                sizes.append(h.shape[-2:])
                h = part(h, embedding, half(h))
        h = self.middle(h, embedding, cond)
        for part in self.up:
            if isinstance(part, Joined):
                h = part(h, seen.pop(), embedding, cond)
            elif isinstance(part, Stage):
                h = part(h, embedding, cond)
            else:
                h = part(h, embedding, sizes.pop())
        return F.pixel_shuffle(precise(self.leave, h), self.patch)

    def _embed(self, t: Float[Tensor, "b"], cond: Cond) -> Float[Tensor, "b e"]:
        embedding = t.new_zeros(len(t), self.embedding) if self.embed_time is None else self.embed_time(t)
        return embedding if self.embed_vec is None else embedding + self.embed_vec(cond.vec)

    def _check(self, x_t: Tensor, cond: Cond) -> None:
        height, width = x_t.shape[-2:]
        if x_t.shape[1] != self.channels:
            raise ValueError(f"x_t must have {self.channels} channels, got {x_t.shape[1]}")
        if height % self.patch or width % self.patch:
            raise ValueError(f"height and width must be multiples of patch {self.patch}, got {height}x{width}")
        given = 0 if cond.spatial is None else cond.spatial.shape[1]
        if given != self.spatial:
            raise ValueError(f"the condition must have {self.spatial} spatial channels for this network, got {given}")
        for name, taken in (("vec", self.embed_vec is not None), ("tokens", self.takes_tokens)):
            given = getattr(cond, name) is not None
            if given and not taken:
                raise ValueError(f"this network takes no {name}; build it with {name}=WIDTH")
            if taken and not given:
                raise ValueError(f"this network wants {name}, got none: for 'no condition' give its null condition")


def half(x: Feature) -> tuple[int, int]:
    """Half of x's height and width, rounded up."""
    return (x.shape[-2] + 1) // 2, (x.shape[-1] + 1) // 2
