"""Claims of lesson 02, autoencoders: where codes may be drawn from, and what a denoiser's residual is."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data import Batches, GaussianMixture, fashion, ring
from edu_diffusion.systems.autoencoder import (
    Autoencoder,
    DenoisingAutoencoder,
    GaussianNoise,
    grey_error,
    points_denoiser,
)
from edu_diffusion.training import Checkpoint, adamw, train
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
from edu_diffusion.zoo.measure import BATCH, fd

SAMPLES = 10_000
NEAR = (0.1, 0.3)  # sizes of the steps away from real codes, as shares of the codes' own spread

SIGMAS, SEEDS = (0.1, 0.2, 0.5, 1.0), (0, 1, 2)
POINTS, STEPS, PER_STEP, RATE, WIDTH = 100_000, 6000, 512, 2e-3, 128
PLACES = 20_000  # at how many points the two fields are compared
REACH, AWAY = 6.0, 4.0  # far places: in [-REACH, REACH]^2, more than AWAY standard deviations from every cluster
COSINE, ERROR = 0.95, 0.3  # what still counts as the same field


def measure_gaps(arms: Arms) -> Finding:
    """FD of decoded codes of the zoo's plain autoencoder (ae-fashion), and of the VAE's (vae-fashion).

    The autoencoder's codes are drawn in three ways: as independent standard normal numbers, which nothing in its
    training speaks for; from the Gaussian that has the training codes' mean and covariance; and near codes of real
    test pictures, by a step with a tenth (and three tenths) of that Gaussian's spread. Its reconstructions of the test
    pictures show what the decoder can do. These last, and the codes near real ones, belong to the very pictures they
    are compared with: they have no sampling noise, and a perfect autoencoder would score 0 and not the floor.

    Verdict: two parts. The plain code space has holes: FD of the codes from the fitted Gaussian is at least twice that
    of the codes a tenth away from real ones. And the VAE's is sampled from: its samples have a lower FD than those from
    the fitted Gaussian, by more than a tenth.
    """
    ways = {"standard normal": standard, "fitted Gaussian": drawn}
    ways |= {f"{share:g} from real codes": lambda ae, share=share: near(ae, share) for share in NEAR}
    ways |= {"codes of real pictures": lambda ae: near(ae, 0.0)}
    found = {name: of_zoo(arms, "ae-fashion", key(name), measure) for name, measure in ways.items()}
    vae = of_zoo(arms, "vae-fashion", "drawn", drawn)
    numbers = {f"AE, {name}: FD": Number(one["fd"], floor=one.get("floor")) for name, one in found.items()}
    numbers |= {"VAE, its prior: FD": Number(vae["fd"], floor=vae["floor"])}
    error = found["codes of real pictures"]["error"]
    numbers |= {"AE: error of reconstructions": Number(error, unit="grey levels of 255, RMS")}
    fitted, close = found["fitted Gaussian"]["fd"], found[f"{NEAR[0]:g} from real codes"]["fd"]
    kept = fitted >= 2 * close, lower(Number(vae["fd"]), Number(fitted))
    why = (
        f"decoded codes of the plain autoencoder have FD {found['standard normal']['fd']:.3g} if they are standard "
        f"normal, {fitted:.3g} if drawn from a Gaussian fitted to the training codes, {close:.3g} if they lie a tenth "
        f"of its spread from real ones, and {found['codes of real pictures']['fd']:.3g} if they are real; the VAE's "
        f"samples have {vae['fd']:.3g}"
    )
    return Finding(numbers, verdict(*kept), why)


def key(name: str) -> str:
    """A way's name as part of a file's."""
    return name.replace(" ", "-").replace(".", "")


def drawn(system) -> Numbers:
    """FD of pictures that a system draws by itself."""
    return sampled(system.pictures)


def standard(system: Autoencoder) -> Numbers:
    """FD of decoded codes of independent standard normal numbers."""
    k = len(system.coder.code_mean)
    return sampled(lambda count, generator: system.decode(torch.randn(count, k, generator=generator)))


def sampled(draw: Callable[[int, torch.Generator], Tensor]) -> Numbers:
    """FD of SAMPLES pictures, and its floor."""
    generator = torch.Generator().manual_seed(0)
    images = torch.cat([draw(BATCH, generator).cpu() for _ in range(math.ceil(SAMPLES / BATCH))])[:SAMPLES]
    distance = fd(images, 0)
    return {"fd": distance.value, "floor": distance.floor}


def near(system: Autoencoder, share: float) -> Numbers:
    """FD of decoded codes of test pictures, each moved by `share` of the training codes' Gaussian; and their error."""
    x, generator = fashion("test").x[:SAMPLES], torch.Generator().manual_seed(0)
    codes = system.encode(x)
    step = torch.randn(codes.shape, generator=generator) @ system.coder.code_root.cpu().T
    images = system.decode(codes + share * step)
    return {"fd": fd(images, 0).value, "error": grey_error(images, x)}


def measure_score(arms: Arms) -> Finding:
    """A small denoising autoencoder's residual over sigma^2, beside the exact score of the noised eight-Gaussian ring.

    Trained for each sigma with three seeds. The two fields are compared as one long vector each, over points drawn from
    the noised density, and over places far from it: further than four of the noised clusters' standard deviations from
    every centre, where training hardly ever looked and the network is free to answer anything. Far off any arrow back
    has nearly the right direction, so the guess itself is compared too: how far it lies from the best guess, in the
    plane's units (root mean square; the ring's radius is 1.41).

    Verdict: one part for each sigma. Where the noised data are, the cosine similarity is at least 0.95 and the relative
    error at most 0.3, as means over the seeds. The places far away are no part of it, as nothing is claimed there.
    """
    numbers, kept, found_at = {}, [], {}
    for sigma in SIGMAS:
        runs = [score_arm(arms, sigma, seed) for seed in SEEDS]
        found = {name: over_seeds([run[name] for run in runs]) for name in runs[0] if name in MEASURED}
        numbers |= {f"sigma {sigma:g}, {MEASURED[name]}": number for name, number in found.items()}
        kept.append(found["near_cosine"].value >= COSINE and found["near_error"].value <= ERROR)
        found_at[sigma] = {name: number.value for name, number in found.items()}
    why = "; ".join(
        f"sigma {sigma:g}: where the noised data are, cosine {at['near_cosine']:.3f}, relative error "
        f"{at['near_error']:.0%}, and the guess is off by {at['near_miss']:.2g}; far from them by {at['far_miss']:.2g}"
        for sigma, at in found_at.items()
    )
    return Finding(numbers, verdict(*kept), why)


MEASURED = {
    "near_cosine": "where the data are: cosine similarity",
    "near_error": "where the data are: relative error",
    "near_miss": "where the data are: guess off by",
    "far_cosine": "far from the data: cosine similarity",
    "far_error": "far from the data: relative error",
    "far_miss": "far from the data: guess off by",
}


def score_arm(arms: Arms, sigma: float, seed: int) -> Numbers:
    """An arm's record, trained and measured where it is not stored.

    Raises: ValueError if the stored record belongs to another budget.
    """
    name = f"dae-ring-{key(f'{sigma:g}')}-seed{seed}"
    stored = arms.get(name, lambda checkpoint: run_score(sigma, seed, checkpoint) | {"seed": seed, "budget": budget()})
    check_budget(name, stored, budget())
    return stored


def budget() -> dict[str, int | float]:
    """What makes the arms' numbers comparable; stored with them."""
    return {
        "points": POINTS,
        "steps": STEPS,
        "batch": PER_STEP,
        "rate": RATE,
        "width": WIDTH,
        "places": PLACES,
        "reach": REACH,
        "away": AWAY,
    }


def run_score(sigma: float, seed: int, checkpoint: Checkpoint | None = None) -> Numbers:
    """Train a denoising autoencoder on the ring at this sigma, and compare the fields near the data and far away."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    system = DenoisingAutoencoder(points_denoiser(WIDTH), GaussianNoise(sigma))
    data = Batches(ring().sample(POINTS, generator), PER_STEP, seed=seed)
    optimisers = {"net": adamw(system.net.parameters(), RATE)}
    for _ in train(system, data, optimisers, steps=STEPS, checkpoint=checkpoint, seed=seed):
        pass
    noised = ring().diffused(1.0, sigma)
    places = {"near": noised.sample(PLACES, generator), "far": far_places(noised, PLACES, generator)}
    return {
        f"{where}_{name}": value
        for where, x in places.items()
        for name, value in agreement(system.score(x), noised.score(x), sigma).items()
    }


def far_places(noised: GaussianMixture, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Places drawn evenly from the square, those near a cluster left out."""
    found = torch.empty(0, 2)
    while len(found) < count:
        x = REACH * (2 * torch.rand(count, 2, generator=generator) - 1)
        away = torch.cdist(x.double(), noised.means) > AWAY * noised.stds
        found = torch.cat([found, x[away.all(1)]])
    return found[:count]


def agreement(ours: Float[Tensor, "n d"], exact: Float[Tensor, "n d"], sigma: float) -> dict[str, float]:
    """Two fields of scores as one long vector each: cosine similarity, and the relative length of the difference.

    And how far the guesses lie apart, which these scores belong to: the root mean square distance.
    """
    cosine, off = (ours * exact).sum() / (ours.norm() * exact.norm()), (ours - exact).norm()
    miss = sigma**2 * off / math.sqrt(len(ours))
    return {"cosine": cosine.item(), "error": (off / exact.norm()).item(), "miss": miss.item()}


CLAIMS = [
    Claim(
        "ae-gaps",
        "02",
        f"FD of {SAMPLES:,} decoded codes of ae-fashion, drawn in several ways, and of as many samples of vae-fashion",
        "a VAE is trained so that codes can be drawn from its prior (arXiv:1312.6114); nothing asks that of a plain "
        "autoencoder, but a density fitted to its codes afterwards can do as well as a VAE (arXiv:1903.12436)",
        measure_gaps,
    ),
    Claim(
        "dae-score",
        "02",
        f"denoising autoencoders on the eight-Gaussian ring ({STEPS:,} steps of {PER_STEP} points): residual over "
        "sigma^2 against the exact score of the noised data",
        "Vincent 2011 (Neural Computation 23): denoising with Gaussian noise is score matching; Alain and Bengio 2014 "
        "(arXiv:1211.4246): for small noise the residual of a denoising autoencoder is sigma^2 times the score",
        measure_score,
    ),
]
