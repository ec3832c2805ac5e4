"""Claim of lesson 17, GLIDE: what a small network must be told of a caption, and by which text encoder."""

from collections.abc import Callable
from functools import partial

import torch

from edu_diffusion.conditioning.text import scene_tokenizer
from edu_diffusion.data import Batches
from edu_diffusion.data.reader import caption_accuracy
from edu_diffusion.data.scenes import Scenes
from edu_diffusion.systems.glide import SIDE, Glide, text_unet
from edu_diffusion.training import Checkpoint, Ema, adamw, pick_runtime, train
from edu_diffusion.zoo.claims.core import (
    Arms,
    Claim,
    Finding,
    Number,
    Numbers,
    check_budget,
    lower,
    over_seeds,
    verdict,
)
from edu_diffusion.zoo.loading import card
from edu_diffusion.zoo.measure_scenes import asked, drawn, real_accuracy, trained

CLIP = "clip-scenes"  # whose text tower it is
# About four minutes of one core for an arm, with the zoo's network. The same for all: no arm is tuned.
STEPS, BATCH, RATE, DECAY = 1200, 32, 2e-3, 0.99
SEEDS, SAMPLES = (0, 1, 2), 300
KINDS = ("number", "ground", "place", "relation", "colour", "shape", "size")


def from_clip(layout: int) -> Glide:
    """GLIDE with CLIP's text tower, left as it is, and a map of so many channels."""
    return Glide.from_clip(trained(CLIP), layout=layout)


def from_nothing() -> Glide:
    """GLIDE with a new text encoder of the same size, trained along, and the map."""
    tokenizer = scene_tokenizer()
    return Glide(text_unet(tokenizer, width=96), tokenizer=tokenizer)


FULL, NO_MAP, NEW = "CLIP's text tower, and a map", "CLIP's text tower, no map", "a new text encoder, and a map"
ARMS: dict[str, tuple[str, Callable[[], Glide]]] = {
    FULL: ("glide-clip-map", partial(from_clip, 8)),
    NO_MAP: ("glide-clip", partial(from_clip, 0)),
    NEW: ("glide-new-map", from_nothing),
}


def measure_telling(arms: Arms) -> Finding:
    """Short trainings of the zoo's network, alike but for one thing: no map, or a text encoder that has yet to learn.

    Verdict: two parts, each by more than a tenth and twice the standard error. With the map fewer places and relations
    come out wrong than without, on average; with CLIP's text tower fewer attributes do than with a new encoder.
    """
    runs = {name: seeds(arms, *arm) for name, arm in ARMS.items()}
    numbers = {}
    for name, some in runs.items():
        for kind in ("attributes", *KINDS):
            floor = 100 * some[0][f"{kind}_floor"]
            numbers[f"{name}: {kind} right"] = over_seeds([100 * run[kind] for run in some], floor=floor, unit="%")
    layout = {name: wrong(some, "place", "relation") for name, some in runs.items()}
    everything = {name: wrong(some, "attributes") for name, some in runs.items()}
    kept = lower(layout[FULL], layout[NO_MAP]), lower(everything[FULL], everything[NEW])
    why = "wrong: " + "; ".join(
        f"{name}: {layout[name]} of places and relations, {everything[name]} of all attributes" for name in runs
    )
    return Finding(numbers, verdict(*kept), why)


def wrong(runs: list[Numbers], *kinds: str) -> Number:
    """The share that comes out wrong, in percent, a mean over kinds."""
    return over_seeds([100 * (1 - sum(run[kind] for kind in kinds) / len(kinds)) for run in runs], unit="%")


def seeds(arms: Arms, name: str, build: Callable[[], Glide]) -> list[Numbers]:
    """An arm's record for each seed, trained and measured where it is not stored.

    Raises: ValueError if a stored record belongs to another budget.
    """
    runs = []
    for seed in SEEDS:
        record = arms.get(f"{name}-seed{seed}", partial(run_arm, build, seed))
        check_budget(f"{name}-seed{seed}", record, budget())
        runs.append(record)
    return runs


def budget() -> Numbers:
    """What makes an arm's numbers comparable."""
    same = {"steps": STEPS, "batch": BATCH, "rate": RATE, "ema": DECAY, "samples": SAMPLES}
    return same | {"clip": card(CLIP).weight_sha256}


def run_arm(build: Callable[[], Glide], seed: int, checkpoint: Checkpoint | None = None) -> Numbers:
    """Train one arm, then read what its averaged weights draw of test captions."""
    torch.manual_seed(seed)
    system, runtime = build(), pick_runtime()
    ema = Ema(system.net, DECAY)
    data = Batches(Scenes(system.tokenizer, size=SIDE, seed=seed), BATCH, seed=seed)
    optimisers = {"net": adamw(system.net.parameters(), RATE)}
    options = {"steps": STEPS, "ema": {"net": ema}, "checkpoint": checkpoint, "seed": seed, "runtime": runtime}
    for _ in train(system, data, optimisers, **options):
        pass
    system.modules["net"] = runtime.wrap(ema.module)
    return evaluate(system, seed) | {"seed": seed, "budget": budget()}


def evaluate(system: Glide, seed: int) -> Numbers:
    """The shares of attributes that come out right, by kind, beside those of real pictures."""
    captions, _ = asked(SAMPLES)
    found, best = caption_accuracy(captions, drawn(system, captions, seed)), real_accuracy(SAMPLES)
    shares = {"attributes": found.attributes, **found.kinds}
    floors = {"attributes_floor": best.attributes, **{f"{kind}_floor": share for kind, share in best.kinds.items()}}
    return shares | floors


CLAIMS = [
    Claim(
        "glide-told",
        "17",
        f"a map of the caption's vector, and the text tower of a trained CLIP: each left out once ({STEPS:,} steps of "
        f"{BATCH} pictures, {SAMPLES} test captions)",
        "GLIDE (arXiv:2112.10741), section 4.1: told by a vector and by tokens, with a text encoder trained along, at "
        "3.5 billion weights; Imagen (arXiv:2205.11487), section 2.1: a frozen text encoder",
        measure_telling,
    ),
]
