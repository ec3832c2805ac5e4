"""Claim of lesson 03, the masked autoencoder: what its encoder has learned, asked by a linear probe."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data import Batches, fashion
from edu_diffusion.nets.vit import ViT
from edu_diffusion.systems.mae import MAE, Labelled, LabelledNet, MAENet, untrained
from edu_diffusion.training import Checkpoint, Ema, adamw, train
from edu_diffusion.zoo import measure_families
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

# About five minutes of one core for an arm, and half a million parameters. The same for all: no arm is tuned.
STEPS, BATCH, RATE, DECAY = 3000, 64, 1e-3, 0.997
ENCODER, DECODER = {"width": 96, "depth": 4}, {"width": 64, "depth": 2}
RATIOS, MAIN = (0.25, 0.5, 0.75, 0.9), 0.75
SEEDS = (0, 1, 2)
PROBE = 20_000  # training pictures from which every probe learns; it is asked about all test pictures
PICTURES = 2000  # test pictures on which the error of hidden patches is measured, MAIN of them hidden
MARGIN = 0.05  # of the share that is named wrong: between two ratios
BUDGET = (
    f"encoder of width {ENCODER['width']}, {STEPS:,} steps of {BATCH} pictures; probes on {PROBE:,} training pictures, "
    "asked about all 10,000 test ones"
)


def measure_probe(arms: Arms) -> Finding:
    """Logistic regression on features: of MAEs by mask ratio, of pixels, of an untrained and of a labelled encoder.

    All encoders are alike, and the features are their mean token. The untrained one has random weights in all its
    layers. Beside the 784 pixels stand their first principal components, as many as an encoder has features. The
    labelled encoder is trained on the answers, for as many steps: what one could hope for.

    Verdict: three parts, on the share that is named wrong. The MAE that hides 75% has a lower one than the untrained
    encoder, and than the pixels, by more than a tenth. And 75% is the best ratio: none of the others has a lower one by
    more than a twentieth, and 25% has a higher one by more than that. (All by twice the standard error, too.)
    """
    masked = {ratio: seeds(arms, f"mae-{100 * ratio:g}", partial(train_masked, ratio)) for ratio in RATIOS}
    others = {
        "untrained encoder": seeds(arms, "mae-untrained", measure_untrained),
        "encoder trained on labels": seeds(arms, "mae-labelled", train_labelled),
        "784 pixels": [stored(arms, "probe-pixels", lambda checkpoint: {"accuracy": probe(pixels)})],
        "principal components": [stored(arms, "probe-pca", lambda checkpoint: {"accuracy": probe(components())})],
    }
    found = {f"MAE, {ratio:.0%} hidden": runs for ratio, runs in masked.items()} | others
    right = {name: over_seeds([100 * run["accuracy"] for run in runs], unit="%") for name, runs in found.items()}
    numbers = {f"{name}: named right": number for name, number in right.items()}
    for ratio, runs in masked.items():
        error = over_seeds([run["hidden"] for run in runs], unit="mean squared")
        numbers[f"MAE, {ratio:.0%} hidden: error when {MAIN:.0%} is hidden"] = error
    wrong = {name: missed(number) for name, number in right.items()}
    main, least = wrong[f"MAE, {MAIN:.0%} hidden"], wrong[f"MAE, {min(RATIOS):.0%} hidden"]
    beaten = any(lower(wrong[f"MAE, {ratio:.0%} hidden"], main, MARGIN) for ratio in RATIOS if ratio != MAIN)
    kept = (
        lower(main, wrong["untrained encoder"]),
        lower(main, wrong["784 pixels"]),
        lower(main, least, MARGIN) and not beaten,
    )
    return Finding(numbers, verdict(*kept), _why(right))


def missed(right: Number) -> Number:
    """The share that is named wrong, in percent, from the share that is named right."""
    return Number(100 - right.value, right.seeds, right.spread, unit="%")


def _why(right: dict[str, Number]) -> str:
    by_ratio = ", ".join(f"{right[f'MAE, {ratio:.0%} hidden'].value:.1f}% at {ratio:.0%}" for ratio in RATIOS)
    rest = ", ".join(f"{right[name].value:.1f}% from {name}" for name in right if not name.startswith("MAE"))
    return f"named right from an MAE's features, by the share it was trained to guess: {by_ratio}; {rest}"


def seeds(arms: Arms, name: str, run: Callable[[int, Checkpoint], Numbers]) -> list[Numbers]:
    """An arm's record for each seed, from `run(seed, checkpoint)` where it is not stored."""
    return [stored(arms, f"{name}-seed{seed}", partial(run, seed)) for seed in SEEDS]


def stored(arms: Arms, name: str, run: Callable[[Checkpoint], Numbers]) -> Numbers:
    """A record, with what makes it comparable.

    Raises: ValueError if the stored record belongs to another budget.
    """
    record = arms.get(name, lambda checkpoint: run(checkpoint) | {"budget": budget()})
    check_budget(name, record, budget())
    return record


def budget() -> dict[str, int | float]:
    """What all arms have in common."""
    common = {"steps": STEPS, "batch": BATCH, "rate": RATE, "ema": DECAY, "probe": PROBE, "pictures": PICTURES}
    encoder = {f"encoder {name}": value for name, value in ENCODER.items()}
    return common | encoder | {f"decoder {name}": value for name, value in DECODER.items()}


def train_masked(ratio: float, seed: int, checkpoint: Checkpoint) -> Numbers:
    """An MAE that hides this share: what a probe gets from its features, and its error when MAIN is hidden."""
    torch.manual_seed(seed)
    system = trained(MAE(MAENet(ViT(**ENCODER), **DECODER), ratio), seed, checkpoint)
    error = system.error(fashion("test").x[:PICTURES], ratio=MAIN)
    return {"accuracy": probe(system.features), "hidden": error, "seed": seed}


def train_labelled(seed: int, checkpoint: Checkpoint) -> Numbers:
    """The same encoder, trained on labels."""
    torch.manual_seed(seed)
    system = trained(Labelled(LabelledNet(ViT(**ENCODER))), seed, checkpoint)
    return {"accuracy": probe(system.features), "seed": seed}


def measure_untrained(seed: int, checkpoint: Checkpoint) -> Numbers:
    """The same encoder with random weights."""
    torch.manual_seed(seed)
    system = MAE(untrained(MAENet(ViT(**ENCODER), **DECODER)))
    return {"accuracy": probe(system.features), "seed": seed}


def trained(system: MAE | Labelled, seed: int, checkpoint: Checkpoint | None = None) -> MAE | Labelled:
    """The system, trained for the budget, with its averaged weights."""
    net = system.modules["net"]
    ema = Ema(net, DECAY)
    data, optimisers = Batches(fashion(), BATCH, seed=seed), {"net": adamw(net.parameters(), RATE)}
    for _ in train(system, data, optimisers, steps=STEPS, ema={"net": ema}, checkpoint=checkpoint, seed=seed):
        pass
    system.modules["net"] = ema.module
    return system


def probe(features: Callable[[Tensor], Tensor]) -> float:
    """The share of test pictures that logistic regression on these features names right."""
    return measure_families.probe(features, PROBE)


def pixels(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """The picture itself as features."""
    return x.flatten(1)


def components(count: int = ENCODER["width"]) -> Callable[[Tensor], Tensor]:
    """The first `count` principal components of the pictures that a probe learns from, as features."""
    known = pixels(fashion("train")[slice(PROBE)].x)
    _, vectors = torch.linalg.eigh((known - known.mean(0)).T.double().cov())
    main = vectors[:, -count:].float()
    return lambda x: pixels(x) @ main


CLAIMS = [
    Claim(
        "mae-probe",
        "03",
        f"linear probe on the mean token of an encoder: MAEs by mask ratio, pixels, an untrained encoder ({BUDGET})",
        "MAE (arXiv:2111.06377), figure 5, ViT-Large on ImageNet: 75% hidden is best for a linear probe, 73.5% right; "
        "with 10% hidden 54.6%",
        measure_probe,
    ),
]
