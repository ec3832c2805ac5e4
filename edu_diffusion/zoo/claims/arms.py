"""The arms of claims: small networks, each trained for the same short budget in one way that differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edu_diffusion.data import Batches, fashion
from edu_diffusion.diffusion import ClipX0, NoiseSchedule, bits_per_dim, posterior_weights, q_sample
from edu_diffusion.nets import UNet
from edu_diffusion.systems.ddpm import DDPM, ddpm_unet
from edu_diffusion.training import Checkpoint, Ema, Recipe, adamw, pick_runtime, train
from edu_diffusion.types import Cond
from edu_diffusion.zoo.claims.core import Arms, Number, Numbers, check_budget, over_seeds
from edu_diffusion.zoo.loading import card, load
from edu_diffusion.zoo.measure import draw, fd

# About five minutes of one core for an arm, and 460,000 parameters. The same for all: no arm is tuned.
STEPS, BATCH, RATE, DECAY, WIDTHS = 900, 64, 2e-3, 0.997, (32, 64)
SEEDS = (0, 1, 2)
SAMPLES, SAMPLE_STEPS = 2000, 25
PICTURES, TIMES = 128, 60  # on how many test pictures, at how many times, errors and bits are measured


@dataclass(frozen=True)
class Arm:
    """One way of training. `build()` makes the untrained system, `evaluate(system, seed)` its numbers.

    `name` is what it is stored under. `widths` must be those of the network that `build` makes. What is not given is
    what all arms have in common.
    """

    name: str
    build: Callable[[], DDPM]
    evaluate: Callable[[DDPM, int], Numbers] | None = None
    widths: tuple[int, ...] | None = None
    steps: int | None = None

    def budget(self) -> dict[str, int | float | list[int]]:
        """What makes its numbers comparable; stored with them, so that unlike ones are never compared."""
        return {
            "steps": self.steps or STEPS,
            "batch": BATCH,
            "rate": RATE,
            "ema": DECAY,
            "widths": list(self.widths or WIDTHS),
            "samples": SAMPLES,
            "sample_steps": SAMPLE_STEPS,
            "pictures": PICTURES,
            "times": TIMES,
        }


BUDGET = (
    f"each arm: {WIDTHS} channels, {STEPS} steps of {BATCH} pictures, FD of {SAMPLES:,} DDIM-{SAMPLE_STEPS} samples, "
    f"errors and bits on {PICTURES} test pictures at {TIMES} times"
)


def small_unet(**options) -> UNet:
    """The arms' network: the course's default, narrower."""
    return ddpm_unet(**{"widths": WIDTHS} | options)


def measured(arms: Arms, name: str, build: Callable[[], DDPM], **options) -> dict[str, Number]:
    """An arm's numbers over all seeds: `fd`, `eps_error` and `bits`, trained and measured where they are not stored.

    Raises: ValueError if the stored numbers belong to another budget.
    """
    runs = all_seeds(arms, Arm(name, build, **options))
    return {
        "fd": over_seeds([run["fd"] for run in runs], floor=runs[0]["floor"]),
        "eps_error": over_seeds([run["eps_error"] for run in runs], unit="mean squared"),
        "bits": over_seeds([run["bits"] for run in runs], unit="bits/dim"),
    }


def all_seeds(arms: Arms, arm: Arm) -> list[Numbers]:
    """An arm's record for each seed, trained and measured where it is not stored.

    Raises: ValueError if a stored record belongs to another budget.
    """
    runs = []
    for seed in SEEDS:
        name = f"{arm.name}-seed{seed}"
        stored = arms.get(name, lambda checkpoint, seed=seed: run_arm(arm, seed, checkpoint))
        check_budget(name, stored, arm.budget())
        runs.append(stored)
    return runs


def run_arm(arm: Arm, seed: int, checkpoint: Checkpoint | None = None) -> Numbers:
    """Train one arm, then measure its averaged weights.

    Raises: FloatingPointError if its loss is no longer finite; ValueError if its network is not of the arm's widths.
    """
    system = train_arm(arm, seed, checkpoint)
    parameters = sum(p.numel() for p in system.modules["net"].parameters())
    found = (arm.evaluate or evaluate)(system, seed)
    return found | {"parameters": parameters, "seed": seed, "budget": arm.budget()}


def train_arm(arm: Arm, seed: int, checkpoint: Checkpoint | None = None) -> DDPM:
    """The arm's system, trained, with its averaged weights."""
    torch.manual_seed(seed)
    system, runtime = arm.build(), pick_runtime()
    net = system.modules["net"]
    built = {part.widths for part in net.modules() if isinstance(part, UNet)}
    if built - {tuple(arm.widths or WIDTHS)}:
        raise ValueError(f"the arm {arm.name} says widths {arm.widths or WIDTHS}, but builds {built}")
    ema = Ema(net, DECAY)
    optimisers = {"net": adamw(net.parameters(), RATE)}
    data = Batches(fashion(), BATCH, seed=seed)
    options = {
        "steps": arm.steps or STEPS,
        "ema": {"net": ema},
        "checkpoint": checkpoint,
        "seed": seed,
        "runtime": runtime,
    }
    for _ in train(system, data, optimisers, **options):
        pass
    system.modules["net"] = runtime.wrap(ema.module)
    return system


def evaluate(system: DDPM, seed: int) -> Numbers:
    """What is measured of an arm. Samples and bits are those of the clipped x0; the error of eps is the network's."""
    denoiser = system.denoiser
    pictures = fashion("test").x[:PICTURES].to(denoiser.device)
    generator = torch.Generator().manual_seed(0)
    bits = bits_per_dim(ClipX0(denoiser), pictures, times=spread_times(denoiser.schedule), generator=generator)
    distance = fd(draw(denoiser, SAMPLES, seed=seed, steps=SAMPLE_STEPS), seed)
    return {
        "fd": distance.value,
        "floor": distance.floor,
        "eps_error": eps_error(denoiser, pictures),
        "bits": bits.total,
    }


def of_zoo(arms: Arms, entry: str, what: str, measure: Callable[[Recipe], Numbers]) -> Numbers:
    """Numbers of a zoo entry, stored under `what` like an arm's, so that a long sweep may be interrupted.

    Raises: ValueError if the stored numbers belong to other weights than the entry has now.
    """
    digest = card(entry).weight_sha256
    stored = arms.get(f"{entry}-{what}", lambda checkpoint: measure(load(entry)) | {"weights": digest})
    if stored["weights"] != digest:
        raise ValueError(
            f"{entry}-{what} was measured of other weights than {entry} has now: delete it from the ledger's arms"
        )
    return stored


def spread_times(schedule: NoiseSchedule, count: int = TIMES) -> Sequence[int]:
    """About `count` times from 1 to T, dense where t is small: the bound changes fastest there."""
    return sorted({round(schedule.T ** (i / (count - 1))) for i in range(count)})


@torch.no_grad()
def eps_error(denoiser, pictures: Tensor) -> float:
    """Mean squared error of the predicted eps, over TIMES evenly spaced times: L_simple, whatever the target is."""
    generator, errors = torch.Generator().manual_seed(0), []
    for t in denoiser.schedule.spaced(TIMES)[:-1]:
        eps = torch.randn(pictures.shape, generator=generator).to(pictures)
        errors.append((denoiser(q_sample(denoiser.schedule, pictures, t, eps), t).eps - eps).square().mean())
    return torch.stack(errors).mean().item()


class PredictsMean(nn.Module):
    """A network that puts out the mean of x_{t-1}, seen from outside as one that puts out x0.

    The posterior's mean is a x0 + b x_t (DDPM eq. 7), so a network's mean m stands for x0 = (m - b x_t) / a. A denoiser
    with target X0 makes of that the mean a x0 + b x_t = m again: under the bound it is m that is trained.
    """

    def __init__(self, net: nn.Module, schedule: NoiseSchedule):
        super().__init__()
        self.net, self.schedule = net, schedule

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond | None = None) -> Tensor:
        """x0, by way of the mean."""
        times = t.long()
        # A step's noise is small beside x_t: in half precision m would be lost.
        with torch.autocast(x_t.device.type, enabled=False):
            mean = self.net(x_t.float(), t, cond)
        a, b = posterior_weights(self.schedule, x_t, times, times - 1)
        return (mean - b * x_t) / a
