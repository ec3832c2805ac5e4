"""Improved DDPM (Nichol and Dhariwal 2021, arXiv:2102.09672), on one page.

Three changes to DDPM, each an exchanged part. The cosine schedule destroys a picture more evenly (eq. 17). The network
says the variance of each step as well, between the two that DDPM fixed (eq. 15). And the loss has a small share of the
variational bound, which alone can teach that variance (eq. 16). With the variance learned, the same network samples
well in far fewer steps, and gives a better likelihood.

    ImprovedDDPM()                                          L_hybrid, the paper's choice for pictures
    ImprovedDDPM(loss=vlb_loss, times=LossAwareTimes)       L_vlb, its choice for likelihood
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from edu_diffusion.diffusion import LEARNED, NoiseSchedule, Variance, cosine, hybrid_loss
from edu_diffusion.nets import UNet
from edu_diffusion.systems.ddpm import DDPM, ddpm_unet


def improved_unet(channels: int = 1, **options) -> UNet:
    """DDPM's network with twice the output: for each pixel eps, and where its variance lies between the two limits."""
    return ddpm_unet(channels=channels, out_channels=2 * channels, **options)


@dataclass
class ImprovedDDPM(DDPM):
    """The recipe: DDPM's training step with other parts. Any of them may be exchanged, as there."""

    net: nn.Module = field(default_factory=improved_unet)
    schedule: NoiseSchedule = field(default_factory=cosine)
    variance: Variance = LEARNED
    loss: Callable[..., Tensor] = hybrid_loss
