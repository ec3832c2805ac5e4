"""unCLIP's autoregressive prior (Ramesh et al. 2022, arXiv:2204.06125, section 2.2), on one page.

The other way to draw an image embedding for a caption: make it a short sentence. Each of its principal components, the
largest first, is put into one of a few buckets; a causal transformer that has read the caption says how likely each
bucket is, and they are drawn one after the other. A word before the first says how well picture and caption agree.

    prior = ArPrior(clip=clip)
    prior.fit(data.x, data.y)                    components and buckets; then train on data, as made by `embedded`
    prior.embeddings(tokens, generator)          one image embedding for each caption
    prior.ceiling(z)                             the cosine that is left once embeddings have been buckets
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import log

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edu_diffusion.conditioning import drop
from edu_diffusion.nets import Transformer, learned_places
from edu_diffusion.nets.transformer import Past
from edu_diffusion.systems.code_prior import choose, known, sharpen
from edu_diffusion.systems.frozen_clip import unsigned
from edu_diffusion.systems.prior import PART, Embeddings, FromCaption, heard, told
from edu_diffusion.types import Batch, Cond, Rng

Codes = Int64[Tensor, "n count"]


class PrincipalCodes(nn.Module):
    """An embedding as `count` numbers 0..buckets-1, and back. It is fitted, not trained.

    Number i says in which bucket the i-th principal component lies; the buckets of a component are equally full. On the
    way back a bucket stands for the mean of what lay in it. All is 0 until `fit`.
    """

    def __init__(self, size: int = 64, count: int = 20, buckets: int = 12):
        super().__init__()
        if not 1 <= count <= size or buckets < 2:
            raise ValueError(f"wanted 1..{size} components and at least 2 buckets, got {count} and {buckets}")
        self.count, self.buckets = count, buckets
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(count, size))
        self.register_buffer("edges", torch.zeros(count, buckets - 1))
        self.register_buffer("centres", torch.zeros(count, buckets))

    @torch.no_grad()
    def fit(self, z: Embeddings) -> None:
        """Learn the components and their buckets, from many embeddings.

        Raises: ValueError if there are fewer than ten embeddings for a bucket.
        """
        if len(z) < 10 * self.buckets:
            raise ValueError(f"{self.buckets} buckets need at least {10 * self.buckets} embeddings, got {len(z)}")
        self.mean.copy_(z.mean(0))
        # Principal components are the covariance's eigenvectors; eigh gives the one with the largest value last.
        vectors = torch.linalg.eigh(z.double().T.cov())[1].flip(1)[:, : self.count].T
        # The sign of an eigenvector is free: its largest number is made positive, so that a fit can be repeated.
        largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        self.components.copy_(vectors * largest.sign())
        scores = self.scores(z)
        self.edges.copy_(quantiles(scores, self.buckets))
        chose = F.one_hot(self.encode(z), self.buckets).to(scores)
        self.centres.copy_((chose * scores[..., None]).sum(0) / chose.sum(0).clamp(min=1))

    def scores(self, z: Embeddings) -> Float[Tensor, "n count"]:
        """The principal components of embeddings, the one that varies most first."""
        return (z - self.mean) @ self.components.T

    def encode(self, z: Embeddings) -> Codes:
        """The buckets of embeddings."""
        return torch.searchsorted(self.edges, self.scores(z).T.contiguous(), right=True).T.contiguous()

    def decode(self, codes: Codes) -> Embeddings:
        """The embeddings that buckets stand for, of length 1."""
        scores = self.centres[torch.arange(self.count, device=codes.device), codes]
        return F.normalize(scores @ self.components + self.mean, dim=1)


def quantiles(values: Float[Tensor, "n k"], parts: int) -> Float[Tensor, "k edges"]:
    """The parts - 1 edges that cut each column of values into equally full parts."""
    at = torch.arange(1, parts, device=values.device, dtype=values.dtype) / parts
    return values.sort(0).values[(at * len(values)).long()].T.contiguous()


class ArNet(nn.Module):
    """A causal transformer over the caption's tokens, the text embedding, the level of the dot product, and the codes
    so far. It says of each code how likely every bucket is; at the start all are equally likely.

    `size`, `text` and `length` as in `PriorNet`; `levels` is how many levels of the dot product there are.
    """

    def __init__(
        self,
        codec: PrincipalCodes | None = None,
        *,
        text: int = 96,
        length: int = 24,
        width: int = 128,
        depth: int = 4,
        levels: int = 8,
    ):
        super().__init__()
        self.codec = codec or PrincipalCodes()
        count, buckets, size = self.codec.count, self.codec.buckets, len(self.codec.mean)
        self.size, self.text_width, self.length, self.levels = size, text, length, levels
        self.register_buffer("dot_edges", torch.zeros(levels - 1))
        self.register_buffer("made_for", unsigned())
        self.words, self.text = nn.Linear(text, width), nn.Linear(size, width)
        self.level = nn.Embedding(levels + 1, width)  # the last one stands for "not said"
        self.code = nn.Embedding(count * buckets, width)
        for table in (self.level, self.code):
            nn.init.normal_(table.weight, std=0.02)
        self.where = learned_places(length + 1 + count, width)
        self.body = Transformer(width, depth, causal=True)
        # A bucket of one component has nothing in common with that of another: each code has its own last layer.
        self.leave = nn.Parameter(torch.zeros(count, width, buckets))
        self.bias = nn.Parameter(torch.zeros(count, buckets))

    def forward(
        self, cond: Cond, level: Int64[Tensor, "b"], before: Int64[Tensor, "b m"], past: list[Past] | None = None
    ) -> Float[Tensor, "b k buckets"]:
        """The logits of codes 0..m, from the caption, the level and the first m codes.

        With `past` (from `remember`) only those of the codes that were not asked for in the calls before.
        """
        sequence, mask, prefix = self.sequence(cond, level, before)
        start = known(past)
        hidden = self.body(sequence[:, start:], mask, past)
        # The first guess is made at the prefix's last token.
        first = max(start, prefix - 1)
        hidden, code = hidden[:, first - start :], slice(first - prefix + 1, before.shape[1] + 1)
        return torch.einsum("bkw,kwc->bkc", hidden, self.leave[code]) + self.bias[code]

    def sequence(self, cond: Cond, level: Tensor, before: Tensor) -> tuple[Tensor, Tensor, int]:
        """All tokens, which of them are real, and how many come before the codes."""
        words, mask = heard(cond, self.length)
        # Whoever is told no caption is not told how well it agrees with it either.
        level = level.masked_fill(~cond.vec.any(1), self.levels)
        codes = before + self.codec.buckets * torch.arange(before.shape[1], device=before.device)
        others = [self.text(cond.vec * self.size**0.5)[:, None], self.level(level)[:, None], self.code(codes)]
        places = [self.where[:, : words.shape[1]], self.where[:, self.length : self.length + 2 + before.shape[1]]]
        sequence = torch.cat([self.words(words), *others], 1) + torch.cat(places, 1)
        prefix = words.shape[1] + 2
        return sequence, torch.cat([mask, mask.new_ones(len(before), 2 + before.shape[1])], 1), prefix

    def levels_of(self, dot: Float[Tensor, "n"]) -> Int64[Tensor, "n"]:
        """The levels of dot products, 0..levels-1: equally frequent in the embeddings of the fit."""
        return torch.searchsorted(self.dot_edges.to(dot), dot, right=True)

    def remember(self) -> list[Past]:
        """An empty past, to hand to `forward` while an embedding is written code by code."""
        return self.body.remember()


@dataclass(kw_only=True)
class ArPrior(FromCaption):
    """The recipe: guess each code of an image embedding from the caption and the codes before it.

    `examples`, if given, makes a batch for `fit` when training begins.
    """

    net: ArNet = field(default_factory=ArNet)
    examples: Callable[[], Batch] | None = None

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    @torch.no_grad()
    def fit(self, z: Embeddings, tokens: Int64[Tensor, "n length"]) -> None:
        """Learn components, buckets, and the levels of the dot product, from many embeddings and their captions."""
        self.inner.codec.fit(z.to(self.inner.dot_edges.device))
        texts = torch.cat([self.eyes.text_emb(part).cpu() for part in tokens.split(PART)])
        self.inner.dot_edges.copy_(quantiles((z.cpu() * texts).sum(1, keepdim=True), self.inner.levels)[0])
        self.sign()

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: the cross-entropy of each code, in nats; the mean over all. Measures the bits of an embedding.

        Raises: ValueError if there are no components and buckets yet.
        """
        if not self.inner.codec.components.any() and self.examples is not None:
            examples = self.examples()
            self.fit(examples.x, examples.y)
        self._check_fitted()
        cond, codes = told(self.eyes, batch.y), self.inner.codec.encode(batch.x)
        level = self.inner.levels_of((batch.x * cond.vec.to(batch.x)).sum(1))
        # Code i is guessed from the codes before i: the last one is never looked at.
        logits = self.modules["net"](drop(cond, self.null, self.p_uncond, rng), level, codes[:, :-1])
        loss = F.cross_entropy(logits.float().transpose(1, 2), codes)
        yield "net", loss, {"bits": loss * codes.shape[1] / log(2)}

    @torch.no_grad()
    def embeddings(
        self,
        tokens: Int64[Tensor, "n length"],
        generator: Generator,
        *,
        scale: float = 1.0,
        temperature: float = 1.0,
        level: int | None = None,
    ) -> Embeddings:
        """An image embedding for each caption, of length 1, on the CPU.

        `level`, 0..levels-1, is how well it shall agree with the caption; if it is not given, one of the upper half is
        drawn for each, as in the paper. `scale` is that of guidance, of which 1 is off; `temperature` as in `sharpen`.

        Raises: ValueError if there is no such level, or there are no components and buckets yet.
        """
        self._check_fitted()
        levels = self.inner.levels
        if level is not None and not 0 <= level < levels:
            raise ValueError(f"level must be in 0..{levels - 1}, got {level}")
        parts = []
        for part in tokens.split(PART):
            upper = torch.randint(levels // 2, levels, (len(part),), generator=generator)
            asked = upper if level is None else torch.full_like(upper, level)
            codes = self._write(told(self.eyes, part.to(self.inner.bias.device)), asked, generator, scale, temperature)
            parts.append(self.inner.codec.decode(codes).cpu())
        return torch.cat(parts)

    def _write(self, cond: Cond, level: Tensor, generator: Generator, scale: float, temperature: float) -> Codes:
        """Codes for these captions, one after the other. Guided, each is asked for with and without the caption."""
        net, past, n = self.modules["net"], self.inner.remember(), len(level)
        level = level.to(self.inner.bias.device)
        if scale != 1:
            cond, level = Cond.cat([cond, self.null.to(cond.vec.device).expand(n)]), level.repeat(2)
        codes = level.new_empty(n, 0)
        while codes.shape[1] < self.inner.codec.count:
            logits = net(cond, level, codes.repeat(len(level) // n, 1), past)[:, -1]
            if scale != 1:
                logits = torch.lerp(logits[n:], logits[:n], scale)
            code = choose(sharpen(logits, temperature), generator)
            codes = torch.cat([codes, code[:, None]], 1)
        return codes

    @torch.no_grad()
    def ceiling(self, z: Embeddings) -> float:
        """The mean cosine of embeddings with what is left of them once they have been codes: the cost of rounding."""
        self._check_fitted()
        codec = self.inner.codec
        return F.cosine_similarity(codec.decode(codec.encode(z.to(codec.mean))), z.to(codec.mean)).mean().item()

    def _check_fitted(self) -> None:
        if not self.inner.codec.components.any():
            raise ValueError("there are no components and buckets yet: call fit(embeddings, tokens) before training")
