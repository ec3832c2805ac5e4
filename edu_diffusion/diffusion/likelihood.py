"""Likelihood: the variational bound in bits/dim, term by term.

For 8-bit images scaled to [-1, 1]: 256 levels, 2/255 apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.prediction import FIXED_SMALL, Prediction
from edu_diffusion.diffusion.process import q_posterior, q_sample
from edu_diffusion.diffusion.schedule import NoiseSchedule
from edu_diffusion.types import Cond, check_pictures

Data = Float[Tensor, "b ..."]
PerExample = Float[Tensor, "b"]
HALF_LEVEL = 1 / 255
SMALLEST = 1e-30


def normal_kl(mean_a, log_var_a, mean_b, log_var_b) -> Tensor:
    """KL(N(mean_a, var_a) || N(mean_b, var_b)) in nats, element by element; variances by their logarithms."""
    log_var_a, log_var_b = torch.as_tensor(log_var_a), torch.as_tensor(log_var_b)
    ratio = torch.exp(log_var_a - log_var_b)
    distance = (mean_a - mean_b) ** 2 * torch.exp(-log_var_b)
    return 0.5 * (log_var_b - log_var_a + ratio + distance - 1)


def discretised_log_likelihood(x0: Data, mean: Data, log_var) -> Data:
    """log of the probability that a Gaussian puts on x0's own level, one of 256; the end levels reach to infinity.

    A probability below 1e-30, a miss by more than eleven standard deviations, counts as 1e-30: as the logarithm of 0 it
    would make the whole bound infinite. For such a pixel the value is no longer a bound, and gives no gradient.

    Source: DDPM (arXiv:2006.11239), eq. 13.
    """
    std = torch.exp(0.5 * torch.as_tensor(log_var))
    below, above = (x0 - HALF_LEVEL - mean) / std, (x0 + HALF_LEVEL - mean) / std
    below = torch.where(x0 < -1 + HALF_LEVEL, torch.full_like(below, -math.inf), below)
    above = torch.where(x0 > 1 - HALF_LEVEL, torch.full_like(above, math.inf), above)
    # The interval's mirror image has the same probability. On the left the tail is a small number, with all its
    # digits; on the right it would be 1 minus that, which float32 rounds away.
    right = below + above > 0
    below, above = torch.where(right, -above, below), torch.where(right, -below, above)
    return (_left_tail(above) - _left_tail(below)).clamp(min=SMALLEST).log()


def _left_tail(z: Tensor) -> Tensor:
    """The probability that a standard normal number is below z, exact far to the left."""
    return 0.5 * torch.special.erfc(-z / math.sqrt(2))


def bound_term(prediction: Prediction, x0: Data) -> PerExample:
    """One term of the bound for each example, in bits/dim: L_{t-1} for t > 1, L_0 for t = 1.

    `prediction.t` must hold a time for each example.

    Source: DDPM (arXiv:2006.11239), eq. 5.
    """
    t = prediction.t
    mean, log_var = prediction.mean(t - 1), prediction.log_var(t - 1)
    true_mean, _ = q_posterior(prediction.schedule, x0, prediction.x_t, t, t - 1)
    # FIXED_SMALL's finite log beta_tilde; at t = 1 the value is not used.
    true_log_var = FIXED_SMALL.log_var(prediction, t - 1)
    divergence = normal_kl(true_mean, true_log_var, mean, log_var)
    decoder = -discretised_log_likelihood(x0, mean, log_var)
    first = (t == 1).reshape(-1, *[1] * (x0.ndim - 1)).to(x0.device)
    return torch.where(first, decoder, divergence).flatten(1).mean(1) / math.log(2)


def prior_term(schedule: NoiseSchedule, x0: Data) -> PerExample:
    """L_T in bits/dim: how far q(x_T | x0) still is from N(0, I). It has no parameters.

    Source: DDPM (arXiv:2006.11239), eq. 5, first term.
    """
    # In float64: the term can be 1e-9, the small difference of numbers near 1.
    mean = schedule.signal(schedule.T, x0) * x0.cpu().double()
    log_var = torch.tensor(2 * math.log(schedule.noise(schedule.T, x0)), dtype=torch.float64)
    return (normal_kl(mean, log_var, torch.zeros(()), 0.0).flatten(1).mean(1) / math.log(2)).to(x0)


@dataclass(frozen=True)
class Bits:
    """The bound on a set of images, in bits/dim, each entry a mean over the images.

    `terms[t - 1]` belongs to time t; `prior` is L_T; `x0_error[t - 1]` is the mean squared error of the predicted x0
    (in squared units of [-1, 1]), from which rate-distortion curves are drawn.
    """

    terms: Float[Tensor, "T"]
    prior: float
    x0_error: Float[Tensor, "T"]

    @property
    def total(self) -> float:
        """The whole bound: all terms and the prior."""
        return self.terms.sum().item() + self.prior


@torch.no_grad()
def bits_per_dim(
    denoiser,
    x0: Data,
    *,
    generator: torch.Generator | None = None,
    cond: Cond | None = None,
    times: Sequence[int] | None = None,
    batch: int = 256,
) -> Bits:
    """The variational bound on x0, with one draw of eps for each image and time.

    All times are visited, one network call an image and time, `batch` pairs a call. `times` visits only those and
    spreads each term over its neighbours, for a quick estimate of the curves; `total` is then an estimate too.

    Raises: ValueError for pictures that are not in [-1, 1].
    Source: DDPM (arXiv:2006.11239), eq. 5; Improved DDPM (arXiv:2102.09672), section 2.
    """
    if x0.ndim == 4:
        check_pictures(x0)
    schedule, n = denoiser.schedule, len(x0)
    times = torch.arange(1, schedule.T + 1) if times is None else torch.as_tensor(sorted(times))
    rows, columns = torch.cartesian_prod(torch.arange(len(times)), torch.arange(n)).unbind(1)
    terms, errors = torch.zeros(len(times), dtype=torch.float64), torch.zeros(len(times), dtype=torch.float64)
    for row, column in zip(rows.split(batch), columns.split(batch), strict=True):
        clean, t = x0[column], times[row]
        eps = torch.randn(clean.shape, generator=generator).to(clean)
        chosen = None if cond is None else cond.select(column)
        prediction = denoiser(q_sample(schedule, clean, t, eps), t, chosen)
        terms.index_add_(0, row, bound_term(prediction, clean).cpu().double())
        errors.index_add_(0, row, (prediction.x0 - clean).square().flatten(1).mean(1).cpu().double())
    # A visited time stands for all times nearer to it than to another visited one.
    nearest = (torch.arange(1, schedule.T + 1)[:, None] - times).abs().argmin(1)
    return Bits(terms[nearest] / n, prior_term(schedule, x0).mean().item(), errors[nearest] / n)
