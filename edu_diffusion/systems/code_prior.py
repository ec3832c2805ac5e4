"""A learned prior over a VQ-VAE's codes (van den Oord et al. 2017, arXiv:1711.00937, section 3.3), on one page.

A trained VQ-VAE turns a picture into 49 whole numbers and back. Numbers that are drawn at random belong to no picture.
So a second network learns which belong together: it reads the class and the numbers so far, and says how likely each
next number is. The paper's is a PixelCNN; here it is a small transformer, as in the systems that came after.

    prior.pictures(16, generator)             of classes 0, 1, .. 9, 0, .. in turn
    prior.pictures(16, generator, y, temperature=0.8, top_k=40)
    prior.bits(x, y)                          what it costs to send these pictures' codes
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets import Transformer, learned_places
from edu_diffusion.nets.codebook import frequency
from edu_diffusion.nets.layers import zeroed
from edu_diffusion.nets.transformer import Past
from edu_diffusion.systems.vqvae import VQVAE
from edu_diffusion.training import bare
from edu_diffusion.types import Batch, Rng, check_pictures

PART = 250  # pictures whose bits are counted at a time


class CodeTransformer(nn.Module):
    """Says of each place how likely every code is there, from the class and the codes of the places before.

    Places are read row by row. `codes` is how many codes there are to choose from, `places` how many make a picture.
    A class is a word like the codes: class y is number codes + y. At the start all codes are equally likely everywhere.
    """

    def __init__(self, codes: int = 128, classes: int = 10, places: int = 49, width: int = 128, depth: int = 4):
        super().__init__()
        self.codes, self.classes, self.places = codes, classes, places
        self.embed = nn.Embedding(codes + classes, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.where = learned_places(places, width)
        self.body = Transformer(width, depth, causal=True)
        self.leave = zeroed(nn.Linear(width, codes))

    def forward(
        self, y: Int64[Tensor, "b"], before: Int64[Tensor, "b n"], past: list[Past] | None = None
    ) -> Float[Tensor, "b m codes"]:
        """The logits for places 0..n, from the classes y and the codes of the first n places.

        With `past` (from `remember`) only those of the places that were not asked for in the calls before.
        """
        start = known(past)
        words = torch.cat([self.codes + y[:, None], before], 1)[:, start:]
        tokens = self.embed(words) + self.where[:, start : before.shape[1] + 1]
        return self.leave(self.body(tokens, past=past))

    def remember(self) -> list[Past]:
        """An empty past, to hand to `forward` while a picture is written code by code."""
        return self.body.remember()


def known(past: list[Past] | None) -> int:
    """How many tokens a past holds already."""
    return 0 if past is None or past[0].key is None else past[0].key.shape[-2]


@dataclass
class CodePrior:
    """The recipe: guess each code of a training picture from its class and the codes before it.

    `vqvae` is trained already and stays as it is; or a function that reads it when it is first needed. Its weights are
    not among `modules`: they are neither trained nor kept here.
    """

    vqvae: VQVAE | Callable[[], VQVAE]
    net: CodeTransformer = field(default_factory=CodeTransformer)

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    @cached_property
    def codec(self) -> VQVAE:
        """The VQ-VAE that makes the codes and draws their pictures.

        Raises: ValueError if it has another number of codes than the network.
        """
        codec = self.vqvae if isinstance(self.vqvae, VQVAE) else self.vqvae()
        if codec.size != self.net.codes:
            raise ValueError(
                f"the VQ-VAE has {codec.size} codes and the prior's network {self.net.codes}: "
                f"give it CodeTransformer(codes={codec.size})"
            )
        return codec

    @property
    def inner(self) -> CodeTransformer:
        """The network itself."""
        return bare(self.modules["net"])

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1], and batches without labels.

        Raises: ValueError saying what was given.
        """
        check_pictures(batch.x)
        if batch.y is None:
            raise ValueError("this prior is told the class, but the batch has no labels: give Batches data with y")

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: the cross-entropy of each code, in nats; the mean over all. Measures the bits of a picture."""
        codes = self.codec.encode(batch.x).flatten(1)
        loss = self.surprise(codes, batch.y).mean()
        yield "net", loss, {"bits": loss * self.net.places / math.log(2)}

    def surprise(self, codes: Int64[Tensor, "b places"], y: Int64[Tensor, "b"]) -> Float[Tensor, "b places"]:
        """-log p(code | class, codes before it), in nats."""
        # Place i is guessed from the codes before i: the last one is never looked at.
        logits = self.modules["net"](y, codes[:, :-1])
        return F.cross_entropy(logits.float().transpose(1, 2), codes, reduction="none")

    @torch.no_grad()
    def bits(self, x: Float[Tensor, "n c h w"], y: Int64[Tensor, "n"]) -> Float[Tensor, "n"]:
        """How many bits the codes of each picture cost under the prior, if its class is known; on the CPU."""
        device = self.inner.where.device
        parts = zip(self.codec.encode(x).flatten(1).split(PART), y.split(PART), strict=True)
        nats = [self.surprise(codes.to(device), classes.to(device)).sum(1).cpu() for codes, classes in parts]
        return torch.cat(nats) / math.log(2)

    @torch.no_grad()
    def write(
        self,
        y: Int64[Tensor, "b"],
        generator: Generator,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        begin: Int64[Tensor, "b n"] | None = None,
    ) -> Int64[Tensor, "b places"]:
        """Codes for pictures of the classes y, one place after the other, on the CPU.

        `begin`, if given, are the codes of the first n places: the rest is written to go with them. `temperature` and
        `top_k` as in `sharpen`.
        """
        device = self.inner.where.device
        y, past = y.to(device), self.inner.remember()
        codes = y.new_empty(len(y), 0) if begin is None else begin.to(device)
        while codes.shape[1] < self.net.places:
            logits = self.modules["net"](y, codes, past)[:, -1]
            code = choose(sharpen(logits, temperature, top_k), generator)
            codes = torch.cat([codes, code[:, None]], 1)
        return codes.cpu()

    def pictures(
        self,
        count: int,
        generator: Generator,
        y: Int64[Tensor, "count"] | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Float[Tensor, "count c h w"]:
        """`count` new pictures in [-1, 1], of the classes y; by default 0, 1, .. 9, 0, .. in turn."""
        y = torch.arange(count) % self.net.classes if y is None else y
        return self.codec.decode(square(self.write(y, generator, temperature=temperature, top_k=top_k)))


@dataclass
class PlaceByPlace:
    """What the prior must beat: every place draws its code by itself, with chances of its own.

    `chances` says how likely each code is at each place; a row sums to 1.
    """

    codec: VQVAE
    chances: Float[Tensor, "places codes"]

    def pictures(self, count: int, generator: Generator) -> Float[Tensor, "count c h w"]:
        """`count` pictures in [-1, 1] whose codes know nothing of each other."""
        return self.codec.decode(square(choose(self.chances.expand(count, -1, -1), generator)))

    def bits(self, codes: Int64[Tensor, "n places"]) -> Float[Tensor, "n"]:
        """How many bits the codes of each picture cost under these chances."""
        chances = self.chances.expand(len(codes), -1, -1).gather(2, codes[..., None])[..., 0]
        return -chances.log2().sum(1)


def uniform(codec: VQVAE, places: int = 49) -> PlaceByPlace:
    """Every code equally likely at every place: the prior that stands in the VQ-VAE's own loss (section 3.2)."""
    return PlaceByPlace(codec, torch.full((places, codec.size), 1 / codec.size))


def marginals(codec: VQVAE, codes: Int64[Tensor, "n places"]) -> PlaceByPlace:
    """Every code as likely at a place as it is there in the given codes.

    Each is counted once more than it occurs, so that none is impossible.
    """
    counts = torch.stack([frequency(place, codec.size) * len(codes) for place in codes.T])
    return PlaceByPlace(codec, (counts + 1) / (len(codes) + codec.size))


def sharpen(logits: Float[Tensor, "*b k"], temperature: float = 1.0, top_k: int | None = None) -> Float[Tensor, "*b k"]:
    """Chances from logits. Below temperature 1 the likely become likelier; `top_k` leaves only the k likeliest.

    Raises: ValueError if the temperature is not positive, or top_k is not in 1..K.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}: for the likeliest code alone, use top_k=1")
    if top_k is not None:
        if not 1 <= top_k <= logits.shape[-1]:
            raise ValueError(f"top_k must be in 1..{logits.shape[-1]}, got {top_k}")
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    return (logits / temperature).softmax(-1)


def choose(chances: Float[Tensor, "*b k"], generator: Generator) -> Int64[Tensor, "*b"]:
    """One number 0..k-1 by chance for each row: the first whose running sum of chances passes a random number.

    The random numbers come from a CPU generator, so they are the same on every device.
    """
    passed = chances.cumsum(-1)
    at = torch.rand(chances.shape[:-1], generator=generator).to(chances.device)
    # Rounding may leave the last sum a hair below 1: divided by it, it is passed for certain.
    return (passed / passed[..., -1:] <= at[..., None]).sum(-1)


def square(codes: Int64[Tensor, "n places"]) -> Int64[Tensor, "n side side"]:
    """Rows of codes as maps."""
    side = math.isqrt(codes.shape[1])
    return codes.unflatten(1, (side, side))
