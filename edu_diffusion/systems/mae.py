"""MAE: the masked autoencoder (He et al. 2021, arXiv:2111.06377), on one page.

A picture is cut into patches, and three of four are hidden. A transformer, the encoder, sees the visible ones, and
those alone. A second, light one, the decoder, gets what the encoder says of them, a mark "hidden" for all others, and
every patch's place; it guesses the pixels. What counts is the squared error of the hidden patches.

The decoder is there for the training. What is wanted is the encoder: of a whole picture it makes features, and how much
they know is measured by a linear probe.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.layers import zeroed
from edu_diffusion.nets.transformer import Block, Transformer
from edu_diffusion.nets.vit import ViT, grid_places, patchify, unpatchify
from edu_diffusion.types import Batch, Rng, check_pictures

Pictures = Float[Tensor, "b c h w"]
Chance = Float[Tensor, "b rows columns"]
Kept = Int[Tensor, "b k"]
Masking = Callable[[Chance, int], Kept]
BATCH = 500  # pictures looked at together


def at_random(chance: Chance, visible: int) -> Kept:
    """The numbers of the `visible` patches that are shown: in each example those with the smallest chance.

    `chance` holds a number in [0, 1) for each patch of each example.

    Source: MAE (arXiv:2111.06377), section 3, "Masking": uniform, without replacement.
    """
    return chance.flatten(1).argsort(1)[:, :visible]


def around_a_block(chance: Chance, visible: int) -> Kept:
    """The same, but what is hidden is one block: those patches are shown that lie farthest from a chosen one.

    The paper compares with blocks as BEiT draws them (arXiv:2106.08254), which are several; here it is a single one.
    """
    rows, columns = chance.shape[1:]
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    centre = places[chance.flatten(1).argmax(1)]
    # Whole numbers, the same in a ring around the centre; chance, below 1, decides within a ring.
    distance = (places - centre[:, None]).abs().amax(-1) + chance.flatten(1)
    return distance.argsort(1, descending=True)[:, :visible]


def hidden(keep: Kept, count: int) -> Bool[Tensor, "b count"]:
    """Of `count` patches, True at those that are not among the numbers in `keep`."""
    return torch.ones(len(keep), count, dtype=torch.bool, device=keep.device).scatter(1, keep, False)


def patch_error(
    guess: Float[Tensor, "b n d"], target: Float[Tensor, "b n d"], where: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """The mean squared error over the patches where `where` is True; all others do not count."""
    error = (guess - target).square().mean(-1)
    return (error * where).sum() / where.sum()


def normalised(patches: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Each patch with mean 0 and variance 1 of its own: what is left is its pattern. A plain patch becomes 0.

    Source: MAE (arXiv:2111.06377), section 3, "Reconstruction target".
    """
    return (patches - patches.mean(-1, keepdim=True)) / _spread(patches)


def _spread(patches: Float[Tensor, "b n d"]) -> Float[Tensor, "b n one"]:
    return (patches.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()


class PatchDecoder(nn.Module):
    """From the tokens of the visible patches to a guess of the pixels of all."""

    def __init__(self, encoder: ViT, width: int = 96, depth: int = 2, head_width: int = 32):
        super().__init__()
        self.count = encoder.count
        self.enter = nn.Linear(encoder.width, width)
        self.mask = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.register_buffer("places", grid_places(*encoder.grid, width), persistent=False)
        self.body = Transformer(width, depth, head_width=head_width)
        self.leave = nn.Linear(width, encoder.channels * encoder.patch**2)

    def forward(self, tokens: Float[Tensor, "b k width"], keep: Kept) -> Float[Tensor, "b n d"]:
        """Each visible token at the place where it was cut out, the mask token at all others."""
        seen = self.enter(tokens)
        index = keep[..., None].expand_as(seen)
        everywhere = self.mask.to(seen.dtype).expand(len(seen), self.count, -1).scatter(1, index, seen)
        return self.leave(self.body(everywhere + self.places))


class MAENet(nn.Module):
    """Encoder and decoder."""

    def __init__(self, encoder: ViT | None = None, *, width: int = 96, depth: int = 2, head_width: int = 32):
        super().__init__()
        self.encoder = encoder or ViT()
        self.decoder = PatchDecoder(self.encoder, width, depth, head_width)

    def forward(self, x: Pictures, keep: Kept | None = None) -> Tensor:
        """With `keep`, a guess of all patches (b, n, d) that has seen only those.

        Without, the features (b, width): the mean over the tokens of the whole picture. The decoder has no part in it.
        """
        tokens = self.encoder(x, keep)
        return tokens.mean(1) if keep is None else self.decoder(tokens, keep)


@dataclass
class MAE:
    """The recipe: hide the share `ratio` of the patches, and guess them.

    `masking` says which; `everywhere` lets the visible patches count too; `normalise` makes the target each patch's
    pattern, without its mean and its contrast.

    Raises: ValueError if the ratio is not between 0 and 1.
    """

    net: MAENet = field(default_factory=MAENet)
    ratio: float = 0.75
    masking: Masking = at_random
    everywhere: bool = False
    normalise: bool = False

    def __post_init__(self):
        self.visible(self.ratio)
        self.modules: dict[str, nn.Module] = {"net": self.net}

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1]. Rows of numbers (height 1), as in toys, may lie anywhere.

        Raises: ValueError naming the range that was given.
        """
        if batch.x.shape[-2] > 1:
            check_pictures(batch.x)

    def visible(self, ratio: float | None = None) -> int:
        """How many patches are shown when the share `ratio` is hidden: at least one, and at least one is not.

        Raises: ValueError if the ratio is not between 0 and 1.
        """
        ratio = self.ratio if ratio is None else ratio
        if not 0 < ratio < 1:
            raise ValueError(f"the mask ratio is the share of hidden patches, between 0 and 1, got {ratio}")
        count = self.net.encoder.count
        return min(max(round((1 - ratio) * count), 1), count - 1)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: guess the hidden patches. Measures the error of hidden and of visible ones as well."""
        encoder = self.net.encoder
        chance = rng.uniform(len(batch) * encoder.count).view(-1, *encoder.grid)
        keep = self.masking(chance, self.visible()).to(batch.x.device)
        guess, target = self.modules["net"](batch.x, keep), self.target(batch.x)
        hide = hidden(keep, encoder.count)
        errors = {"hidden": patch_error(guess, target, hide), "visible": patch_error(guess, target, ~hide)}
        loss = patch_error(guess, target, torch.ones_like(hide)) if self.everywhere else errors["hidden"]
        yield "net", loss, {name: error.detach() for name, error in errors.items()}

    def target(self, x: Pictures) -> Float[Tensor, "b n d"]:
        """What should be guessed."""
        patches = patchify(x, self.net.encoder.patch)
        return normalised(patches) if self.normalise else patches

    def choose(
        self, count: int, generator: torch.Generator, ratio: float | None = None, masking: Masking | None = None
    ) -> Kept:
        """Which patches of `count` pictures are shown: as in training, unless told otherwise."""
        chance = torch.rand(count, *self.net.encoder.grid, generator=generator)
        return (masking or self.masking)(chance, self.visible(ratio))

    @torch.no_grad()
    def guess(self, x: Pictures, keep: Kept) -> Float[Tensor, "b n d"]:
        """The guess of all patches, on the CPU. Only the patches `keep` of x are looked at.

        With `normalise` the network guesses patterns; to look at them they are given the true mean and contrast of
        each patch, which nobody could know.
        """
        net, device = self.modules["net"], self._device
        parts = zip(x.split(BATCH), keep.split(BATCH), strict=True)
        guess = torch.cat([net(part.to(device), kept.to(device)).float().cpu() for part, kept in parts])
        if not self.normalise:
            return guess
        patches = patchify(x.cpu(), self.net.encoder.patch)
        return guess * _spread(patches) + patches.mean(-1, keepdim=True)

    def rebuild(self, x: Pictures, keep: Kept) -> Pictures:
        """The picture with the hidden patches guessed; the visible ones are its own."""
        encoder = self.net.encoder
        patches, hide = patchify(x.cpu(), encoder.patch), hidden(keep.cpu(), encoder.count)
        return unpatchify(torch.where(hide[..., None], self.guess(x, keep), patches), encoder.patch, encoder.size)

    @torch.no_grad()
    def features(self, x: Pictures) -> Float[Tensor, "b width"]:
        """The encoder's mean token of whole pictures."""
        return self.modules["net"](x.to(self._device))

    def error(self, x: Pictures, seed: int = 0, ratio: float | None = None, masking: Masking | None = None) -> float:
        """The mean squared error of hidden patches, with masks drawn by this seed."""
        encoder, keep = self.net.encoder, self.choose(len(x), torch.Generator().manual_seed(seed), ratio, masking)
        return patch_error(self.guess(x, keep), patchify(x, encoder.patch), hidden(keep, encoder.count)).item()

    @property
    def _device(self) -> torch.device:
        return next(self.modules["net"].parameters()).device


def cover(x: Pictures, keep: Kept, patch: int) -> Pictures:
    """The picture with its hidden patches grey: what the encoder does not see."""
    patches = patchify(x, patch)
    shown = torch.where(hidden(keep, patches.shape[1])[..., None], 0.0, patches)
    return unpatchify(shown, patch, x.shape[-2:])


def conditional_mean(
    x: Float[Tensor, "n"], hide: Bool[Tensor, "n"], mean: Float[Tensor, "n"], cov: Float[Tensor, "n n"]
) -> Float[Tensor, "n"]:
    """The best guess of the hidden numbers of a Gaussian vector from the visible ones, which stay as they are.

    For other vectors with this mean and covariance it is the best guess that is linear in what is seen. The covariance
    of the visible numbers must have an inverse.
    """
    seen, out = ~hide, x.clone()
    # E[x_h | x_v] = m_h + C_hv C_vv^-1 (x_v - m_v)
    out[hide] = mean[hide] + cov[hide][:, seen] @ torch.linalg.solve(cov[seen][:, seen], x[seen] - mean[seen])
    return out


def untrained(net: nn.Module) -> nn.Module:
    """A transformer with random weights in all its layers: what a trained one must beat. Changes it in place.

    As it is built, each block starts as the identity: its last layers are 0. Left so, it would do nothing but a norm,
    and beating it would say little; so these layers are drawn as all others are.
    """
    for block in net.modules():
        if isinstance(block, Block):
            block.out.reset_parameters()
            block.think[-1].reset_parameters()
    return net


class LabelledNet(nn.Module):
    """The encoder with a linear layer on its mean token."""

    def __init__(self, encoder: ViT | None = None, classes: int = 10):
        super().__init__()
        self.encoder = encoder or ViT()
        self.leave = nn.Linear(self.encoder.width, classes)

    def features(self, x: Pictures) -> Float[Tensor, "b width"]:
        """The mean token."""
        return self.encoder(x).mean(1)

    def forward(self, x: Pictures) -> Float[Tensor, "b classes"]:
        """The logits of the classes."""
        return self.leave(self.features(x))


@dataclass
class Labelled:
    """The recipe of the upper line: the same encoder sees whole pictures, and is told their class."""

    net: LabelledNet = field(default_factory=LabelledNet)

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: name the class. Measures the accuracy on the batch as well.

        Raises: ValueError when the batch has no labels.
        """
        if batch.y is None:
            raise ValueError("this network learns from labels, but the batch has none: give Batches data with y")
        logits = self.modules["net"](batch.x)
        yield "net", F.cross_entropy(logits, batch.y), {"accuracy": (logits.argmax(1) == batch.y).float().mean()}

    @torch.no_grad()
    def features(self, x: Pictures) -> Float[Tensor, "b width"]:
        """The mean token of whole pictures."""
        net = self.modules["net"]
        return net.features(x.to(next(net.parameters()).device))


def linear_probe(
    known: Float[Tensor, "n f"],
    y: Int[Tensor, "n"],
    asked: Float[Tensor, "m f"],
    truth: Int[Tensor, "m"],
    *,
    decay: float = 1e-4,
    steps: int = 200,
) -> float:
    """How much features know: the share, 0..1, of `asked` that logistic regression on `known` names right.

    Each feature is first scaled to mean 0 and variance 1 over `known`, as the paper does by a batch norm. The loss is
    convex, so L-BFGS finds its minimum from anywhere; `decay` is the weight of half the squared weights.

    Raises: ValueError for features that are not finite.
    Source: the protocol of MAE (arXiv:2111.06377), appendix A.1, "Linear probing", with another optimiser.
    """
    if not (known.isfinite().all() and asked.isfinite().all()):
        raise ValueError("features must be finite, but some are nan or infinite: did the training diverge?")
    mean, scale = known.mean(0), known.std(0)
    # A feature that hardly ever changes is not blown up.
    scale = scale.clamp(min=scale.max() / 100)
    known, asked = (known - mean) / scale, (asked - mean) / scale
    layer = zeroed(nn.Linear(known.shape[1], int(max(y.max(), truth.max())) + 1))
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(layer(known), y) + decay / 2 * layer.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return (layer(asked).argmax(1) == truth).float().mean().item()
