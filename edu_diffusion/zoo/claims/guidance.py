"""Claims of lesson 13, classifier-free guidance: scale, share of left-out classes, and against a classifier."""

from collections.abc import Callable

import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.nets import Encoder
from edu_diffusion.systems.adm import ADM, NoisyClassifier, adm_unet
from edu_diffusion.systems.classifier_free import ClassifierFreeADM
from edu_diffusion.training import adamw, pick_runtime, train
from edu_diffusion.zoo.claims.adm import in_numbers, shown
from edu_diffusion.zoo.claims.arms import BATCH as TRAIN_BATCH
from edu_diffusion.zoo.claims.arms import BUDGET, RATE, STEPS, WIDTHS, Arm, all_seeds, of_zoo
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, lower, over_seeds, verdict
from edu_diffusion.zoo.families import training_compute
from edu_diffusion.zoo.measure import BATCH, draw, each_class, quality

SHARES = (0.1, 0.2, 0.5)
ARM_SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
ZOO_SCALES = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
GUIDE_SCALES = (0.0, 0.5, 1.0, 2.0, 4.0)
ZOO_SAMPLES, ARM_SAMPLES, SAMPLE_STEPS = 2000, 1000, 25
GUIDED_STEPS = 750  # of the arm with a classifier; what that saves against STEPS goes into the classifier
LABELS = {"fd": "FD", "precision": "precision", "recall": "recall", "class_accuracy": "right class"}


def measure_free(arms: Arms) -> Finding:
    """FD, precision, recall and share of the right class against the scale, of cfg-fashion; and of arms by p_uncond.

    Scale 1 is off.

    Verdict: three parts. Of cfg-fashion, from scale 1 to 5 precision rises and recall falls, each by at least 0.03. Of
    the arms, by the mean over seeds of the FD at each one's best scale, p_uncond 0.1 and 0.2 are both better than 0.5,
    by more than twice the standard error.
    """
    found = {s: of_zoo(arms, "cfg-fashion", f"scale-{s:g}", lambda m, s=s: at_scale(m, s)) for s in ZOO_SCALES}
    numbers = {f"scale {s:g}: {label}": number for s, one in found.items() for label, number in shown(one).items()}
    best = {}
    for share in SHARES:
        runs = all_seeds(arms, free_arm(share))
        rows = {f"p_uncond {share:g}, scale {s:g}": by_key(runs, s) for s in ARM_SCALES}
        for name, row in rows.items():
            numbers |= {f"{name}: FD": row["fd"], f"{name}: right class": row["class_accuracy"]}
        best[share] = min((row["fd"] for row in rows.values()), key=lambda number: number.value)
    off, high, lowest = found[1.0], found[5.0], min(ZOO_SCALES, key=lambda s: found[s]["fd"])
    up, down = high["precision"] - off["precision"], off["recall"] - high["recall"]
    why = (
        f"cfg-fashion from scale 1 to 5: precision {off['precision']:.3f} to {high['precision']:.3f}, recall "
        f"{off['recall']:.3f} to {high['recall']:.3f}; its FD is lowest ({found[lowest]['fd']:.3g}) at {lowest:g}. "
        "Lowest FD of the arms: " + ", ".join(f"{number} with p_uncond {share:g}" for share, number in best.items())
    )
    fewer = all(lower(best[share], best[0.5], margin=0.0) for share in (0.1, 0.2))
    return Finding(numbers, verdict(up >= 0.03, down >= 0.03, fewer), why)


def by_key(runs: list[Numbers], scale: float) -> dict[str, Number]:
    """An arm's numbers at one scale, over its seeds."""
    return {
        key: over_seeds([run[f"{key}@{scale:g}"] for run in runs], floor=runs[0][f"{key}_floor@{scale:g}"])
        for key in LABELS
    }


def free_arm(share: float) -> Arm:
    """A small ADM that learns with the class left out now and then."""
    return Arm(f"cfg-{share:g}", lambda: ClassifierFreeADM(small_adm(), p_uncond=share), at_all_scales)


def small_adm():
    """The arms' network, told the class."""
    return adm_unet(widths=WIDTHS, attention=(False, True), head_width=32, residual=False)


def at_scale(system: ClassifierFreeADM, scale: float, samples: int = ZOO_SAMPLES) -> Numbers:
    """The quality of guided samples, each class asked for equally often."""
    wanted = each_class()
    images = draw(system.guided(scale), samples, steps=SAMPLE_STEPS, cond=system.labels(wanted))
    return in_numbers(quality(images, 0, wanted.repeat(samples // BATCH)))


def at_all_scales(system: ClassifierFreeADM, seed: int) -> Numbers:
    """The quality at each scale, under names that end in @SCALE."""
    return swept(ARM_SCALES, lambda scale: at_scale(system, scale, ARM_SAMPLES))


def swept(scales: tuple[float, ...], quality_at: Callable[[float], Numbers]) -> Numbers:
    """The numbers at each scale in one record."""
    return {f"{key}@{s:g}": value for s in scales for key, value in quality_at(s).items()}


def measure_head_to_head(arms: Arms) -> Finding:
    """Both kinds of guidance at equal training compute: an arm with left-out classes, and one that shares with a
    classifier.

    The first trains its network for all steps. The second trains the same network for fewer, never without the class,
    and a classifier of noisy pictures for as many steps as the compute that is left allows (forward and backward,
    counted in floating-point operations).

    Verdict: two parts. Classifier-free guidance has the lower FD at the best scale of each, by more than a tenth (and
    twice the standard error); and its samples at that scale are of the class asked for at least as often. That is this
    course's question: the paper says that no classifier is needed for the trade, not that doing without one wins at
    equal compute.
    """
    free, guided = all_seeds(arms, free_arm(0.1)), all_seeds(arms, guided_arm())
    numbers, best = {}, {}
    for name, runs, scales in (("classifier-free", free, ARM_SCALES), ("classifier", guided, GUIDE_SCALES)):
        rows = {s: by_key(runs, s) for s in scales}
        for s, row in rows.items():
            numbers |= {f"{name}, scale {s:g}: {LABELS[key]}": number for key, number in row.items()}
        best[name] = min(rows.items(), key=lambda item: item[1]["fd"].value)
    (free_scale, ours), (guide_scale, theirs) = best["classifier-free"], best["classifier"]
    kept = lower(ours["fd"], theirs["fd"]), ours["class_accuracy"].value >= theirs["class_accuracy"].value
    why = (
        f"at the scale with the lowest FD classifier-free guidance ({free_scale:g}) has FD {ours['fd']}, right class "
        f"{ours['class_accuracy']}; the classifier ({guide_scale:g}) FD {theirs['fd']}, right class "
        f"{theirs['class_accuracy']}. A step of sampling costs two calls of the network in the one case; a call of the "
        "network, and one of the smaller classifier forwards and backwards, in the other"
    )
    return Finding(numbers, verdict(*kept), why)


def guided_arm() -> Arm:
    """A small ADM that is always told the class, trained for fewer steps, and measured with a classifier's guidance."""
    return Arm("cg-equal", lambda: ADM(small_adm()), beside_classifier, steps=GUIDED_STEPS)


def beside_classifier(system: ADM, seed: int) -> Numbers:
    """Train the classifier with the compute that is left, then measure guided samples."""
    steps = round((STEPS - GUIDED_STEPS) * training_compute(ADM(small_adm())) / training_compute(small_classifier()))
    torch.manual_seed(seed)
    classifier, wanted = small_classifier(), each_class()
    optimisers = {"net": adamw(classifier.net.parameters(), RATE, decay=0.01)}
    for _ in train(classifier, Batches(fashion(), TRAIN_BATCH, seed=seed), optimisers, steps=steps, seed=seed):
        pass
    classifier.modules["net"] = pick_runtime().wrap(classifier.net.eval().requires_grad_(False))

    def at(scale: float) -> Numbers:
        denoiser = classifier.guide(system.denoiser, wanted, scale) if scale else system.denoiser
        images = draw(denoiser, ARM_SAMPLES, steps=SAMPLE_STEPS, cond=system.labels(wanted))
        return in_numbers(quality(images, 0, wanted.repeat(ARM_SAMPLES // BATCH)))

    return swept(GUIDE_SCALES, at) | {"classifier_steps": steps}


def small_classifier() -> NoisyClassifier:
    """A classifier of noisy pictures of the arms' size."""
    return NoisyClassifier(Encoder(widths=WIDTHS))


PAPER = "Ho and Salimans 2022 (arXiv:2207.12598)"
CLAIMS = [
    Claim(
        "cfg-tradeoff",
        "13",
        f"cfg-fashion by scale ({ZOO_SAMPLES:,} samples, DDIM-{SAMPLE_STEPS}); arms by p_uncond and scale "
        f"({BUDGET.split(', FD of')[0]}, {ARM_SAMPLES:,} samples)",
        f"{PAPER}, table 1, ImageNet 64: FID 1.55 at w = 0.1 and 26.22 at w = 4, IS from 66 to 260; p_uncond 0.1 and "
        "0.2 do "
        "about equally well, better than 0.5",
        measure_free,
    ),
    Claim(
        "cfg-against-cg",
        "13",
        "classifier-free and classifier guidance at equal training compute, each at the scale where its FD is lowest "
        f"({BUDGET.split(', FD of')[0]}, {ARM_SAMPLES:,} samples, DDIM-{SAMPLE_STEPS})",
        f"{PAPER}, abstract: guidance needs no classifier to trade diversity for fidelity as ADM's does",
        measure_head_to_head,
    ),
]
