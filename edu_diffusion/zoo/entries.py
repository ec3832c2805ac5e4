"""The zoo's entries: what each is, how it is trained, and how it is measured. A new one is one entry here."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.diffusion import cosine
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.classifier import ClassifierRecipe
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Recipe
from edu_diffusion.zoo.measure import measure_classifier, measure_denoiser


@dataclass(frozen=True)
class Plan:
    """The numbers of a training: AdamW at `rate`, warmed up, then falling to 0; weights averaged with decay `ema`."""

    steps: int
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 0.0
    ema: float | None = 0.997
    flip: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """One model of the zoo. `build()` makes the untrained system; `measure(system, seed)` gives its results."""

    name: str
    about: str
    build: Callable[[], Recipe]
    plan: Plan
    measure: Callable[..., dict[str, Measured]]
    data: Callable[[], LabelledImages] = fashion


ENTRIES = {
    entry.name: entry
    for entry in [
        Entry(
            "fashion-classifier",
            "names the ten classes; its 128 features are what the metrics compare pictures by",
            ClassifierRecipe,
            Plan(steps=2300, batch=128, rate=2e-3, weight_decay=0.01, ema=None, flip=True),
            measure_classifier,
        ),
        Entry(
            "ddpm-fashion",
            "DDPM on Fashion-MNIST: linear schedule, predicts eps, simple loss",
            DDPM,
            Plan(steps=10_000),
            measure_denoiser,
        ),
        Entry(
            "ddpm-fashion-cosine",
            "the same with the cosine schedule",
            lambda: DDPM(schedule=cosine()),
            Plan(steps=10_000),
            measure_denoiser,
        ),
    ]
}


def find(name: str) -> Entry:
    """The entry of this name.

    Raises: ValueError, naming the nearest names, if there is none.
    """
    if name not in ENTRIES:
        near = difflib.get_close_matches(name, ENTRIES, n=3) or sorted(ENTRIES)
        raise ValueError(f"the zoo has no {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return ENTRIES[name]
