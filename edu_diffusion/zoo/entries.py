"""The zoo's entries: what each is, how it is trained, and how it is measured. A new one is one entry here."""

import difflib

from edu_diffusion.diffusion import cosine
from edu_diffusion.systems.adm import ADM, NoisyClassifier
from edu_diffusion.systems.autoencoder import Autoencoder, DenoisingAutoencoder
from edu_diffusion.systems.classifier import ClassifierRecipe
from edu_diffusion.systems.classifier_free import ClassifierFreeADM
from edu_diffusion.systems.code_prior import CodePrior
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.systems.gan import GAN
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM, improved_unet
from edu_diffusion.systems.mae import MAE
from edu_diffusion.systems.vae import VAE
from edu_diffusion.systems.vqvae import VQVAE
from edu_diffusion.zoo.entry import Entry, Plan
from edu_diffusion.zoo.measure import (
    measure_classifier,
    measure_classifier_free,
    measure_ddpm,
    measure_denoiser,
    measure_generator,
    measure_improved,
    measure_noisy_classifier,
)
from edu_diffusion.zoo.measure_families import (
    measure_autoencoder,
    measure_code_prior,
    measure_denoising,
    measure_mae,
    measure_vae,
    measure_vqvae,
)
from edu_diffusion.zoo.scene_entries import SCENES


def code_prior() -> CodePrior:
    """The prior over the codes of the zoo's VQ-VAE, which it reads when it first needs it."""
    from edu_diffusion.zoo.loading import load  # which knows the entries

    return CodePrior(lambda: load("vqvae-fashion"))


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
            "gan-fashion",
            "GAN on Fashion-MNIST, DCGAN's networks: non-saturating loss and R1",
            GAN,
            Plan(steps=10_900, rate=5e-4, betas=(0.5, 0.99), ema=0.999),  # as much compute as ddpm-fashion
            measure_generator,
        ),
        Entry(
            "ae-fashion",
            "an autoencoder: a picture as a code of 16 numbers, and back",
            Autoencoder,
            Plan(steps=4000, ema=None),
            measure_autoencoder,
        ),
        Entry(
            "dae-fashion",
            "a denoising autoencoder: guesses the clean picture under Gaussian noise of 0.5",
            DenoisingAutoencoder,
            Plan(steps=3000, ema=None),
            measure_denoising,
        ),
        Entry(
            "mae-fashion",
            "a masked autoencoder: guesses the three quarters of a picture's patches that are hidden",
            MAE,
            Plan(steps=12_000, rate=1e-3),
            measure_mae,
        ),
        Entry(
            "vae-fashion",
            "a VAE with a code of 16 numbers; its decoder learns how far off it is",
            VAE,
            Plan(steps=7900),  # as much compute as ddpm-fashion
            measure_vae,
        ),
        Entry(
            "vqvae-fashion",
            "VQ-VAE: a picture as 7x7 codes of 128, and back",
            VQVAE,
            Plan(steps=10_000),
            measure_vqvae,
        ),
        Entry(
            "vq-prior-fashion",
            "a causal transformer that writes the codes of vqvae-fashion, told the class",
            code_prior,
            Plan(steps=7000),
            measure_code_prior,
        ),
        Entry(
            "ddpm-fashion",
            "DDPM on Fashion-MNIST: linear schedule, predicts eps, simple loss",
            DDPM,
            Plan(steps=10_000),
            measure_ddpm,
        ),
        Entry(
            "ddpm-fashion-cosine",
            "the same with the cosine schedule",
            lambda: DDPM(schedule=cosine()),
            Plan(steps=10_000),
            measure_ddpm,
        ),
        Entry(
            "improved-fashion",
            "improved DDPM, a larger network: cosine schedule, learned variance, hybrid loss",
            lambda: ImprovedDDPM(improved_unet(widths=(64, 128))),
            Plan(steps=22_000, ema=0.999),
            measure_improved,
        ),
        Entry(
            "adm-fashion",
            "ADM, told the class: three levels, adaptive norms, residual resizing",
            ADM,
            Plan(steps=12_000, ema=0.999),
            measure_denoiser,
        ),
        Entry(
            "noisy-classifier",
            "names the class of noisy pictures, for classifier guidance",
            NoisyClassifier,
            Plan(steps=4000, batch=128, weight_decay=0.05, ema=None),
            measure_noisy_classifier,
        ),
        Entry(
            "cfg-fashion",
            "ADM with the class left out for one example in ten, for classifier-free guidance",
            ClassifierFreeADM,
            Plan(steps=12_000, ema=0.999),
            measure_classifier_free,
        ),
        *SCENES,
    ]
}


def find(name: str) -> Entry:
    """The entry of this name.

    Raises: ValueError, naming the nearest names, if there is none.
    """
    if name not in ENTRIES:
        near = difflib.get_close_matches(name, ENTRIES, n=3) or [each for each in ENTRIES if name in each]
        near = near or sorted(ENTRIES)
        raise ValueError(f"the zoo has no {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return ENTRIES[name]
