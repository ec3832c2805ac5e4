"""The vision transformer: a picture is cut into patches, and the patches are read as a sentence is, word by word."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.layers import sinusoid
from edu_diffusion.nets.transformer import Transformer

Patches = Float[Tensor, "b n d"]
Chosen = Int[Tensor, "b k"]


def patchify(x: Float[Tensor, "b c h w"], patch: int) -> Patches:
    """A picture as a list of its patches, patch x patch pixels each: row by row, from the upper left.

    n = (h / patch)(w / patch) and d = c patch^2; a patch's own numbers come channel by channel, row by row.

    Raises: ValueError if height or width is no multiple of patch.
    """
    if x.shape[-2] % patch or x.shape[-1] % patch:
        raise ValueError(f"height and width must be multiples of patch {patch}, got {x.shape[-2]}x{x.shape[-1]}")
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def unpatchify(patches: Patches, patch: int, size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """The picture of `size` (height, width) that these patches are cut from: undoes `patchify`.

    Raises: ValueError if their number or length does not fit that size.
    """
    rows, columns = size[0] // patch, size[1] // patch
    if patches.shape[1] != rows * columns or patches.shape[2] % patch**2:
        raise ValueError(
            f"a picture of {size[0]}x{size[1]} has {rows * columns} patches of {patch}x{patch} pixels, "
            f"got {patches.shape[1]} of {patches.shape[2]} numbers"
        )
    return F.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (rows, columns)), patch)


def take(tokens: Patches, keep: Chosen) -> Float[Tensor, "b k d"]:
    """Of each example the tokens with these numbers, in this order."""
    return torch.take_along_dim(tokens, keep[..., None], 1)


def grid_places(rows: int, columns: int, width: int) -> Float[Tensor, "n width"]:
    """A fixed vector for each place of a grid, row by row: half of its numbers say the row, half the column.

    Raises: ValueError if the width is no multiple of 4: a cosine and a sine, for the row and for the column.
    Source: MAE (arXiv:2111.06377), appendix A.1, which has them in encoder and decoder.
    """
    if width % 4:
        raise ValueError(f"places on a grid need a width that is a multiple of 4, got {width}")
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sinusoid(axis.flatten().float(), width // 2) for axis in (row, column)], 1)


class ViT(nn.Module):
    """The vision transformer without its last layer: from a picture to a vector for each of its patches.

    It may be shown some patches only, and then computes nothing for the others. It has no class token: where one vector
    for the picture is wanted, take the mean over the tokens.

    Raises: ValueError if `size` (height, width) is no multiple of patch, the width is no whole number of heads, or no
    multiple of 4.
    Source: Dosovitskiy et al. 2020 (arXiv:2010.11929); fixed places and visible patches only: MAE (arXiv:2111.06377).
    """

    def __init__(
        self,
        size: tuple[int, int] = (28, 28),
        patch: int = 4,
        channels: int = 1,
        *,
        width: int = 128,
        depth: int = 4,
        head_width: int = 32,
        dropout: float = 0.0,
    ):
        super().__init__()
        if size[0] % patch or size[1] % patch:
            raise ValueError(f"height and width must be multiples of patch {patch}, got {size[0]}x{size[1]}")
        self.size, self.patch, self.channels, self.width = tuple(size), patch, channels, width
        self.grid = size[0] // patch, size[1] // patch
        self.enter = nn.Linear(channels * patch**2, width)
        # Fixed, so not among the weights that are kept.
        self.register_buffer("places", grid_places(*self.grid, width), persistent=False)
        self.body = Transformer(width, depth, head_width=head_width, dropout=dropout)

    @property
    def count(self) -> int:
        """The number of patches of a whole picture."""
        return self.grid[0] * self.grid[1]

    def forward(self, x: Float[Tensor, "b c h w"], keep: Chosen | None = None) -> Float[Tensor, "b seen width"]:
        """The tokens of the patches with the numbers `keep`, in that order, having seen each other; by default of all.

        Raises: ValueError if x is not of this network's size and channels.
        """
        if x.shape[1:] != (self.channels, *self.size):
            raise ValueError(
                f"this network reads pictures of shape (n, {self.channels}, {self.size[0]}, {self.size[1]}), "
                f"got {tuple(x.shape)}"
            )
        patches = patchify(x, self.patch)
        if keep is None:
            return self.body(self.enter(patches) + self.places)
        # Chosen before anything is computed: what is hidden costs nothing.
        return self.body(self.enter(take(patches, keep)) + self.places[keep])
