"""VQ-VAE: neural discrete representation learning (van den Oord, Vinyals and Kavukcuoglu 2017, arXiv:1711.00937).

An encoder turns a picture into a small map of vectors; each is replaced by the nearest vector of a codebook; a decoder
draws the picture again. So a picture becomes a few whole numbers. Choosing the nearest has no gradient: on the way back
it is skipped. To make pictures one needs numbers that belong together: see `code_prior.py`.

    codes = vqvae.encode(x)        (n, 7, 7), whole numbers
    x = vqvae.decode(codes)        (n, 1, 28, 28), in [-1, 1]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets import ConvDecoder, ConvEncoder
from edu_diffusion.nets.codebook import Codebook, full_precision, perplexity, straight_through
from edu_diffusion.training import bare
from edu_diffusion.types import Batch, Rng, check_pictures

PART = 500  # pictures that are encoded or decoded at a time


class Seen(NamedTuple):
    """What the network says of a batch: the picture drawn again, and what was chosen on the way."""

    drawn: Float[Tensor, "b c height width"]
    z: Float[Tensor, "b h w d"]  # what the encoder says of each place
    e: Float[Tensor, "b h w d"]  # the nearest vectors of the codebook
    codes: Int64[Tensor, "b h w"]  # their numbers


class VQNet(nn.Module):
    """Encoder, codebook and decoder: 28x28 pixels become 7x7 codes of 0..size-1 with the default widths.

    `options` are the codebook's: how it is learned, and when a code counts as dead.
    """

    def __init__(
        self,
        size: int = 128,
        width: int = 16,
        *,
        channels: int = 1,
        widths: Sequence[int] = (32, 56),
        blocks: int = 1,
        **options,
    ):
        super().__init__()
        layers = {"channels": channels, "widths": widths, "blocks": blocks}
        self.encoder = ConvEncoder(width, **layers)
        self.codebook = Codebook(size, width, **options)
        self.decoder = ConvDecoder(width, **layers)

    def forward(self, x: Float[Tensor, "b c height width"]) -> Seen:
        """Everything at once, for training."""
        z = self.look(x)
        codes = self.codebook.nearest(z)
        e = self.codebook(codes)
        return Seen(self.draw(straight_through(z, e)), z, e, codes)

    def look(self, x: Float[Tensor, "b c height width"]) -> Float[Tensor, "b h w d"]:
        """The encoder's vectors, before any choice is made; the vector of a place is the last axis."""
        return self.encoder(x).movedim(1, -1).float()

    def draw(self, e: Float[Tensor, "b h w d"]) -> Float[Tensor, "b c height width"]:
        """The decoder's picture, not yet held to [-1, 1]."""
        return self.decoder(e.movedim(-1, 1).contiguous())


@dataclass
class VQVAE:
    """The recipe: draw the picture again, and keep encoder and codebook together. `commit_weight` is the paper's beta.

    Both errors are means, over pixels and over the vectors' numbers, so beta means the same for every size of either.

    Raises: ValueError if the weight is negative.
    """

    net: VQNet = field(default_factory=VQNet)
    commit_weight: float = 0.25

    def __post_init__(self):
        if self.commit_weight < 0:
            raise ValueError(f"commit_weight must not be negative, got {self.commit_weight}")
        self.modules: dict[str, nn.Module] = {"net": self.net}

    @property
    def inner(self) -> VQNet:
        """The network itself, without autocast.

        Codes are chosen in full precision: the same picture must get the same codes on every machine that can.
        """
        return bare(self.modules["net"])

    @property
    def size(self) -> int:
        """How many codes there are to choose from."""
        return self.inner.codebook.size

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        check_pictures(batch.x)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase, eq. 3: ||x - drawn||^2 + ||sg[z] - e||^2 + beta ||z - sg[e]||^2, where sg stops the gradient.

        A codebook that follows running means needs no second term. It learns when the phase is over, from what was
        chosen in it. Measures the error of the pictures, and how many codes the batch used (perplexity).
        """
        drawn, z, e, codes = self.modules["net"](batch.x)
        error = F.mse_loss(drawn.float(), batch.x)
        loss = error + self.commit_weight * F.mse_loss(z, e.detach())
        codebook = self.inner.codebook
        if codebook.by_gradient:
            loss = loss + F.mse_loss(e, z.detach())
        yield "net", loss, {"error": error, "perplexity": perplexity(codes, codebook.size)}
        # Here the loop has taken its step.
        codebook.follow(z.detach(), codes, rng)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n c height width"]) -> Int64[Tensor, "n h w"]:
        """The codes of pictures in [-1, 1]: whole numbers 0..size-1, on the pictures' device."""
        net = self.inner
        device = net.codebook.vectors.device
        with full_precision(net.codebook.vectors):
            parts = [net.codebook.nearest(net.look(part.to(device))) for part in x.split(PART)]
        return torch.cat(parts).to(x.device)

    @torch.no_grad()
    def decode(self, codes: Int64[Tensor, "n h w"]) -> Float[Tensor, "n c height width"]:
        """The pictures of codes, in [-1, 1], on the codes' device.

        Raises: ValueError if a code is not in 0..size-1.
        """
        net = self.inner
        low, high = codes.min().item(), codes.max().item()
        if not 0 <= low <= high < net.codebook.size:
            raise ValueError(f"codes must be whole numbers in 0..{net.codebook.size - 1}, got {low} to {high}")
        device = net.codebook.vectors.device
        with full_precision(net.codebook.vectors):
            parts = [net.draw(net.codebook(part.to(device))) for part in codes.split(PART)]
        return torch.cat(parts).clamp(-1, 1).to(codes.device)

    def reconstruct(self, x: Float[Tensor, "n c height width"]) -> Float[Tensor, "n c height width"]:
        """What is left of pictures once they have been codes."""
        return self.decode(self.encode(x))
