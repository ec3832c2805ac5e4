"""Claims of lesson 12, ADM: what classifier guidance buys and costs, and what its classifier must have seen."""

import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.systems.adm import ADM, NoisyClassifier
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Checkpoint, adamw, pick_runtime, train
from edu_diffusion.zoo.claims.arms import of_zoo
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, verdict
from edu_diffusion.zoo.entries import find
from edu_diffusion.zoo.loading import load
from edu_diffusion.zoo.measure import BATCH, draw, each_class, quality

SAMPLES, STEPS = 2000, 25
SCALES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
FREE_SCALES = (0.0, 1.0, 4.0, 10.0)  # for the model that is not told the class
TIMES = (0, 100, 200, 300, 400, 500, 600, 700, 800, 900)
TRIALS = 2000  # pictures at each of these times


def measure_tradeoff(arms: Arms) -> Finding:
    """Precision, recall, FD and share of the right class against the scale of classifier guidance.

    Of adm-fashion, which is told the class, and of improved-fashion, which is not; each class is asked for equally
    often.

    Verdict: two parts, for the model that is told the class. From scale 0 to 4 precision rises by at least 0.03, and
    recall falls by at least 0.03.
    """
    told = {s: of_zoo(arms, "adm-fashion", f"guided-{s:g}", lambda m, s=s: guided(m, s)) for s in SCALES}
    free = {s: of_zoo(arms, "improved-fashion", f"guided-{s:g}", lambda m, s=s: guided(m, s)) for s in FREE_SCALES}
    numbers = {}
    for name, found in {"told the class": told, "not told": free}.items():
        for scale, one in found.items():
            numbers |= {f"{name}, scale {scale:g}: {label}": number for label, number in shown(one).items()}
    up = told[4.0]["precision"] - told[0.0]["precision"]
    down = told[0.0]["recall"] - told[4.0]["recall"]
    best = min(SCALES, key=lambda s: told[s]["fd"])
    why = (
        f"from scale 0 to 4 precision goes from {told[0.0]['precision']:.3f} to {told[4.0]['precision']:.3f}, recall "
        f"from {told[0.0]['recall']:.3f} to {told[4.0]['recall']:.3f}; FD is lowest, {told[best]['fd']:.3g}, at scale "
        f"{best:g} (without guidance {told[0.0]['fd']:.3g}). The model that is not told the class makes the one asked "
        f"for in {free[1.0]['class_accuracy']:.0%} of its pictures at scale 1 and {free[10.0]['class_accuracy']:.0%} "
        "at 10"
    )
    return Finding(numbers, verdict(up >= 0.03, down >= 0.03), why)


def guided(system: DDPM, scale: float, classifier: NoisyClassifier | None = None) -> Numbers:
    """The quality of samples that are guided by the zoo's classifier of noisy pictures, or another one."""
    wanted = each_class()
    cond = system.labels(wanted) if isinstance(system, ADM) else None
    classifier = classifier or load("noisy-classifier")
    denoiser = classifier.guide(system.denoiser, wanted, scale) if scale else system.denoiser
    images = draw(denoiser, SAMPLES, steps=STEPS, cond=cond)
    return in_numbers(quality(images, 0, wanted.repeat(SAMPLES // BATCH)))


def in_numbers(found) -> Numbers:
    """Values and floors of measured results, to be stored."""
    return {key: one.value for key, one in found.items()} | {f"{key}_floor": one.floor for key, one in found.items()}


def shown(one: Numbers) -> dict[str, Number]:
    """The four numbers of a row of guided samples."""
    names = {"FD": "fd", "precision": "precision", "recall": "recall", "right class": "class_accuracy"}
    return {label: Number(one[key], floor=one[f"{key}_floor"]) for label, key in names.items()}


def measure_noisy(arms: Arms) -> Finding:
    """A classifier trained on noisy pictures against its twin trained on clean ones: accuracy by t, and as a guide.

    The twin has the same network, plan and schedule, and is never shown noise. Both guide improved-fashion, which is
    not told the class, at the same scale; the zoo's own classifier says what came out.

    Verdict: two parts. Guided by the noisy one, the class asked for comes at least 20 points of 100 more often. And at
    t = 500 the noisy one names the class right at least 20 points more often.
    """
    scale = 4.0
    noisy = of_zoo(arms, "noisy-classifier", "by-time", by_time)
    noisy_guided = of_zoo(arms, "improved-fashion", f"guided-{scale:g}", lambda m: guided(m, scale))
    clean = arms.get("clean-classifier", lambda checkpoint: clean_twin(scale, checkpoint))
    numbers = {}
    for name, one, steered in (("noisy", noisy, noisy_guided), ("clean", clean, clean)):
        numbers |= {f"trained on {name} pictures, t = {t}: accuracy": Number(one[f"t{t}"]) for t in TIMES}
        numbers |= {f"guided by the {name} one: {label}": number for label, number in shown(steered).items()}
    gained = noisy_guided["class_accuracy"] - clean["class_accuracy"]
    at_500 = noisy["t500"] - clean["t500"]
    why = (
        f"at t = 500 the classifier trained on noisy pictures is right in {noisy['t500']:.0%}, its clean twin in "
        f"{clean['t500']:.0%}; guided by them at scale {scale:g}, {noisy_guided['class_accuracy']:.0%} and "
        f"{clean['class_accuracy']:.0%} of the pictures are of the class asked for, FD {noisy_guided['fd']:.3g} and "
        f"{clean['fd']:.3g}"
    )
    return Finding(numbers, verdict(gained >= 0.2, at_500 >= 0.2), why)


def by_time(classifier: NoisyClassifier) -> Numbers:
    """Accuracy on noised test pictures."""
    test = fashion("test")
    return {f"t{t}": classifier.accuracy(test.x[:TRIALS], test.y[:TRIALS], t) for t in TIMES}


def clean_twin(scale: float, checkpoint: Checkpoint) -> Numbers:
    """Train the zoo's classifier of noisy pictures without the noise, and measure it in the same ways."""
    plan = find("noisy-classifier").plan
    torch.manual_seed(plan.seed)
    twin = NoisyClassifier(noisy=False)
    optimisers = {"net": adamw(twin.net.parameters(), plan.rate, decay=plan.weight_decay)}
    data = Batches(fashion(), plan.batch, seed=plan.seed, flip=plan.flip)
    for _ in train(twin, data, optimisers, steps=plan.steps, checkpoint=checkpoint, seed=plan.seed):
        pass
    twin.modules["net"] = pick_runtime().wrap(twin.net.eval().requires_grad_(False))
    return by_time(twin) | guided(load("improved-fashion"), scale, twin)


ADM_PAPER = "ADM (arXiv:2105.05233)"
CLAIMS = [
    Claim(
        "cg-tradeoff",
        "12",
        f"{SAMPLES:,} samples, DDIM-{STEPS}, guided by noisy-classifier at several scales (0 is off)",
        f"{ADM_PAPER}, figure 4, ImageNet 128: with a larger scale precision and IS rise, recall falls, FID is best "
        "between",
        measure_tradeoff,
    ),
    Claim(
        "noisy-classifier",
        "12",
        f"noisy-classifier against a twin trained on clean pictures: accuracy by t ({TRIALS:,} pictures), and as "
        "guides "
        f"({SAMPLES:,} samples, DDIM-{STEPS})",
        f"{ADM_PAPER}, section 4: the guiding classifier is trained on noisy pictures",
        measure_noisy,
    ),
]
