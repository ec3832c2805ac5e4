"""How the families before diffusion are measured: their samples as all samples are, and what each is for besides."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data import fashion
from edu_diffusion.metrics import Measured, extract
from edu_diffusion.metrics.features import FeaturesFn
from edu_diffusion.nets.codebook import perplexity, used
from edu_diffusion.systems.autoencoder import (
    Autoencoder,
    DenoisingAutoencoder,
    grey_error,
    principal_components,
    project,
)
from edu_diffusion.systems.code_prior import CodePrior
from edu_diffusion.systems.mae import MAE, linear_probe
from edu_diffusion.systems.vae import VAE, active_units, in_bits, kl_to_prior
from edu_diffusion.systems.vqvae import VQVAE
from edu_diffusion.types import Rng
from edu_diffusion.zoo.measure import each_class, fd, measure_generator, novelty

PROBE = 20_000  # training pictures from which a linear probe learns


def off(name: str, guess: Float[Tensor, "n *shape"], truth: Float[Tensor, "n *shape"], seed: int) -> Measured:
    """How far pictures are off the true ones, which would score 0."""
    return Measured(name, grey_error(guess, truth), len(truth), seed, floor=0.0, unit="grey levels of 255, RMS")


def measure_autoencoder(system: Autoencoder, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """The error of its reconstructions beside that of as many principal components; and what random codes give."""
    train, test = fashion("train").x, fashion("test").x
    mean, components, _ = principal_components(train, len(system.coder.code_mean))
    flat = project(test, mean, components).clamp(-1, 1)
    return {
        "error": off("error of reconstructions", system.reconstruct(test), test, seed),
        "pca_error": off("the same with as many principal components", flat, test, seed),
    } | measure_generator(system, seed, samples)


def measure_denoising(system: DenoisingAutoencoder, seed: int = 0) -> dict[str, Measured]:
    """The error of its guess at test pictures with the noise of its training, beside the error it is shown."""
    test = fashion("test").x
    noisy = system.corruption(test, Rng(seed))
    return {
        "error": off("error of the guess", system.denoise(noisy), test, seed),
        "noisy_error": off("error of what it is shown", noisy, test, seed),
    }


def measure_mae(system: MAE, seed: int = 0) -> dict[str, Measured]:
    """What a linear probe gets from its features, beside the pixels; and the error of hidden patches."""
    test = fashion("test").x
    right, pixels = (probe(features) for features in (system.features, lambda x: x.flatten(1)))
    error = system.error(test, seed)
    return {
        "accuracy": Measured("accuracy of a linear probe on its features", right, len(test), seed),
        "pixel_accuracy": Measured("accuracy of a linear probe on the pixels", pixels, len(test), seed),
        "hidden": Measured("error of hidden patches", error, len(test), seed, 0.0, unit="mean squared, in [-1, 1]"),
    }


def probe(features: FeaturesFn, count: int = PROBE) -> float:
    """The share of test pictures, 0..1, that logistic regression on these features names right.

    It learns from the first `count` training pictures.
    """
    known, asked = fashion("train")[slice(count)], fashion("test")
    return linear_probe(extract(features, known.x), known.y, extract(features, asked.x), asked.y)


def measure_vae(system: VAE, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """Its samples; and of test pictures the ELBO in bits, the KL, the units in use, the error of reconstructions."""
    test = fashion("test").x
    mean, log_var = system.encode(test)
    kl = kl_to_prior(mean, log_var).mean().item()
    bits = in_bits(system.elbo(test, torch.Generator().manual_seed(seed), levels=True), test[0].numel())
    found = {
        "bits": Measured("variational bound", bits.mean().item(), len(test), seed, unit="bits/dim"),
        "kl": Measured("of it, the KL term", kl, len(test), seed, unit="nats a picture"),
        "active": Measured(
            "units of the code in use", float(active_units(mean)), len(test), seed, float(mean.shape[1])
        ),
        "error": off("error of reconstructions", system.decode(mean).cpu(), test, seed),
    }
    return measure_generator(system, seed, samples) | found


def measure_vqvae(system: VQVAE, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """How the test set uses the codebook, the error of pictures that were codes, and their distance from others.

    The Frechet distance is that of decoded training pictures: no prior over these codes can be expected to do better.
    And what was decoded is smooth, so it lies nearer to any picture than real ones do: how near, decoded test pictures
    tell, which are no copies.
    """
    test = fashion("test").x
    codes, drawn = system.encode(test), decoded_again(system, samples, seed)
    share = used(codes, system.size)
    return {
        "error": off("error of reconstructions", system.decode(codes), test, seed),
        "fd_again": fd(drawn, seed),
        "nearest_again": novelty(
            system.decode(codes[:1000]).cpu(), seed, "distance of decoded test pictures to the nearest training picture"
        ),
        "used": Measured("share of the codes that occur", share, len(test), seed, 1.0),
        "perplexity": Measured(
            "perplexity of the codes", perplexity(codes, system.size).item(), len(test), seed, float(system.size)
        ),
    }


def decoded_again(system: VQVAE, count: int, seed: int) -> Float[Tensor, "count 1 28 28"]:
    """What is left of `count` training pictures, drawn by this seed, once they have been codes."""
    train = fashion("train").x
    return system.reconstruct(train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:count]])


def measure_code_prior(system: CodePrior, seed: int = 0, samples: int = 10_000) -> dict[str, Measured]:
    """Its pictures, each class asked for equally often; and what the codes of a test picture cost, in bits."""
    test = fashion("test")
    bits, blind = system.bits(test.x, test.y).mean().item(), system.net.places * math.log2(system.net.codes)
    cost = Measured("cost of the codes", bits, len(test), seed, unit=f"bits a picture; {blind:g} if all were alike")
    return measure_generator(system, seed, samples, each_class()) | {"bits": cost}
