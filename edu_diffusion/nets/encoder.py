"""The way down of the U-Net alone: from a picture to a vector."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.layers import TimeEmbedding, group_norm
from edu_diffusion.nets.unet import Builder, Stage, half
from edu_diffusion.types import Cond


class Encoder(nn.Module):
    """A network that says `out` numbers of a picture, perhaps a noisy one: a classifier's logits, an embedding.

    It is built of the U-Net's stages, and ends in the mean over all places, where ADM has an attention pool. The
    options are the U-Net's. With `time` it is told how noisy the picture is.

    Raises: ValueError if widths and attention differ in length.
    Source: ADM (arXiv:2105.05233), section 4, "the downsampling trunk of the U-Net".
    """

    def __init__(
        self,
        channels: int = 1,
        out: int = 10,
        *,
        widths: Sequence[int] = (32, 64),
        blocks: int = 1,
        attention: Sequence[bool] = (False, True),
        patch: int = 2,
        dropout: float = 0.0,
        time: bool = True,
        head_width: int = 32,
        adaptive: bool = True,
        residual: bool = False,
    ):
        super().__init__()
        if len(widths) != len(attention):
            raise ValueError(f"attention must say yes or no for each of the {len(widths)} levels, got {len(attention)}")
        self.channels, self.patch, self.embedding = channels, patch, 4 * widths[0]
        self.embed_time = TimeEmbedding(self.embedding) if time else None
        self.enter = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        builder = Builder(self.embedding, blocks, dropout, None, head_width, adaptive, residual)
        self.down = builder.way_down(widths, attention)
        self.norm, self.leave = group_norm(widths[-1]), nn.Linear(widths[-1], out)

    def forward(self, x: Float[Tensor, "b c h w"], t: Float[Tensor, "b"]) -> Float[Tensor, "b out"]:
        """What it says of each picture.

        Raises: ValueError if x has another number of channels, or a size that is no multiple of patch.
        """
        if x.shape[1] != self.channels or any(side % self.patch for side in x.shape[-2:]):
            raise ValueError(
                f"x must have {self.channels} channels and sides divisible by {self.patch}, got {tuple(x.shape)}"
            )
        told = t.new_zeros(len(t), self.embedding) if self.embed_time is None else self.embed_time(t)
        embedding, h = F.silu(told), self.enter(F.pixel_unshuffle(x, self.patch))
        for part in self.down:
            h = part(h, embedding, Cond() if isinstance(part, Stage) else half(h))
        return self.leave(F.silu(self.norm(h)).mean((-2, -1)))
