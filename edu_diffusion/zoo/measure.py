"""How the zoo's models are measured: by their samples, against the test set, beside what real data scores."""

from functools import cache

import torch
from torch import Tensor

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import ClipX0, ddim, generate
from edu_diffusion.metrics import Measured, extract, frechet_distance, nearest, precision_recall, real_floor
from edu_diffusion.systems.classifier import ClassifierRecipe, accuracy
from edu_diffusion.zoo.eyes import fashion_classifier


def draw(denoiser, count: int, *, seed: int = 0, steps: int = 50, batch: int = 250) -> Tensor:
    """`count` samples by DDIM with x0 clipped, on the CPU; the first n are the same whatever the count."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    while len(parts) * batch < count:
        x = generate(ClipX0(denoiser), (batch, 1, 28, 28), steps=steps, rule=ddim(), generator=generator)
        parts.append(x.clamp(-1, 1).cpu())
    return torch.cat(parts)[:count]


@cache
def real_features(split: str) -> Tensor:
    """The classifier's features of all real pictures of a split."""
    return features(fashion(split).x)


def features(images: Tensor) -> Tensor:
    """The zoo classifier's 128 features of pictures in [-1, 1]."""
    net = fashion_classifier()
    device = next(net.parameters()).device
    return extract(lambda part: net.features(part.to(device)), images)


def fd(images: Tensor, seed: int) -> Measured:
    """The Frechet distance of samples to the test set, with the floor of as many training pictures."""
    floor = real_floor(real_features("train"), real_features("test"), len(images))
    value = frechet_distance(features(images), real_features("test"))
    return Measured("Fréchet distance", value, len(images), seed, floor=floor)


def measure_denoiser(system, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """Fréchet distance, precision and recall of DDIM samples; and how near they come to a training picture."""
    images = draw(system.denoiser, samples, seed=seed)
    real, test = real_features("train"), real_features("test")
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[:samples]
    ours = precision_recall(generated=features(images), real=test)
    floor = precision_recall(generated=real[chosen], real=test)
    few = images[:1000]
    train_images, test_images = fashion("train").x, fashion("test").x[:1000]
    near, near_real = nearest(few, train_images), nearest(test_images, train_images)
    return {
        "fd": fd(images, seed),
        "precision": Measured("precision", ours[0], samples, seed, floor=floor[0]),
        "recall": Measured("recall", ours[1], samples, seed, floor=floor[1]),
        "nearest": Measured(
            "distance to the nearest training picture",
            near.distance.median().item(),
            len(few),
            seed,
            floor=near_real.distance.median().item(),
            unit="root mean square over pixels, median",
        ),
    }


def measure_classifier(system: ClassifierRecipe, seed: int = 0) -> dict[str, Measured]:
    """Accuracy on the test set."""
    test = fashion("test")
    return {"accuracy": Measured("accuracy", accuracy(system.net, test), len(test), seed, floor=None)}
