"""Claims of lesson 06, forward diffusion. Both need no trained network."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import NoiseSchedule, cosine, linear, prior_term, q_step
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, verdict

WALKERS, STOPS = 400, (10, 50, 100, 200, 300, 400, 500, 600, 800, 1000)


def measure_closed(arms: Arms) -> Finding:
    """Walk one test picture through all thousand steps many times, and compare the walkers with the closed form.

    At each of ten times, the walkers' mean and variance at each pixel are compared with those of eq. 4, in units of
    the standard error that so many walkers have (a z-score): if the two agree, the root mean square of the z-scores
    is 1. Beside it the chain's moments are followed exactly, step by step, in float64.

    Verdict: two parts for each of the two schedules. The walkers agree if both root mean squares lie in 0.9..1.1; the
    exact moments agree if they differ by less than 1e-9.
    """
    numbers, kept = {}, []
    for schedule in (linear(), cosine()):
        means, variances = walk(schedule)
        off = exact_difference(schedule)
        numbers |= {
            f"{schedule.name}: error of the mean": Number(means, unit="standard errors, root mean square", floor=1.0),
            f"{schedule.name}: error of the variance": Number(
                variances, unit="standard errors, root mean square", floor=1.0
            ),
            f"{schedule.name}: exact moments differ by": Number(off),
        }
        kept += [0.9 < means < 1.1 and 0.9 < variances < 1.1, off < 1e-9]
    _, slip = walk(linear(), lambda schedule, t, x: schedule.noise(t, x) ** 4)
    numbers["linear, 1 - alpha_bar taken for the std: error of the variance"] = Number(
        slip, unit="standard errors, root mean square", floor=1.0
    )
    why = (
        f"at {len(STOPS)} times, {WALKERS} walkers stand as the formula says, within chance; the usual slip, "
        f"1 - alpha_bar in place of its root, would show as {slip:,.0f} standard errors"
    )
    return Finding(numbers, verdict(*kept), why if all(kept) else "the chain and the formula differ: see the numbers")


Variance = Callable[[NoiseSchedule, int, Tensor], float]


def walk(schedule: NoiseSchedule, variance: Variance = lambda s, t, x: s.noise(t, x) ** 2) -> tuple[float, float]:
    """Root mean square z-scores of the walkers' mean and variance against signal x0 and `variance`, over all STOPS."""
    generator = torch.Generator().manual_seed(0)
    x0 = fashion("test").x[:1]
    x, scores = x0.expand(WALKERS, -1, -1, -1), []
    for t in range(1, schedule.T + 1):
        x = q_step(schedule, x, t, t - 1, torch.randn(x.shape, generator=generator))
        if t in STOPS:
            scores.append(z_scores(x, schedule.signal(t, x0) * x0[0], variance(schedule, t, x0)))
    means, variances = torch.stack(scores).square().mean((0, 2)).sqrt().tolist()
    return means, variances


def z_scores(x: Float[Tensor, "n c h w"], mean: Float[Tensor, "c h w"], variance: float) -> Float[Tensor, "two d"]:
    """How far mean and variance of n values lie from those of the Gaussian they should come from, pixel by pixel.

    n values of it have a mean with standard error std / sqrt(n), and a variance with relative standard error
    sqrt(2 / (n - 1)).
    """
    n, x = len(x), x.double()
    off_mean = (x.mean(0) - mean) / math.sqrt(variance / n)
    off_variance = (x.var(0) / variance - 1) / math.sqrt(2 / (n - 1))
    return torch.stack([off_mean.flatten(), off_variance.flatten()])


def exact_difference(schedule: NoiseSchedule) -> float:
    """The largest difference, over all t, between the closed form and the chain's moments followed step by step.

    One step multiplies the signal by sqrt(1 - beta) and turns a variance v into (1 - beta) v + beta (DDPM eq. 2).
    """
    signal, variance, worst, like = 1.0, 0.0, 0.0, torch.zeros((), dtype=torch.float64)
    for t in range(1, schedule.T + 1):
        beta = schedule.beta(t, t - 1, like)
        signal, variance = signal * math.sqrt(1 - beta), (1 - beta) * variance + beta
        worst = max(worst, abs(signal - schedule.signal(t, like)), abs(variance - schedule.noise(t, like) ** 2))
    return worst


def measure_prior(arms: Arms) -> Finding:
    """L_T on the 10,000 test pictures: how far x_T still is from pure noise, in bits/dim.

    Beside it, how often a detective who knows the picture tells its x_T from pure noise: with two Gaussians whose
    means lie signal ||x0|| apart, at most Phi(signal ||x0|| / 2) of the time; one half is guessing. The last
    schedule takes the paper's betas for a hundred steps only; the one before reaches the paper's end in ten.

    Verdict: one part for each of the two schedules of the papers. Kept if L_T is at most 1e-4, ten times the paper's
    figure, and the detective is right at most 0.55 of the time.
    """
    x0 = fashion("test").x.double()
    schedules = {
        "linear": linear(),
        "cosine": cosine(),
        "ten steps to the same end": ten_steps(),
        "linear, stopped after 100 steps": stopped(100),
    }
    numbers, kept = {}, []
    for name, schedule in schedules.items():
        bits, right = prior_term(schedule, x0).mean().item(), detective(schedule, x0)
        numbers[f"{name}: L_T"] = Number(bits, unit="bits/dim")
        numbers[f"{name}: detective right"] = Number(right, floor=0.5)
        kept.append(bits <= 1e-4 and right <= 0.55)
    value = {name: number.value for name, number in numbers.items()}
    why = (
        f"L_T is {value['linear: L_T']:.1e} bits/dim with the linear schedule and {value['cosine: L_T']:.1e} with "
        f"cosine; who knows the picture tells x_T from noise {value['linear: detective right']:.1%} of the time. "
        f"The number of steps is not what does it: ten that reach the same alpha_bar end alike "
        f"({value['ten steps to the same end: L_T']:.1e}), a hundred that do not leave "
        f"{value['linear, stopped after 100 steps: L_T']:.2g}"
    )
    return Finding(numbers, verdict(*kept[:2]), why)


def detective(schedule: NoiseSchedule, x0: Float[Tensor, "n c h w"]) -> float:
    """How often the best possible detective is right, between noise and x_T of a picture she knows, over all pictures.

    The two variances, 1 - alpha_bar and 1, are taken as equal.
    """
    apart = schedule.signal(schedule.T, x0) * x0.flatten(1).norm(dim=1)
    return torch.special.ndtr(apart / schedule.noise(schedule.T, x0) / 2).mean().item()


def stopped(T: int) -> NoiseSchedule:
    """The first T steps of the linear schedule of a thousand."""
    return NoiseSchedule(linear().alpha_bar[: T + 1].clone(), f"linear, first {T} steps")


def ten_steps() -> NoiseSchedule:
    """Every hundredth alpha_bar of the linear schedule: ten large steps to the same end."""
    return NoiseSchedule(linear().alpha_bar[::100].clone(), "linear, ten steps")


CLAIMS = [
    Claim(
        "fwd-closed",
        "06",
        "many small steps against one jump: moments of x_t, linear and cosine schedules",
        "x_t given x0 is N(sqrt(alpha_bar_t) x0, (1 - alpha_bar_t) I), exactly (DDPM, arXiv:2006.11239, eq. 4)",
        measure_closed,
    ),
    Claim(
        "fwd-prior",
        "06",
        "x_T against N(0, I): L_T on the test pictures, by schedule",
        "L_T is about 1e-5 bits/dim on CIFAR-10, T = 1000, linear schedule (DDPM, arXiv:2006.11239, section 4)",
        measure_prior,
    ),
]
