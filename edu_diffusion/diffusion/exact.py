"""The denoiser that no network can beat: where the data's distribution is known, its answer is a formula."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.denoiser import Denoiser
from edu_diffusion.diffusion.prediction import FIXED_SMALL, X0, Variance
from edu_diffusion.diffusion.schedule import NoiseSchedule


@runtime_checkable
class Known(Protocol):
    """A distribution of x0 that one can reckon with: `GaussianMixture` and `Empirical` of `edu_diffusion.data`."""

    def posterior_mean(
        self, x_t: Float[Tensor, "b ..."], signal: Float[Tensor, "b"], noise: Float[Tensor, "b"]
    ) -> Float[Tensor, "b ..."]:
        """E[x0 | x_t], where x_t = signal x0 + noise eps."""


def exact_denoiser(known: Known, schedule: NoiseSchedule, variance: Variance = FIXED_SMALL) -> Denoiser:
    """E[x0 | x_t] by formula: the minimiser of the squared error, however it is weighted over t, on this distribution.

    Source: EDM (arXiv:2206.00364), appendix B.3, for a finite data set.
    """

    def net(x_t: Float[Tensor, "b ..."], t: Float[Tensor, "b"], cond=None) -> Float[Tensor, "b ..."]:
        times, one_each = t.long(), x_t.flatten(1)[:, 0]
        return known.posterior_mean(x_t, schedule.signal(times, one_each), schedule.noise(times, one_each))

    return Denoiser(net, schedule, X0, variance)
