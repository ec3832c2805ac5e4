"""Training losses: one number for each example, so that a caller can weight, average or plot them by time."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edu_diffusion.diffusion.denoiser import Denoiser
from edu_diffusion.diffusion.likelihood import bound_term
from edu_diffusion.diffusion.prediction import Prediction
from edu_diffusion.diffusion.process import q_sample
from edu_diffusion.diffusion.schedule import NoiseSchedule
from edu_diffusion.types import Cond

Data = Float[Tensor, "b ..."]
PerExample = Float[Tensor, "b"]
Weighting = Callable[[NoiseSchedule, Int[Tensor, "b"]], PerExample]


def simple_loss(
    denoiser: Denoiser,
    x0: Data,
    t: Int[Tensor, "b"],
    eps: Data,
    cond: Cond | None = None,
    weighting: Weighting | None = None,
) -> PerExample:
    """Mean squared error between the network's output and its target, times an optional weight that depends on t.

    With target EPS and no weighting it is the paper's L_simple.

    Source: DDPM (arXiv:2006.11239), eq. 14.
    """
    prediction = denoiser(q_sample(denoiser.schedule, x0, t, eps), t, cond)
    loss = _squared_error(denoiser, prediction, x0, eps)
    return loss if weighting is None else loss * weighting(denoiser.schedule, t).to(loss)


def vlb_loss(denoiser: Denoiser, x0: Data, t: Int[Tensor, "b"], eps: Data, cond: Cond | None = None) -> PerExample:
    """The variational bound in bits/dim, each example's estimate from its one time: T times that time's term.

    Averaged over uniform t it is the whole bound but for the prior term, which has no parameters.

    Source: DDPM (arXiv:2006.11239), eq. 5; Improved DDPM (arXiv:2102.09672), eq. 4 to 7.
    """
    prediction = denoiser(q_sample(denoiser.schedule, x0, t, eps), t, cond)
    return denoiser.schedule.T * bound_term(prediction, x0)


def hybrid_loss(
    denoiser: Denoiser,
    x0: Data,
    t: Int[Tensor, "b"],
    eps: Data,
    cond: Cond | None = None,
    vlb_weight: float = 0.001,
) -> PerExample:
    """L_simple + vlb_weight L_vlb, where the bound teaches only the variance: its mean is detached.

    Raises: ValueError if the denoiser's variance is not learned: then there is nothing for the bound to teach.
    Source: Improved DDPM (arXiv:2102.09672), eq. 16.
    """
    if not denoiser.variance.learned:
        raise ValueError(f"hybrid_loss needs a learned variance, got {denoiser.variance.name!r}: use simple_loss")
    prediction = denoiser(q_sample(denoiser.schedule, x0, t, eps), t, cond)
    bound = denoiser.schedule.T * bound_term(prediction.with_x0(prediction.x0.detach()), x0)
    return _squared_error(denoiser, prediction, x0, eps) + vlb_weight * bound


def snr_weighting(power: float = 1.0, largest: float | None = None) -> Weighting:
    """Weight by SNR(t) ** power, cut off at `largest`.

    An x0-target weighted by the SNR itself is L_simple for eps: the two errors differ by just that factor.
    """

    def weights(schedule: NoiseSchedule, t: Int[Tensor, "b"]) -> PerExample:
        snr = torch.exp(power * schedule.log_snr(t))
        return snr if largest is None else snr.clamp(max=largest)

    return weights


def _squared_error(denoiser: Denoiser, prediction: Prediction, x0: Data, eps: Data) -> PerExample:
    schedule, t = prediction.schedule, prediction.t
    truth = denoiser.target.truth(x0, eps, schedule.signal(t, x0), schedule.noise(t, x0))
    return (prediction.raw - truth).square().flatten(1).mean(1)
