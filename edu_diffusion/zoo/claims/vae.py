"""Claims of lesson 04, the VAE: how tight its bound is, and what the weight of the KL does to the code."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from edu_diffusion.data import Batches, fashion
from edu_diffusion.systems.vae import VAE, active_units, in_bits, kl_to_prior, vae_net
from edu_diffusion.training import Checkpoint, Ema, adamw, pick_runtime, train
from edu_diffusion.zoo.claims.arms import of_zoo
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
from edu_diffusion.zoo.measure import fd

BETAS, SEEDS = (0.25, 1.0, 4.0, 16.0, 64.0), (0, 1, 2)
# Three to five minutes of one core for an arm. The same for all: no arm is tuned.
STEPS, BATCH, RATE, DECAY, WIDTHS, LATENT = 2000, 64, 2e-3, 0.997, (32, 64), 16
SAMPLES, PICTURES = 2000, 2000  # drawn for FD, and test pictures on which an arm's code and errors are measured
DRAWS, BOUND_PICTURES = (1, 10, 100), 300  # of the bounds of the zoo's model


def budget(beta: float) -> dict[str, int | float | list[int]]:
    """What makes an arm's numbers comparable; stored with them, so that unlike ones are never compared."""
    numbers = {"steps": STEPS, "batch": BATCH, "rate": RATE, "ema": DECAY, "widths": list(WIDTHS), "latent": LATENT}
    return numbers | {"samples": SAMPLES, "pictures": PICTURES, "beta": beta}


def all_seeds(arms: Arms, beta: float) -> list[Numbers]:
    """The record of each seed with this weight of the KL, trained and measured where it is not stored.

    Raises: ValueError if a stored record belongs to another budget.
    """
    runs = []
    for seed in SEEDS:
        name = f"vae-beta-{beta:g}-seed{seed}"
        stored = arms.get(name, lambda checkpoint, seed=seed: run_arm(beta, seed, checkpoint))
        check_budget(name, stored, budget(beta))
        runs.append(stored)
    return runs


def run_arm(beta: float, seed: int, checkpoint: Checkpoint | None = None) -> Numbers:
    """Train one arm, the course's networks but narrower, and measure its averaged weights."""
    torch.manual_seed(seed)
    system, runtime = VAE(vae_net(LATENT, widths=WIDTHS), beta=beta), pick_runtime()
    ema, data = Ema(system.net, DECAY), Batches(fashion(), BATCH, seed=seed)
    options = {"steps": STEPS, "ema": {"net": ema}, "checkpoint": checkpoint, "seed": seed, "runtime": runtime}
    for _ in train(system, data, {"net": adamw(system.net.parameters(), RATE)}, **options):
        pass
    return evaluate(VAE(ema.module, beta), seed) | {"seed": seed, "budget": budget(beta)}


def evaluate(system: VAE, seed: int) -> Numbers:
    """What is measured of an arm: FD of its samples; on test pictures its code, its errors and the bound itself."""
    x, generator = fashion("test").x[:PICTURES], torch.Generator().manual_seed(0)
    mean, log_var = system.encode(x)
    distance = fd(system.pictures(SAMPLES, torch.Generator().manual_seed(seed)).cpu(), seed)
    return {
        "fd": distance.value,
        "floor": distance.floor,
        "active": active_units(mean),
        "kl": kl_to_prior(mean, log_var).mean().item(),
        "error": (system.decode(mean).cpu() - x).square().mean().sqrt().item(),
        "elbo": system.elbo(x, generator).mean().item(),
        "bits": in_bits(system.elbo(x, generator, levels=True), x[0].numel()).mean().item(),
        "std": system.std,
    }


def bounds(system: VAE) -> Numbers:
    """The bounds from 1, 10 and 100 draws on the same test pictures, and how far each step up lifts them."""
    x, generator = fashion("test").x[:BOUND_PICTURES], torch.Generator().manual_seed(0)
    found = {k: system.importance_bound(x, k, generator).cpu() for k in DRAWS}
    levels = {k: system.importance_bound(x, k, generator, levels=True).cpu() for k in DRAWS}
    numbers = {"elbo": system.elbo(x, generator).mean().item()}
    for k in DRAWS:
        bits = in_bits(levels[k], x[0].numel())
        numbers |= {f"bound_{k}": found[k].mean().item(), f"bits_{k}": bits.mean().item()}
    for fewer, more in pairwise(DRAWS):
        gain = found[more] - found[fewer]
        numbers |= {f"gain_{more}": gain.mean().item(), f"gain_{more}_error": standard_error(gain)}
    return numbers


def standard_error(values: Tensor) -> float:
    """How far the mean of these values may be off by chance: their standard deviation over the root of their number."""
    return (values.std() / len(values) ** 0.5).item()


def measure_elbo(arms: Arms) -> Finding:
    """Whether the importance-weighted bound tightens the ELBO, and whether a strong weight of the KL empties the code.

    The bounds are those of vae-fashion, on the same test pictures for every number of draws. The weights are arms,
    alike but for beta; all learn the decoder's standard deviation. "In use" are the units of the code whose mean varies
    over the test pictures by more than 0.01, Burda's criterion. FD and bits/dim are measured, and part of no verdict.

    Verdict: three parts. Ten draws in place of one, and a hundred in place of ten, each lift the bound by more than
    twice the standard error of the lift. No larger beta has more units in use (means over the seeds), and the largest
    has at most half as many as beta = 1. The error of the reconstruction (RMS) is lower at beta = 1 than at the largest
    beta, by more than a tenth and twice the standard error.
    """
    zoo = of_zoo(arms, "vae-fashion", "bounds", bounds)
    found = {beta: measured_arm(arms, beta) for beta in BETAS}
    numbers = bound_numbers(zoo)
    for beta, one in found.items():
        numbers |= {f"beta = {beta:g}: {label}": one[key] for key, label in SHOWN.items()}
    active = {beta: one["active"].value for beta, one in found.items()}
    largest = max(BETAS)
    kept = (
        all(zoo[f"gain_{k}"] > 2 * zoo[f"gain_{k}_error"] for k in DRAWS[1:]),
        all(active[b] <= active[a] for a, b in pairwise(BETAS)) and active[largest] <= active[1.0] / 2,
        lower(found[1.0]["error"], found[largest]["error"]),
    )
    return Finding(numbers, verdict(*kept), why(zoo, found))


SHOWN = {
    "active": "units in use",
    "kl": "KL",
    "error": "error of the reconstruction",
    "fd": "FD",
    "elbo": "ELBO",
    "bits": "bits",
    "std": "learned standard deviation",
}
UNITS = {
    "active": f"of {LATENT}",
    "kl": "nats",
    "error": "RMS in [-1, 1]",
    "elbo": "nats a picture",
    "bits": "bits/dim",
}


def measured_arm(arms: Arms, beta: float) -> dict[str, Number]:
    """An arm's numbers over all seeds."""
    runs = all_seeds(arms, beta)
    found = {key: over_seeds([float(run[key]) for run in runs], unit=UNITS.get(key, "")) for key in SHOWN}
    return found | {"fd": replace(found["fd"], floor=runs[0]["floor"])}


def bound_numbers(zoo: Numbers) -> dict[str, Number]:
    """The bounds of the zoo's model, as the row shows them."""
    in_nats, bits = partial(Number, unit="nats a picture"), partial(Number, unit="bits/dim")
    numbers = {"vae-fashion: ELBO": in_nats(zoo["elbo"])}
    for k in DRAWS:
        numbers[f"vae-fashion: bound, {k} draws"] = in_nats(zoo[f"bound_{k}"])
        numbers[f"vae-fashion: bits, {k} draws"] = bits(zoo[f"bits_{k}"])
    for fewer, more in pairwise(DRAWS):
        numbers[f"vae-fashion: lift from {fewer} to {more} draws"] = in_nats(zoo[f"gain_{more}"])
        numbers[f"vae-fashion: standard error of the lift to {more}"] = in_nats(zoo[f"gain_{more}_error"])
    return numbers


def why(zoo: Numbers, found: dict[float, dict[str, Number]]) -> str:
    """The verdict's reason, in words."""
    each = "; ".join(
        f"beta {beta:g}: {one['active'].value:.3g} of {LATENT} units in use, error {one['error'].value:.3g}, "
        f"FD {one['fd'].value:.3g}"
        for beta, one in found.items()
    )
    lifts = " and ".join(f"by {zoo[f'gain_{b}']:.3g} from {a} to {b}" for a, b in pairwise(DRAWS))
    return f"with more draws the bound of vae-fashion rises {lifts} (nats a picture). {each}"


CLAIMS = (
    Claim(
        "vae-elbo",
        "04",
        f"vae-fashion's bound by the number of draws, on {BOUND_PICTURES} test pictures; and arms with five weights of "
        f"the KL ({WIDTHS} channels, {LATENT} numbers in the code, {STEPS} steps of {BATCH} pictures, FD "
        f"of {SAMPLES:,} samples, the rest on {PICTURES:,} test pictures)",
        "Kingma and Welling (arXiv:1312.6114), eq. 3: the ELBO is a bound; Burda and others (arXiv:1509.00519), "
        "theorem 1: with more draws it is never looser; Higgins and others (ICLR 2017): a beta above 1 makes the code "
        "tell less and the reconstruction worse",
        measure_elbo,
    ),
)
