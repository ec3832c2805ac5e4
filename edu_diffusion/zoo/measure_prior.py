"""How the priors are measured: how near they come to the true embedding, and whether they draw all that fits.

The mean cosine with the true embedding is not enough. A prior that always answers with the mean of what fits a caption
scores higher there than one that draws as the world does: |m| against |m|^2, if m is that mean. So captions that leave
nearly everything open are asked again and again, and the draws are compared with the real pictures of each.
"""

import time
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor
from torch.nn import functional as F

from edu_diffusion.data.captions import Wanted, meaning
from edu_diffusion.data.scenes import (
    COLOURS,
    GROUNDS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Scenes,
    Thing,
    is_held_out,
    render,
)
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.ar_prior import ArPrior
from edu_diffusion.systems.clip import ClipRecipe
from edu_diffusion.systems.prior import DiffusionPrior, embedded
from edu_diffusion.training import pick_runtime
from edu_diffusion.types import Batch

SIDE = 32  # pixels that CLIP sees
DRAWS = 30  # of each vague caption
COPIES = 2  # real pictures of each variant, which differ by small shifts
Prior = DiffusionPrior | ArPrior
Sets = Float[Tensor, "captions each size"]


@dataclass(frozen=True)
class Vague:
    """Captions that name a shape and a colour and nothing else; `real` are embeddings of all that fits each.

    A variant is a size, a place and a ground: there are 30, each with `COPIES` pictures, and all are equally frequent.
    """

    captions: list[str]
    tokens: Int64[Tensor, "captions length"]
    real: Float[Tensor, "captions variants copies size"]


def vague(clip: ClipRecipe, count: int | None = None) -> Vague:
    """The first `count` vague captions, of all things that training has seen, in English; shapes take turns."""
    things = [Thing(shape, colour) for colour, shape in product(COLOURS, SHAPES)]
    things = [each for each in things if not is_held_out(variants_of(each)[0])][:count]
    captions = [f"{'an' if each.colour == 'orange' else 'a'} {each.colour} {each.shape}" for each in things]
    scenes = [scene for each in things for scene in variants_of(each) for _ in range(COPIES)]
    pictures = render(scenes, SIDE, split="test")
    real = clip.image_emb(pictures).cpu().view(len(things), -1, COPIES, clip.inner.to_emb.out_features)
    return Vague(captions, clip.tokenizer(captions), real)


def variants_of(thing: Thing) -> list[Scene]:
    """Every scene that a caption with this shape and colour alone fits."""
    kinds = product(SIZES, GROUNDS, PLACES)
    return [Scene((Thing(thing.shape, thing.colour, size),), ground, place=place) for size, ground, place in kinds]


def another(wanted: Wanted, generator: Generator) -> Scene:
    """A scene drawn from all that fit a caption: what it leaves open is drawn evenly."""

    def either(said: str | None, options: tuple[str, ...]) -> str:
        return said or options[int(torch.randint(len(options), (1,), generator=generator))]

    things = tuple(Thing(each.shape, each.colour, either(each.size, SIZES)) for each in wanted.things)
    ground = either(wanted.ground, GROUNDS)
    if len(things) == 1:
        return Scene(things, ground, place=either(wanted.place, PLACES))
    return Scene(things, ground, relation=either(wanted.relation, RELATIONS))


def again(clip: ClipRecipe, tokens: Int64[Tensor, "n length"], seed: int = 0) -> Float[Tensor, "n size"]:
    """The embeddings of other real pictures of the same captions: what a perfect prior draws."""
    generator = torch.Generator().manual_seed(seed)
    scenes = [another(meaning(text), generator) for text in clip.tokenizer.text(tokens)]
    parts = torch.arange(len(scenes)).split(500)
    pictures = (render([scenes[i] for i in part], SIDE, index=part.tolist(), seed=seed + 1) for part in parts)
    return torch.cat([clip.image_emb(part).cpu() for part in pictures])


def pair_cosine(z: Sets) -> float:
    """The mean cosine of two different embeddings of one caption: 1 if they are all the same."""
    n = z.shape[1]
    # |sum|^2 counts each pair twice, and each embedding with itself, which makes n.
    return ((z.sum(1).square().sum(1) - n) / (n * (n - 1))).mean().item()


def real_cosine(given: Vague) -> float:
    """The mean cosine of two real pictures, each drawn by chance from all that fit: what a perfect prior's draws have.

    They may be of one variant, but never the same picture: one is of the first copies, the other of the second.
    """
    one, two = given.real[:, :, 0].mean(1), given.real[:, :, 1].mean(1)
    return (one * two).sum(1).mean().item()


def nearest_real(z: Sets, given: Vague) -> tuple[Bool[Tensor, "captions each"], Int64[Tensor, "captions each"]]:
    """For each draw: whether the nearest real embedding of all belongs to its caption, and which variant of it is
    nearest."""
    to_own = torch.einsum("cnd,cvkd->cnvk", z, given.real).amax(3)
    to_any = torch.einsum("cnd,evkd->cnevk", z, given.real).amax((3, 4))
    own = torch.arange(len(z))[:, None]
    return to_any.argmax(2) == own, to_own.argmax(2)


def distinct(variant: Int64[Tensor, "captions each"], kinds: int) -> float:
    """How many different variants of a caption are among its draws, as a mean over the captions."""
    return F.one_hot(variant, kinds).any(1).sum(1).float().mean().item()


def expected_distinct(draws: int, kinds: int) -> float:
    """The same of draws in which every variant is equally likely."""
    return kinds * (1 - (1 - 1 / kinds) ** draws)


def drawn_sets(prior: Prior, given: Vague, seed: int = 0, draws: int = DRAWS, **options) -> Sets:
    """`draws` embeddings of each vague caption; `options` are those of `prior.embeddings`."""
    generator = torch.Generator().manual_seed(seed)
    z = prior.embeddings(given.tokens.repeat_interleave(draws, 0), generator, **options)
    return z.unflatten(0, (-1, draws))


def spread(z: Sets, given: Vague, seed: int = 0) -> dict[str, Measured]:
    """What the draws of vague captions say of a prior, each beside what real pictures score."""
    captions, draws, _ = z.shape
    real = given.real.flatten(1, 2)
    right, variant = nearest_real(z, given)
    own = right.float().mean().item()
    kinds, samples = given.real.shape[1], captions * draws
    # Every draw with every real embedding of its caption.
    cosine = torch.einsum("cnd,cmd->cnm", z, real).mean().item()
    real_pair = real_cosine(given)
    return {
        "vague_cosine": Measured("vague captions: cosine with a real one", cosine, samples, seed, floor=real_pair),
        "pair_cosine": Measured("vague captions: cosine of two draws", pair_cosine(z), samples, seed, floor=real_pair),
        "variants": Measured(
            f"variants among {draws} draws",
            distinct(variant, kinds),
            samples,
            seed,
            floor=expected_distinct(draws, kinds),
            unit=f"of {kinds}",
        ),
        "right": Measured("draws nearest to a real one of their caption", own, samples, seed, guess=1 / captions),
    }


def nearness(prior: Prior, data: Batch, seed: int = 0, **options) -> dict[str, Measured]:
    """The mean cosine with the true embedding, the same of the text embedding, and the time an embedding takes."""
    clip, samples, start = prior.eyes, len(data), time.perf_counter()
    z = prior.embeddings(data.y, torch.Generator().manual_seed(seed), **options)
    seconds = (time.perf_counter() - start) / samples
    cosine, text = (F.cosine_similarity(each, data.x).mean().item() for each in (z, clip.text_emb(data.y).cpu()))
    floor = F.cosine_similarity(again(clip, data.y, seed), data.x).mean().item()
    here = f"s, in batches on {pick_runtime().describe()}"
    return {
        "cosine": Measured("cosine with the true embedding", cosine, samples, seed, floor=floor),
        "text_cosine": Measured("the same of the text embedding", text, samples, seed, floor=floor),
        "seconds": Measured("time an embedding", seconds, samples, seed, unit=here),
    }


def measure_prior(
    system: Prior, seed: int = 0, samples: int = 1000, captions: int | None = None
) -> dict[str, Measured]:
    """Nearness on test captions and on held-out combinations, and the spread on vague captions.

    Floors are what other real pictures of the same captions score: a perfect prior's cosine, too, is below 1. Of the
    autoregressive prior also what its codes alone cost.
    """
    clip = system.eyes
    test, new = (
        embedded(clip, Scenes(clip.tokenizer, split=split, size=SIDE, count=samples)) for split in ("test", "held-out")
    )
    given = vague(clip, captions)
    found = nearness(system, test, seed) | spread(drawn_sets(system, given, seed), given, seed)
    found["new_cosine"] = nearness(system, new, seed)["cosine"]
    if isinstance(system, ArPrior):
        found["codes_cosine"] = Measured(
            "cosine that the codes leave", system.ceiling(test.x), samples, seed, floor=1.0
        )
    return found
