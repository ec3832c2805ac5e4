"""The forward process q: from clean data towards noise, and back when the data is known.

All formulas hold for any two times t > s; with s = t - 1 they are the paper's.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.schedule import Coefficient, NoiseSchedule, Times


def mix(a: Coefficient, x: Float[Tensor, "b ..."], b: Coefficient, y: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """a x + b y. Plain numbers, one for the whole batch, save passes over the data."""
    if not isinstance(a, float) or not isinstance(b, float):
        return a * x + b * y
    if a == 0:
        return y if b == 1 else b * y
    return torch.add(a * x, y, alpha=b)


def q_sample(
    schedule: NoiseSchedule, x0: Float[Tensor, "b ..."], t: Times, eps: Float[Tensor, "b ..."]
) -> Float[Tensor, "b ..."]:
    """x_t straight from x0, with no chain: signal_t x0 + noise_t eps, where eps is standard normal.

    Raises: ValueError if eps has not x0's shape or t is outside 0..T.
    Source: DDPM (arXiv:2006.11239), eq. 4.
    """
    if eps.shape != x0.shape:
        raise ValueError(f"eps must have the shape of x0, {tuple(x0.shape)}, got {tuple(eps.shape)}")
    return schedule.signal(t, x0) * x0 + schedule.noise(t, x0) * eps


def q_step(
    schedule: NoiseSchedule, x_s: Float[Tensor, "b ..."], t: Times, s: Times, eps: Float[Tensor, "b ..."]
) -> Float[Tensor, "b ..."]:
    """x_t from an earlier x_s: shrink by sqrt(1 - beta), add noise of variance beta.

    Raises: ValueError if eps has not x_s's shape, a time is outside 0..T, or s is not below t.
    Source: DDPM (arXiv:2006.11239), eq. 2.
    """
    if eps.shape != x_s.shape:
        raise ValueError(f"eps must have the shape of x_s, {tuple(x_s.shape)}, got {tuple(eps.shape)}")
    beta = schedule.beta(t, s, x_s)
    return (1 - beta) ** 0.5 * x_s + beta**0.5 * eps


def q_posterior(
    schedule: NoiseSchedule, x0: Float[Tensor, "b ..."], x_t: Float[Tensor, "b ..."], t: Times, s: Times
) -> tuple[Float[Tensor, "b ..."], Coefficient]:
    """Mean and variance of x_s when both x0 and x_t are known; a Gaussian.

    Raises: ValueError if a time is outside 0..T, or s is not below t.
    Source: DDPM (arXiv:2006.11239), eq. 6 and 7.
    """
    towards_x0, towards_x_t = posterior_weights(schedule, x_t, t, s)
    return towards_x0 * x0 + towards_x_t * x_t, schedule.beta_tilde(t, s, x_t)


def posterior_weights(schedule: NoiseSchedule, like: Tensor, t: Times, s: Times) -> tuple[Coefficient, Coefficient]:
    """The two coefficients of the posterior's mean: of x0, then of x_t (DDPM eq. 7)."""
    beta, noise_s, noise_t = schedule.beta(t, s, like), schedule.noise(s, like), schedule.noise(t, like)
    return schedule.signal(s, like) * beta / noise_t**2, (1 - beta) ** 0.5 * noise_s**2 / noise_t**2
