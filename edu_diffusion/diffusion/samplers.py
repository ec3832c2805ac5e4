"""Sampling: one loop, and the rules that say how to take one step back in time."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.prediction import Prediction
from edu_diffusion.diffusion.process import mix
from edu_diffusion.types import Cond

Data = Float[Tensor, "b ..."]
# Fresh standard normal numbers of x_t's shape; 0 on the last step, which must add no noise.
Draw = Callable[[], Data | float]


@dataclass(frozen=True, eq=False)
class Step:
    """Where the sampler is after its i-th step (i = 1 for the first): x at time t, and the prediction it went by."""

    i: int
    t: int
    x: Data
    by: Prediction

    @property
    def x0(self) -> Data:
        """The x0 that the step was aiming at."""
        return self.by.x0


@runtime_checkable
class Rule(Protocol):
    """One step from time `now.t` to an earlier time s. `before` is the prediction of the step before, if any."""

    def __call__(self, now: Prediction, s: int, draw: Draw, before: Prediction | None) -> Data:
        """x_s."""


@torch.no_grad()
def sample(
    denoiser,
    shape: Sequence[int],
    *,
    steps: int | Sequence[int],
    rule: Rule,
    cond: Cond | None = None,
    x_init: Data | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk from noise to data, one `Step` at a time; the last step's x is the sample.

    `steps` is a number of evenly spaced steps, or the times themselves, falling and ending at 0. `x_init` is x at the
    first of those times, standard normal if not given. Noise comes from `generator`, on the CPU, so a seed gives the
    same noise on every device.

    Raises: ValueError if the times do not fall from at most T to 0, or if x_init has another shape.
    Source: DDPM (arXiv:2006.11239), algorithm 2, of which every other sampler here is a variation.
    """
    times = denoiser.schedule.spaced(steps) if isinstance(steps, int) else check_times(denoiser.schedule, steps)
    if x_init is not None and tuple(x_init.shape) != tuple(shape):
        raise ValueError(f"x_init must have shape {tuple(shape)}, got {tuple(x_init.shape)}")

    def normal() -> Data:
        return torch.randn(*shape, generator=generator).to(denoiser.device)

    cond = None if cond is None else cond.to(denoiser.device)
    x = normal() if x_init is None else x_init.to(denoiser.device)
    before = None
    for i, (t, s) in enumerate(pairwise(times), start=1):
        now = denoiser(x, t, cond)
        x = rule(now, s, normal if s > 0 else lambda: 0.0, before)
        before = now
        yield Step(i, s, x, now)


def generate(denoiser, shape: Sequence[int], **options) -> Data:
    """The sample alone: `sample`'s last x, with the same options."""
    for step in sample(denoiser, shape, **options):
        last = step
    return last.x


def check_times(schedule, times: Sequence[int]) -> list[int]:
    """A sampler's stops as a list.

    Raises: ValueError unless they are at least two, fall strictly, start at most at T and end at 0.
    """
    times = [int(t) for t in times]
    if len(times) < 2 or times[-1] != 0 or times[0] > schedule.T or any(t <= s for t, s in pairwise(times)):
        raise ValueError(f"times must fall strictly from at most {schedule.T} to 0, got {times[:4]}...{times[-2:]}")
    return times


def ancestral(shift: Callable[[Prediction], Data] | None = None) -> Rule:
    """DDPM's own step: the posterior's mean with the predicted x0, plus noise of the denoiser's variance.

    With `shift`, the gradient g of log p(y | x_t), the mean moves by the step's variance times g: classifier guidance
    exactly as algorithm 1 of ADM (arXiv:2105.05233) writes it.

    Source: DDPM (arXiv:2006.11239), algorithm 2 and eq. 7.
    """

    def step(now: Prediction, s: int, draw: Draw, before: Prediction | None) -> Data:
        std = torch.as_tensor(0.5 * now.log_var(s)).exp()
        mean = now.mean(s)
        if shift is not None:
            mean = mean + std**2 * shift(now)
        return mean + std * draw()

    return step


def ddim(eta: float = 0.0) -> Rule:
    """DDIM: keep the predicted eps, so that nothing random is needed. eta = 1 is ancestral sampling (fixed small).

    Raises: ValueError if eta is outside [0, 1].
    Source: DDIM (arXiv:2010.02502), eq. 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be in [0, 1], got {eta}")

    def step(now: Prediction, s: int, draw: Draw, before: Prediction | None) -> Data:
        variance = eta**2 * now.schedule.beta_tilde(now.t, s, now.x_t) if eta > 0 else 0.0
        signal, noise = now.schedule.signal(s, now.x_t), now.schedule.noise(s, now.x_t)
        x_s = now.point(signal, math.sqrt(max(noise**2 - variance, 0.0)))
        return x_s + math.sqrt(variance) * draw() if eta > 0 else x_s

    return step


def dpm_pp(order: int = 2) -> Rule:
    """DPM-Solver++ (multistep): a straight line through the last two predicted x0. Order 1 is DDIM with eta = 0.

    The first step has nothing behind it and the last ends at infinite log-SNR: both are of first order.

    Raises: ValueError if order is not 1 or 2.
    Source: DPM-Solver++ (arXiv:2211.01095), algorithm 2.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}")

    def step(now: Prediction, s: int, draw: Draw, before: Prediction | None) -> Data:
        signal, noise = now.schedule.signal(s, now.x_t), now.schedule.noise(s, now.x_t)
        shrink = noise / now.noise
        x0 = now.x0
        if order == 2 and before is not None and s > 0:
            # lambda, half the log-SNR, is the solver's own clock.
            clock = [now.schedule.log_snr(time) / 2 for time in (before.t, now.t, s)]
            ahead = (clock[2] - clock[1]) / (2 * (clock[1] - clock[0]))
            x0 = torch.lerp(before.x0, x0, 1 + ahead)
        return mix(shrink, now.x_t, signal - shrink * now.signal, x0)

    return step
