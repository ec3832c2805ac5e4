"""How a CLIP is measured, on test scenes: does a picture find its caption, and what in a caption does it notice?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data.captions import full_caption
from edu_diffusion.data.scenes import (
    COLOURS,
    GROUNDS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    is_held_out,
    render,
    scene_of,
    swapped,
)
from edu_diffusion.diffusion import q_sample
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.clip import SIDE, ClipRecipe

ATTRIBUTES = {
    "shape": SHAPES,
    "colour": COLOURS,
    "size": SIZES,
    "place": PLACES,
    "ground": GROUNDS,
    "relation": RELATIONS,
}


@dataclass(frozen=True)
class Wording:
    """What stands for a class: so many captions (0: the bare word), and what of them is averaged."""

    name: str
    captions: int
    mean_of: str = "embeddings"


MANY = Wording("256 captions, each asked", 256, "probabilities")
WORDINGS = {
    "bare": Wording("the bare word", 0),
    "one": Wording("one caption", 1),
    "mean": Wording("the mean of 256", 256),
    "many": MANY,
}
AMONG, SAMPLES = 256, 1024
TIMES = (1, 200, 400, 600, 800)  # at which a CLIP of noisy pictures is measured


def scenes(count: int, *, things: int | None = None, split: str = "test", seed: int = 0) -> list[Scene]:
    """The first scenes of a split."""
    return [scene_of(i, seed, split, things=things) for i in range(count)]


def groups(count: int, among: int = AMONG, seed: int = 0) -> list[list[Scene]]:
    """Test scenes in groups of `among`, in each of which no two scenes have the same full caption."""
    found, group, said, i = [], [], set(), 0
    while len(found) * among < count:
        scene, i = scene_of(i, seed, "test"), i + 1
        if (text := full_caption(scene)) not in said:
            group.append(scene)
            said.add(text)
        if len(group) == among:
            found.append(group)
            group, said = [], set()
    return found


def looked_at(clip: ClipRecipe, given: Sequence[Scene], seed: int = 0) -> Float[Tensor, "n d"]:
    """The embeddings of the scenes' pictures."""
    return clip.image_emb(render(given, SIDE, seed=seed, split="test"))


def read(clip: ClipRecipe, given: Sequence[Scene], language: str = "en") -> Float[Tensor, "n d"]:
    """The embeddings of the scenes' full captions, in wordings that go by their numbers."""
    return clip.read([full_caption(scene, language, i) for i, scene in enumerate(given)])


def retrieval(clip: ClipRecipe, given: Sequence[Sequence[Scene]], language: str = "en") -> tuple[float, float]:
    """Two shares, 0..1: of pictures that find their caption in their group, of captions that find their picture."""
    right = torch.zeros(2)
    for group in given:
        like = looked_at(clip, group) @ read(clip, group, language).T
        own = torch.arange(len(group), device=like.device)
        right += torch.stack([(like.argmax(axis) == own).float().mean().cpu() for axis in (1, 0)])
    return tuple((right / len(given)).tolist())


def having(scene: Scene, attribute: str, value: str) -> Scene:
    """The same scene with another value of one attribute; a shape, colour or size is that of the first thing."""
    if attribute not in ("shape", "colour", "size"):
        return replace(scene, **{attribute: value})
    first, *rest = scene.things
    return replace(scene, things=(replace(first, **{attribute: value}), *rest))


def class_captions(attribute: str, count: int, language: str = "en", seed: int = 0) -> list[list[str]]:
    """For each value of an attribute the captions that stand for it: `count` full ones, or for 0 the bare word.

    The captions of a class say all else at random: the same for every class, with another word. So a few of them name a
    shape in a colour that training held back. Otherwise one class would say "ring" where the others say "cross", and
    the ring would decide.
    """
    values = ATTRIBUTES[attribute]
    if count == 0:
        return [[value] for value in values]
    some = scenes(count, things=2 if attribute == "relation" else 1, split="train", seed=seed)
    return [
        [full_caption(having(scene, attribute, value), language, i) for i, scene in enumerate(some)] for value in values
    ]


def zero_shot(
    clip: ClipRecipe, attribute: str, wording: Wording = MANY, samples: int = SAMPLES, language: str = "en"
) -> float:
    """The share, 0..1, of test pictures of which an attribute is named right by what stands for a class."""
    given = scenes(samples, things=2 if attribute == "relation" else 1)
    of = [getattr(scene if hasattr(scene, attribute) else scene.things[0], attribute) for scene in given]
    truth = torch.tensor([ATTRIBUTES[attribute].index(value) for value in of])
    classes = class_captions(attribute, wording.captions, language)
    return (clip.nearest_class(looked_at(clip, given), classes, wording.mean_of) == truth).float().mean().item()


def exchanged(scene: Scene, what: str = "places") -> Scene | None:
    """A scene of two things with their "places" or their "colours" exchanged; None if that is no other scene.

    It is none either if the new scene is held out from training.

    Raises: ValueError if `what` is neither.
    """
    if what not in ("places", "colours"):
        raise ValueError(f'what must be "places" or "colours", got {what!r}')
    if what == "places":
        return swapped(scene)
    one, two = scene.things
    other = replace(scene, things=(replace(one, colour=two.colour), replace(two, colour=one.colour)))
    return None if one.colour == two.colour or is_held_out(other) else other


def told_apart(clip: ClipRecipe, what: str = "places", samples: int = SAMPLES, language: str = "en") -> float:
    """The share, 0..1, of pictures of two things that prefer their caption to that of the exchanged scene.

    `what` is exchanged: "places" or "colours". Both captions have the same words (a size may have another word for
    it, "big" for "large"): by chance it is one half.
    """
    pairs = [(scene, other) for scene in scenes(2 * samples, things=2) if (other := exchanged(scene, what))]
    mine, others = zip(*pairs[:samples], strict=True)
    x = looked_at(clip, mine)
    own, wrong = ((x * read(clip, some, language)).sum(1) for some in (mine, others))
    return preferred(own, wrong)


def counted(clip: ClipRecipe, samples: int = SAMPLES) -> float:
    """The share, 0..1, of pictures with one thing, or twice that thing, that prefer their caption to the other's.

    Training never shows two things that are quite alike, so it never asks for more than naming what there is.
    """
    ones = scenes(samples // 2, things=1)
    twos = [replace(one, things=2 * one.things, place=None, relation=RELATIONS[i % 2]) for i, one in enumerate(ones)]
    x = torch.cat([looked_at(clip, ones), looked_at(clip, twos)])
    one, two = read(clip, ones), read(clip, twos)
    own, wrong = torch.cat([one, two]), torch.cat([two, one])
    return preferred((x * own).sum(1), (x * wrong).sum(1))


def preferred(own: Float[Tensor, "n"], wrong: Float[Tensor, "n"]) -> float:
    """How often the first is larger; where both are equal it is half a time."""
    return ((own > wrong).float() + 0.5 * (own == wrong).float()).mean().item()


def languages(clip: ClipRecipe, samples: int = SAMPLES) -> tuple[float, float]:
    """The mean cosine of English captions with their Chinese translations, and with those of other scenes."""
    same, other = [], []
    for group in groups(samples, min(samples, AMONG)):
        like = read(clip, group) @ read(clip, group, "zh").T
        same.append(like.diagonal().mean().item())
        other.append(((like.sum() - like.trace()) / (like.numel() - len(like))).item())
    return mean(same), mean(other)


def gap(clip: ClipRecipe, samples: int = SAMPLES) -> float:
    """How far the mean embedding of pictures lies from that of their captions, 0..2: the modality gap.

    Source: Liang et al. 2022 (arXiv:2203.02053), section 2.
    """
    given = scenes(samples)
    return (looked_at(clip, given).mean(0) - read(clip, given).mean(0)).norm().item()


def measure_clip(system: ClipRecipe, seed: int = 0, samples: int = SAMPLES) -> dict[str, Measured]:
    """Retrieval in both languages, zero-shot accuracy of every attribute, exchanged pairs, counting, both languages.

    And how far pictures and captions lie apart, and the factor on the cosines.
    """
    given = groups(samples)
    found = {}

    def add(key: str, name: str, value: float, guess: float | None = None) -> None:
        found[key] = Measured(name, value, samples, seed, guess=guess)

    for language in ("en", "zh"):
        name = {"en": "English", "zh": "Chinese"}[language]
        picture, text = retrieval(system, given, language)
        add(f"finds_caption_{language}", f"pictures that find their {name} caption among {AMONG}", picture, 1 / AMONG)
        add(f"finds_picture_{language}", f"{name} captions that find their picture among {AMONG}", text, 1 / AMONG)
    for attribute, values in ATTRIBUTES.items():  # the other wordings are compared by the claim clip-zero-shot
        right = zero_shot(system, attribute, MANY, samples)
        add(f"zero_shot_{attribute}", f"{attribute} named right, for a class {MANY.name}", right, 1 / len(values))
    for what in ("places", "colours"):
        name = f"pictures that prefer their caption to the one with {what} exchanged"
        add(f"told_apart_{what}", name, told_apart(system, what, samples), 1 / 2)
    add("counted", "one thing told from two that are alike", counted(system, samples), 1 / 2)
    same, other = languages(system, samples)
    add("translations", "cosine of captions with their translations", same)
    add("not_translations", "cosine of captions with translations of others", other)
    add("gap", "distance of the mean picture from the mean caption", gap(system, samples))
    add("logit_scale", "factor on the cosines", system.logit_scale.item())
    return found


@torch.no_grad()
def measure_noised_clip(system: ClipRecipe, seed: int = 0, samples: int = SAMPLES) -> dict[str, Measured]:
    """How many noised pictures find their caption among 256, at several times; told the time."""
    given, generator = groups(samples), torch.Generator().manual_seed(seed)
    found = {}
    for t in TIMES:
        right = []
        for group in given:
            x = render(group, SIDE, split="test")
            x_t = q_sample(system.schedule, x, t, torch.randn(x.shape, generator=generator))
            like = system.image_emb(x_t, t) @ read(system, group).T
            right.append((like.argmax(1).cpu() == torch.arange(len(group))).float().mean())
        name = f"pictures that find their caption among {AMONG}, noised to t = {t}"
        found[f"finds_caption_{t}"] = Measured(name, torch.stack(right).mean().item(), samples, seed, guess=1 / AMONG)
    return found
