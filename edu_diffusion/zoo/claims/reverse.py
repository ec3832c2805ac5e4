"""Claims of lesson 07, reverse diffusion: the exact denoiser only remembers."""

import torch
from torch import Tensor

from edu_diffusion.data import Empirical, fashion
from edu_diffusion.diffusion import Denoiser, ddim, exact_denoiser, generate, linear
from edu_diffusion.metrics import nearest
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, verdict
from edu_diffusion.zoo.loading import load
from edu_diffusion.zoo.measure import draw

EXACT, TRAINED, STEPS = 64, 1000, 50
HALF_LEVEL = 1 / 255  # pixels are 256 levels, 2/255 apart: nearer than half of that is the same picture


def measure_memory(arms: Arms) -> Finding:
    """Samples of the exact minimiser of the training loss, and of the zoo's trained network, beside held-out pictures.

    The exact minimiser for 60,000 training pictures is a formula. For each sample, the distance to the nearest training
    picture is the root mean square over pixels; a sample is a copy if that is less than half a grey level.

    Verdict: two parts. At least 99% of the exact denoiser's samples must be copies, and at most 1% of the network's.
    """
    train, test = fashion("train").x, fashion("test").x[:TRAINED]
    exact = nearest(draw_exact(train), train).distance
    ours = nearest(draw(trained_net(), TRAINED, steps=STEPS), train).distance
    held_out = nearest(test, train).distance
    numbers = {
        "exact denoiser: copies": Number(100 * copies(exact), unit=f"% of {EXACT} samples"),
        "exact denoiser: largest distance": Number(exact.max().item(), unit="RMS"),
        "trained network: copies": Number(
            100 * copies(ours), unit=f"% of {TRAINED:,} samples", floor=100 * copies(held_out)
        ),
        "trained network: median distance": Number(ours.median().item(), unit="RMS", floor=held_out.median().item()),
        "trained network: least distance": Number(ours.min().item(), unit="RMS", floor=held_out.min().item()),
    }
    why = (
        f"{copies(exact):.0%} of the exact denoiser's samples are training pictures, none further than "
        f"{exact.max():.2g} from one; of the trained network's {TRAINED:,} samples {round(TRAINED * copies(ours))} "
        f"are, and their median distance is {ours.median():.2g}, held-out pictures' {held_out.median():.2g}"
    )
    return Finding(numbers, verdict(copies(exact) >= 0.99, copies(ours) <= 0.01), why)


def copies(distance: Tensor) -> float:
    """The share of samples that are a training picture, 0..1."""
    return (distance < HALF_LEVEL).float().mean().item()


def draw_exact(points: Tensor, count: int = EXACT, steps: int = STEPS) -> Tensor:
    """Samples by DDIM with the exact denoiser of these points."""
    denoiser = exact_denoiser(Empirical(points), linear())
    return generate(denoiser, (count, *points.shape[1:]), steps=steps, rule=ddim(), generator=_seeded())


def trained_net() -> Denoiser:
    """The zoo's DDPM."""
    return load("ddpm-fashion").denoiser


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


CLAIMS = [
    Claim(
        "ideal-memorises",
        "07",
        f"samples of the exact denoiser of the training set ({EXACT}) and of ddpm-fashion ({TRAINED:,}), DDIM-{STEPS}",
        "the minimiser of DDPM's loss (arXiv:2006.11239, eq. 14) over a finite training set has a closed form (EDM, "
        "arXiv:2206.00364, appendix B), and sampling with it gives back training pictures (arXiv:2310.02664)",
        measure_memory,
    ),
]
