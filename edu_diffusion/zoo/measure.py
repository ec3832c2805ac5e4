"""How the zoo's models are measured: by their samples, against the test set, beside what real data scores."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import ClipX0, Rule, ancestral, bits_per_dim, ddim, generate
from edu_diffusion.metrics import Measured, extract, frechet_distance, nearest, precision_recall
from edu_diffusion.systems.adm import ADM, NoisyClassifier
from edu_diffusion.systems.classifier import ClassifierRecipe, accuracy
from edu_diffusion.systems.classifier_free import ClassifierFreeADM
from edu_diffusion.training import pick_runtime
from edu_diffusion.types import Cond
from edu_diffusion.zoo.eyes import fashion_classifier

CLASSES, BATCH = 10, 250
SCALE = 1.5  # of classifier-free guidance, where a model is measured with it
CLASSIFIER_SCALE = 1.0  # of classifier guidance
TIMES = (1, 100, 200, 300, 400, 500, 600, 700, 800, 900)  # at which a classifier of noisy pictures is measured


def draw(
    denoiser,
    count: int,
    *,
    seed: int = 0,
    steps: int | Sequence[int] = 50,
    batch: int = BATCH,
    cond: Cond | None = None,
    rule: Rule | None = None,
) -> Float[Tensor, "count 1 28 28"]:
    """`count` samples with x0 clipped, by DDIM or another rule, on the CPU.

    The first n are the same whatever the count. `cond`, if given, is the condition of one batch, and serves for all.
    """
    generator = torch.Generator().manual_seed(seed)
    options = {"steps": steps, "rule": rule or ddim(), "generator": generator, "cond": cond}
    parts = []
    while len(parts) * batch < count:
        parts.append(generate(ClipX0(denoiser), (batch, 1, 28, 28), **options).clamp(-1, 1).cpu())
    return torch.cat(parts)[:count]


def each_class(count: int = BATCH) -> Int[Tensor, "count"]:
    """0, 1, .. 9, 0, 1, ..: every class equally often, as in the test set."""
    return torch.arange(count) % CLASSES


@cache
def real_features(split: str) -> Tensor:
    """The classifier's features of all real pictures of a split."""
    return features(fashion(split).x)


@cache
def drawn_features(count: int, seed: int = 0) -> Tensor:
    """The same of `count` training pictures, drawn by the seed: samples as good as can be, which set the floors.

    Raises: ValueError if there are fewer.
    """
    pictures = fashion("train").x
    if count > len(pictures):
        raise ValueError(f"a floor at {count} samples needs as many real pictures, got {len(pictures)}: ask for fewer")
    return features(pictures[torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[:count]])


def features(images: Tensor) -> Tensor:
    """The zoo classifier's 128 features of pictures in [-1, 1]."""
    net = fashion_classifier()
    device = next(net.parameters()).device
    return extract(lambda part: net.features(part.to(device)), images)


def named(features: Tensor) -> Int[Tensor, "n"]:
    """The class that the zoo's classifier names, from its features."""
    net = fashion_classifier()
    device = next(net.parameters()).device
    return net.to_logits(features.float().to(device)).argmax(1).cpu()


def entropy(classes: Int[Tensor, "n"]) -> float:
    """How evenly the classes occur, in bits: log2(10) = 3.32 if all ten do equally often, 0 if only one does."""
    shares = torch.bincount(classes, minlength=CLASSES) / len(classes)
    return -(shares * shares.clamp(min=1e-12).log2()).sum().item()


def fd(images: Tensor, seed: int) -> Measured:
    """The Frechet distance of samples to the test set, with the floor of as many training pictures."""
    floor = frechet_distance(drawn_features(len(images)), real_features("test"))
    value = frechet_distance(features(images), real_features("test"))
    return Measured("Fréchet distance", value, len(images), seed, floor=floor)


def measure_denoiser(system, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """What `measure_images` says of DDIM-50 samples; a model that is told the class gets each class equally often."""
    wanted = each_class() if isinstance(system, ADM) else None
    cond = None if wanted is None else system.labels(wanted)
    return measure_sampling(system.denoiser, seed, samples, cond, wanted)


def measure_ddpm(system, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """Samples by DDIM-50, and by 100 of the paper's own ancestral steps: more of them gain little here (claim ddim)."""
    return measure_both_ways(system, 100, seed, samples)


def measure_both_ways(system, steps: int, seed: int, samples: int) -> dict[str, Measured]:
    """What `measure_denoiser` says, and again of samples by ancestral steps with the system's own variance."""
    own = measure_sampling(system.denoiser, seed, samples, ancestral_steps=steps)
    return measure_denoiser(system, seed, samples) | prefixed("ancestral", f"by {steps} ancestral steps", own)


def measure_improved(system, seed: int = 0, samples: int = 10_000, pictures: int = 1000) -> dict[str, Measured]:
    """Samples by DDIM-50, and by 50 ancestral steps with the variance that it learned; and the bound in bits/dim.

    The bound is that of the first test pictures, at every one of the T times.
    """
    x0 = fashion("test").x[:pictures].to(system.denoiser.device)
    bits = bits_per_dim(ClipX0(system.denoiser), x0, generator=torch.Generator().manual_seed(seed))
    found = {
        "bits": Measured("variational bound", bits.total, pictures, seed, unit="bits/dim"),
        "bits_prior": Measured("of it, the prior term L_T", bits.prior, pictures, seed, unit="bits/dim"),
        "bits_last": Measured("of it, the last step L_0", bits.terms[0].item(), pictures, seed, unit="bits/dim"),
    }
    return measure_both_ways(system, 50, seed, samples) | found


def measure_classifier_free(system: ClassifierFreeADM, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """The model told the class, with guidance off, and again with it."""
    wanted = each_class()
    guided = measure_sampling(system.guided(SCALE), seed, samples, system.labels(wanted), wanted)
    return measure_denoiser(system, seed, samples) | prefixed("guided", f"guided by {SCALE:g}", guided)


def measure_noisy_classifier(system: NoisyClassifier, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """Its accuracy on test pictures noised to several times, and what its guidance makes of the zoo's ADM."""
    from edu_diffusion.zoo.loading import load  # which knows the entries, and they know how each is measured

    test, adm, wanted = fashion("test"), load("adm-fashion"), each_class()
    found = {
        f"accuracy_{t}": Measured(f"accuracy at t = {t}", system.accuracy(test.x, test.y, t, seed), len(test), seed)
        for t in TIMES
    }
    guided = system.guide(adm.denoiser, wanted, CLASSIFIER_SCALE)
    sampled = measure_sampling(guided, seed, samples, adm.labels(wanted), wanted)
    return found | prefixed("guided", f"adm-fashion guided by {CLASSIFIER_SCALE:g}", sampled)


def prefixed(prefix: str, how: str, results: dict[str, Measured]) -> dict[str, Measured]:
    """Results of a model that was drawn from in another way, under keys and names that say so."""
    return {f"{prefix}_{key}": replace(result, name=f"{result.name}, {how}") for key, result in results.items()}


def measure_sampling(
    denoiser,
    seed: int,
    samples: int,
    cond: Cond | None = None,
    wanted: Int[Tensor, "batch"] | None = None,
    *,
    ancestral_steps: int | None = None,
) -> dict[str, Measured]:
    """Draw samples, by DDIM-50 or by ancestral steps, and measure them, and the time they took."""
    how, options = "DDIM-50", {"cond": cond}
    if ancestral_steps is not None:
        how, options = f"{ancestral_steps} ancestral steps", options | {"steps": ancestral_steps, "rule": ancestral()}
    return measure_drawing(lambda: draw(denoiser, samples, seed=seed, **options), how, seed, samples, wanted)


def measure_generator(
    system, seed: int = 0, samples: int = 10_000, wanted: Int[Tensor, "batch"] | None = None
) -> dict[str, Measured]:
    """The same of a system that makes pictures in one go, by its method `pictures(count, generator)`.

    With `wanted`, the classes of one batch, by `pictures(count, generator, wanted)`.
    """
    told = () if wanted is None else (wanted,)

    def drawn() -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        parts = [system.pictures(BATCH, generator, *told).cpu() for _ in range(math.ceil(samples / BATCH))]
        return torch.cat(parts)[:samples]

    return measure_drawing(drawn, "drawn", seed, samples, wanted)


def measure_drawing(
    drawn: Callable[[], Tensor], how: str, seed: int, samples: int, wanted: Int[Tensor, "batch"] | None = None
) -> dict[str, Measured]:
    """Draw `samples` pictures, in batches that may be told the classes `wanted`; measure them, and the time it took."""
    start = time.perf_counter()
    images = drawn()
    seconds = (time.perf_counter() - start) / (BATCH * math.ceil(samples / BATCH))
    here = f"s, {how} in batches of {BATCH} on {pick_runtime().describe()}"
    wanted = None if wanted is None else wanted.repeat(math.ceil(samples / BATCH))[:samples]
    took = Measured("time a picture", seconds, samples, seed, unit=here)
    return measure_images(images, seed, wanted) | {"seconds": took}


def measure_images(images: Tensor, seed: int, wanted: Int[Tensor, "n"] | None = None) -> dict[str, Measured]:
    """What `quality` says of samples, and how near they come to a training picture."""
    return quality(images, seed, wanted) | {"nearest": novelty(images[:1000], seed)}


def novelty(few: Tensor, seed: int, name: str = "distance to the nearest training picture") -> Measured:
    """How near pictures come to a training picture: the median over them, and over 1,000 of the test set."""
    train_images, test_images = fashion("train").x, fashion("test").x[:1000]
    near, near_real = nearest(few, train_images), nearest(test_images, train_images)
    unit = "root mean square over pixels, median"
    return Measured(
        name, near.distance.median().item(), len(few), seed, floor=near_real.distance.median().item(), unit=unit
    )


def quality(images: Tensor, seed: int, wanted: Int[Tensor, "n"] | None = None) -> dict[str, Measured]:
    """Frechet distance, precision and recall, and how evenly the classes occur.

    `wanted` is the class that was asked for, of each picture; how often it came is measured too.
    """
    samples, made = len(images), features(images)
    test = real_features("test")
    ours = precision_recall(generated=made, real=test)
    floor = precision_recall(generated=drawn_features(samples, seed), real=test)
    classes, real_classes = named(made), named(test)
    evenness, real_evenness = entropy(classes), entropy(real_classes)
    found = {
        "fd": fd(images, seed),
        "precision": Measured("precision", ours[0], samples, seed, floor=floor[0]),
        "recall": Measured("recall", ours[1], samples, seed, floor=floor[1]),
        "class_entropy": Measured("entropy of the classes", evenness, samples, seed, floor=real_evenness, unit="bits"),
    }
    if wanted is not None:
        right = (classes == wanted).float().mean().item()
        real_right = (real_classes == fashion("test").y).float().mean().item()
        found["class_accuracy"] = Measured("share of the class asked for", right, samples, seed, floor=real_right)
    return found


def measure_classifier(system: ClassifierRecipe, seed: int = 0) -> dict[str, Measured]:
    """Accuracy on the test set."""
    test = fashion("test")
    return {"accuracy": Measured("accuracy", accuracy(system.net, test), len(test), seed, floor=None)}
