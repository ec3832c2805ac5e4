"""What one can do with unCLIP besides drawing captions (Ramesh et al. 2022, arXiv:2204.06125, sections 3 and 4).

The decoder splits a picture in two. z_i is what CLIP sees in it; x_T is the noise from which the decoder, told z_i,
draws just this picture (found by DDIM backwards, lesson 11), and so holds all the rest. Keep the one and change the
other, and you have the paper's edits:

    split, join                    a picture as (z_i, x_T), and back: the round trip
    variations                     z_i kept, x_T forgotten, the more the larger eta is            section 3.1
    between                        both moved from one picture's to another's                     section 3.2
    text_diff, text_step           z_i moved along the difference of two captions, x_T kept       section 3.3
    Components                     z_i with a few of its directions only: what CLIP saw first     section 4, figure 7

All pictures here are the decoder's, of 16 pixels, on the CPU; `UnCLIP.enlarge` makes them large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from edu_diffusion.diffusion import ddim, generate, invert, slerp
from edu_diffusion.nets.layers import resize
from edu_diffusion.systems.decoder import Decoder
from edu_diffusion.types import check_pictures

Embeddings = Float[Tensor, "n d"]
Captions = Float[Tensor, "#n d"]  # of each picture, or one for all
Small = Float[Tensor, "n 3 s s"]
STEPS = 50  # of a way there or back, where nothing else is said


@dataclass(frozen=True)
class Split:
    """Pictures in two parts: what CLIP sees (`image_emb`, unit vectors), and the noise that holds the rest (`x_T`)."""

    image_emb: Embeddings
    x_T: Small

    def __len__(self) -> int:
        return len(self.image_emb)

    def repeat(self, count: int) -> "Split":
        """Each of them `count` times in a row."""
        return Split(self.image_emb.repeat_interleave(count, 0), self.x_T.repeat_interleave(count, 0))

    def with_emb(self, image_emb: Embeddings) -> "Split":
        """The same noise, told something else; one noise serves for several embeddings."""
        noise = self.x_T.expand(len(image_emb), -1, -1, -1) if len(self.x_T) == 1 else self.x_T
        return Split(image_emb, noise)


def split(
    decoder: Decoder, x: Float[Tensor, "n 3 h w"], *, steps: int | Sequence[int] = STEPS, scale: float = 1.0
) -> Split:
    """Pictures of 16 pixels or more, in their two parts. `scale` is the guidance under which the noise is sought.

    x_T belongs to the guidance it was found with: `join` at another scale gives another picture.

    Raises: ValueError if the pictures are not in [-1, 1].
    Source: section 3, where x_T comes by DDIM inversion and (z_i, x_T) is called the bipartite latent.
    """
    check_pictures(x)
    image_emb = decoder.eyes.image_emb(x).cpu()
    small = resize(x, (decoder.size, decoder.size))
    # Not clipped: what is cut off on the way up could not be found again on the way down.
    *_, top = invert(decoder.guided(scale), small, steps=steps, cond=decoder.told(image_emb))
    return Split(image_emb, top.x.cpu())


def join(
    decoder: Decoder,
    parts: Split,
    generator: Generator | None = None,
    *,
    eta: float = 0.0,
    steps: int | Sequence[int] = STEPS,
    scale: float = 1.0,
) -> Small:
    """The pictures that the two parts make. With eta = 0 nothing is random; at 1 hardly anything is left of x_T.

    Raises: ValueError if eta is outside [0, 1].
    """
    options = {"steps": steps, "rule": ddim(eta), "cond": decoder.told(parts.image_emb), "generator": generator}
    # Not clipped on the way, as it was not on the way up.
    x = generate(decoder.guided(scale), parts.x_T.shape, x_init=parts.x_T, **options)
    return x.clamp(-1, 1).cpu()


def variations(
    decoder: Decoder,
    x: Float[Tensor, "1 3 h w"],
    count: int,
    generator: Generator,
    *,
    eta: float = 1.0,
    steps: int | Sequence[int] = STEPS,
    scale: float = 1.0,
) -> Float[Tensor, "count 3 s s"]:
    """`count` pictures in which CLIP sees the same as in x. At eta = 0 all are x again.

    Source: section 3.1.
    """
    parts = split(decoder, x, steps=steps, scale=scale).repeat(count)
    return join(decoder, parts, generator, eta=eta, steps=steps, scale=scale)


def between(a: Split, b: Split, shares: Sequence[float], *, noise: bool = True) -> Split:
    """From one picture's parts to another's: one step for each share, where 0 is a and 1 is b.

    With `noise` off only the embedding moves and a's noise stays: all steps then have one composition.

    Raises: ValueError if a or b is more than one picture.
    Source: section 3.2, with theta for the share.
    """
    if len(a) != 1 or len(b) != 1:
        raise ValueError(f"between goes from one picture to one other, got {len(a)} and {len(b)}")
    image_emb = torch.cat([slerp(a.image_emb, b.image_emb, share) for share in shares])
    if not noise:
        return a.with_emb(image_emb)
    return Split(image_emb, torch.cat([slerp(a.x_T, b.x_T, share) for share in shares]))


def text_diff(image_emb: Embeddings, now: Captions, wanted: Captions, theta: float) -> Embeddings:
    """Image embeddings turned towards the difference of two captions' embeddings, by a share theta of the way.

    `now` is the caption of what is there, `wanted` of what shall be. The paper goes from theta = 0 up to 0.25 or 0.5.

    Source: section 3.3: slerp(z_i, z_d, theta), where z_d is the normalised difference.
    """
    return slerp(image_emb, F.normalize(wanted - now, dim=1).expand_as(image_emb), theta)


def text_step(image_emb: Embeddings, now: Captions, wanted: Captions, strength: float) -> Embeddings:
    """The simpler edit: the difference of the captions' embeddings, times a strength, is added; length 1 again."""
    return F.normalize(image_emb + strength * (wanted - now), dim=1)


class Components:
    """The principal components of embeddings: the directions in which they differ most, the first ones first.

    `share` says how much of the variance lies in each.

    Raises: ValueError if there are no more embeddings than dimensions.
    Source: section 4 and figure 7.
    """

    def __init__(self, embeddings: Embeddings):
        n, dims = embeddings.shape
        if n <= dims:
            raise ValueError(f"components of {dims} dimensions need more than {dims} embeddings, got {n}")
        self.mean = embeddings.mean(0)
        values, vectors = torch.linalg.eigh(embeddings.double().T.cov())
        self.share = (values.flip(0).clamp(min=0) / values.sum()).float()
        self.axes = vectors.flip(1).T.float()

    def keep(self, embeddings: Embeddings, count: int) -> Embeddings:
        """Embeddings with `count` components only, at length 1; what the others say is the mean's. 0 keeps the mean.

        Raises: ValueError if there are not so many components.
        """
        if not 0 <= count <= len(self.axes):
            raise ValueError(f"count must be in 0..{len(self.axes)}, got {count}")
        axes = self.axes[:count]
        return F.normalize((embeddings - self.mean) @ axes.T @ axes + self.mean, dim=1)


def psnr(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """How near each picture of a is to that of b, in decibels: 10 log10(4 / mean squared error), for a range of 2."""
    return -10 * ((a - b).square().flatten(1).mean(1).clamp(min=1e-12) / 4).log10()
