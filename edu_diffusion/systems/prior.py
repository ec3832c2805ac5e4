"""unCLIP's diffusion prior (Ramesh et al. 2022, arXiv:2204.06125, section 2.2), on one page.

A caption leaves open what it does not say, so many image embeddings fit it. The prior draws one of them. It is a
diffusion model like all the others here: the same process, loss and loop. Only its data are not pictures but vectors,
the image embeddings of a frozen CLIP; its network is a transformer; and it guesses the clean vector itself.

    data = embedded(clip, scenes)                     image embeddings, and their captions' tokens
    prior = DiffusionPrior(clip=clip)
    prior.fit(data.x)                                 how far the embeddings spread; then train on data
    prior.embeddings(tokens, generator)               one image embedding for each caption
    prior.embeddings(tokens, generator, scale=2.0, best_of=1, steps=8)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edu_diffusion.conditioning import drop
from edu_diffusion.data import Dataset
from edu_diffusion.diffusion import (
    X0,
    ClassifierFree,
    NoiseSchedule,
    Rule,
    Target,
    cosine,
    ddim,
    generate,
)
from edu_diffusion.nets import TimeEmbedding, Transformer, learned_places
from edu_diffusion.nets.transformer import Past
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.systems.frozen_clip import Clip, OnClip, unsigned
from edu_diffusion.types import Batch, Cond, Rng

PART = 500  # examples that CLIP or the prior is asked about at a time
STEPS = 32  # of DDIM, where nothing else is said
Embeddings = Float[Tensor, "n size"]


def told(clip: Clip, tokens: Int64[Tensor, "n length"]) -> Cond:
    """What a prior is told of captions: CLIP's text embedding as `vec`, its states of the tokens as `tokens`."""
    with torch.no_grad():
        return Cond(vec=clip.text_emb(tokens), tokens=clip.text_states(tokens), mask=tokens != 0).to(tokens.device)


class PriorNet(nn.Module):
    """A causal transformer over the caption's tokens, the text embedding, the time, the noised image embedding, and a
    learned query. What comes out at the query is the guess of the clean image embedding.

    `size` is that of CLIP's embeddings, `text` the width of its token states, `length` the longest caption. The network
    sees scaled embeddings: each number minus its mean, over its standard deviation. Both are kept with the weights, and
    so is the fingerprint of their CLIP; all are 0 until `DiffusionPrior.fit`.

    Source: unCLIP (arXiv:2204.06125), section 2.2.
    """

    def __init__(self, size: int = 64, *, text: int = 96, length: int = 24, width: int = 128, depth: int = 4):
        super().__init__()
        self.size, self.text_width, self.length = size, text, length
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.zeros(size))
        self.register_buffer("made_for", unsigned())
        self.words, self.text, self.noised = nn.Linear(text, width), nn.Linear(size, width), nn.Linear(size, width)
        self.time = TimeEmbedding(width)
        self.query = learned_places(1, width)
        self.where = learned_places(length + 3, width)
        self.body = Transformer(width, depth, causal=True)
        self.leave = nn.Linear(width, size)

    def forward(
        self, x_t: Float[Tensor, "b size"], t: Float[Tensor, "b"], cond: Cond | None = None
    ) -> Float[Tensor, "b size"]:
        """The guess of x0, scaled as x_t is.

        There may be several x_t for a caption, one after the other. Nothing of the caption sees what comes after it, so
        it is read once for all of them.

        Raises: ValueError if the condition has not a text embedding, token states and their mask, or if the x_t cannot
        be shared out evenly among the captions.
        """
        past, mask = self.read(cond)
        if len(x_t) % len(mask):
            raise ValueError(f"every caption needs equally many x_t, got {len(x_t)} for {len(mask)} captions")
        each = len(x_t) // len(mask)
        for block in past:
            block.key, block.value = (part.repeat_interleave(each, 0) for part in (block.key, block.value))
        asked = torch.stack([self.time(t), self.noised(x_t)], 1) + self.where[:, -2:]
        asked = torch.cat([asked, self.query.expand(len(x_t), -1, -1)], 1)
        mask = torch.cat([mask.repeat_interleave(each, 0), mask.new_ones(len(x_t), 3)], 1)
        return self.leave(self.body(asked, mask, past)[:, -1])

    def read(self, cond: Cond | None) -> tuple[list[Past], Bool[Tensor, "b n"]]:
        """What the blocks keep of a caption and its text embedding, and which of the tokens are real."""
        words, mask = heard(cond, self.length)
        count = words.shape[1]
        # A unit vector's numbers are about 1 / sqrt(size): the layer wants numbers of about 1.
        text = self.text(cond.vec * self.size**0.5)[:, None] + self.where[:, self.length : self.length + 1]
        past, mask = self.body.remember(), torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        self.body(torch.cat([self.words(words) + self.where[:, :count], text], 1), mask, past)
        return past, mask

    def scaled(self, z: Embeddings) -> Embeddings:
        """Embeddings as the network sees them: mean 0 and variance 1 in each number."""
        return (z - self.mean.to(z)) / self.std.to(z)

    def unscaled(self, x: Embeddings) -> Embeddings:
        """Back to CLIP's embeddings, and to their length, 1."""
        return F.normalize(x * self.std.to(x) + self.mean.to(x), dim=1)


def heard(cond: Cond | None, length: int) -> tuple[Float[Tensor, "b n text"], Tensor]:
    """The condition's tokens and their mask, as far as any caption reaches: what is padding for all is left away.

    Raises: ValueError if the condition is no caption's, or has more than `length` tokens.
    """
    if cond is None or cond.vec is None or cond.tokens is None or cond.mask is None:
        raise ValueError("a prior is told a caption: give it a Cond with vec, tokens and mask, as `told` makes it")
    if cond.tokens.shape[1] > length:
        raise ValueError(f"this prior was built for captions of {length} tokens, got {cond.tokens.shape[1]}")
    longest = int(cond.mask.any(0).sum())
    return cond.tokens[:, :longest], cond.mask[:, :longest]


@dataclass(kw_only=True)
class FromCaption(OnClip):
    """What both kinds of prior have in common: they draw an image embedding for what a frozen CLIP says of a caption.

    A batch holds image embeddings as x and captions' tokens as y: see `embedded`. The caption is left out for one
    example in ten, for guidance.
    """

    p_uncond: float = 0.1

    @property
    def null(self) -> Cond:
        """The condition that stands for "no caption", with batch size 1: no token to look at, and a vector of zeros.

        No text embedding is 0, for all have length 1.
        """
        net, mask = self.inner, torch.zeros(1, self.inner.length, dtype=torch.bool)
        return Cond(vec=torch.zeros(1, net.size), tokens=torch.zeros(1, net.length, net.text_width), mask=mask)

    def check(self, batch: Batch) -> None:
        """Refuse what are not unit vectors with the tokens of a caption for each.

        Raises: ValueError saying what was given.
        """
        if batch.x.ndim != 2 or batch.y is None or batch.y.ndim != 2:
            raise ValueError("a prior learns from image embeddings and captions' tokens: make them with embedded(...)")
        lengths = batch.x.norm(dim=1)
        if (lengths - 1).abs().max() > 1e-3:
            raise ValueError(f"image embeddings have length 1, got lengths {lengths.min():.4g} to {lengths.max():.4g}")

    def condition(self, batch: Batch, rng: Rng) -> Cond:
        """The caption of each example, or none."""
        return drop(told(self.eyes, batch.y), self.null, self.p_uncond, rng)


@dataclass(kw_only=True)
class DiffusionPrior(FromCaption, DDPM):
    """The recipe: guess the clean image embedding, with the squared error of that guess (section 2.2).

    `examples`, if given, makes the embeddings for `fit` when training begins. Each embedding of a batch is noised in
    `noisings` ways, to times of their own: its caption is read once for all.
    """

    net: PriorNet = field(default_factory=PriorNet)
    schedule: NoiseSchedule = field(default_factory=cosine)
    target: Target = X0
    examples: Callable[[], Embeddings] | None = None
    noisings: int = 4

    @torch.no_grad()
    def fit(self, z: Embeddings) -> None:
        """Learn how the image embeddings spread, from many of them.

        Raises: ValueError if a number is the same in all of them.
        """
        std = z.std(0)
        if not std.min() > 0:
            raise ValueError(f"number {int(std.argmin())} is the same in all {len(z)} embeddings: give many different")
        self.inner.mean.copy_(z.mean(0))
        self.inner.std.copy_(std)
        self.sign()

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: DDPM's, on the scaled embeddings. The caption is left out for all noisings, or for none.

        Raises: ValueError if it is not known how the embeddings spread.
        """
        if not self.inner.std.any() and self.examples is not None:
            self.fit(self.examples())
        self._check_fitted()
        x0 = self.inner.scaled(batch.x).repeat_interleave(self.noisings, 0)
        t, weight = self.memory["times"].draw(len(x0), rng)
        loss = self.loss(self.denoiser, x0, t, rng.normal_like(x0), self.condition(batch, rng))
        self.memory["times"].update(t, loss, rng)
        yield "net", (loss * weight.to(loss)).mean(), {}

    def guided(self, scale: float) -> ClassifierFree:
        """The denoiser with guidance towards the caption. 1 is off."""
        return ClassifierFree(self.denoiser, scale, self.null)

    @torch.no_grad()
    def embeddings(
        self,
        tokens: Int64[Tensor, "n length"],
        generator: Generator,
        *,
        scale: float = 1.0,
        steps: int = STEPS,
        best_of: int = 2,
        rule: Rule | None = None,
    ) -> Embeddings:
        """An image embedding for each caption, of length 1, on the CPU.

        As in the paper two are drawn, and the one whose dot product with the text embedding is larger is kept; with
        `best_of=1` the first is. In one step it is no prior but a regression: the mean of all that fits the caption.

        Raises: ValueError if best_of is less than 1, or it is not known how the embeddings spread.
        """
        if best_of < 1:
            raise ValueError(f"best_of must be at least 1, got {best_of}")
        self._check_fitted()
        options = {"steps": steps, "rule": rule or ddim(), "generator": generator}
        parts = []
        for part in tokens.split(PART):
            cond = told(self.eyes, part.to(self.denoiser.device))
            often = cond.select(torch.arange(len(part)).repeat_interleave(best_of))
            x = generate(self.guided(scale), (len(often), self.inner.size), cond=often, **options)
            drawn = self.inner.unscaled(x).unflatten(0, (len(part), best_of))
            parts.append(nearest_to(drawn, cond.vec.to(drawn)).cpu())
        return torch.cat(parts)

    def _check_fitted(self) -> None:
        if not self.inner.std.any():
            raise ValueError(
                "it is not known yet how the image embeddings spread: call fit(embeddings) before training"
            )


def nearest_to(drawn: Float[Tensor, "n k size"], text_emb: Float[Tensor, "n size"]) -> Float[Tensor, "n size"]:
    """Of the k embeddings drawn for each caption the one with the largest dot product with its text embedding.

    Source: unCLIP (arXiv:2204.06125), section 2.2.
    """
    best = torch.einsum("nkd,nd->nk", drawn, text_emb).argmax(1)
    return drawn[torch.arange(len(drawn)), best]


@torch.no_grad()
def embedded(clip: Clip, data: Dataset, count: int | None = None) -> Batch:
    """The image embeddings of the first `count` pictures of `data`, and their captions' tokens; on the CPU.

    CLIP is frozen, so this is computed once, and training never sees a picture.
    """
    count = len(data) if count is None else min(count, len(data))
    parts = [data[index] for index in torch.arange(count).split(PART)]
    return Batch(torch.cat([clip.image_emb(part.x).cpu() for part in parts]), torch.cat([part.y for part in parts]))
