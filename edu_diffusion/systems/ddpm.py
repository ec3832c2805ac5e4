"""DDPM: denoising diffusion probabilistic models (Ho, Jain and Abbeel 2020, arXiv:2006.11239), on one page.

A U-Net sees a noisy picture and its time and guesses the noise. The loss is the squared error of that guess; the
variance of the reverse steps is fixed; one samples by walking back from noise:

    recipe = DDPM()
    ema = Ema(recipe.net)
    for log in train(recipe, batches, {"net": adamw(recipe.net.parameters())}, steps=20_000, ema={"net": ema}):
        ...
    averaged = recipe.denoiser.with_net(ema.module)
    generate(ClipX0(averaged), (16, 1, 28, 28), steps=1000, rule=ancestral())
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from edu_diffusion.diffusion import (
    EPS,
    FIXED_SMALL,
    Denoiser,
    LossAwareTimes,
    NoiseSchedule,
    Target,
    UniformTimes,
    Variance,
    linear,
    simple_loss,
)
from edu_diffusion.nets import UNet
from edu_diffusion.types import Batch, Cond, Rng, check_pictures


def ddpm_unet(**options) -> UNet:
    """The course's default network, for 28x28 grey pictures: about a million parameters, at 14x14 and 7x7 inside."""
    return UNet(**{"channels": 1, "widths": (48, 96), "attention": (False, True)} | options)


@dataclass
class DDPM:
    """The recipe: a network, a schedule, and the loss of one guess at a random time.

    The defaults are the paper's: linear schedule, eps as the target, L_simple, fixed variance, all times equally often.
    Any of them may be exchanged. `loss` has the signature of `simple_loss`; `times` makes what draws the times, from T.

    Pictures must be in [-1, 1]; points of another kind (2-D toys) may lie anywhere.

    Raises: ValueError if the variance is to be learned, but the loss cannot teach it.
    """

    net: nn.Module = field(default_factory=ddpm_unet)
    schedule: NoiseSchedule = field(default_factory=linear)
    target: Target = EPS
    variance: Variance = FIXED_SMALL
    loss: Callable[..., Tensor] = simple_loss
    times: Callable[[int], UniformTimes | LossAwareTimes] = UniformTimes

    def __post_init__(self):
        if getattr(self.loss, "func", self.loss) is simple_loss and self.variance.learned:  # `partial` has a func
            raise ValueError("simple_loss cannot teach a learned variance: use hybrid_loss or vlb_loss, or fix it")
        self.modules = {"net": self.net}
        self.memory = {"times": self.times(self.schedule.T)}

    @property
    def denoiser(self) -> Denoiser:
        """The network as it is now, with what its output means."""
        return Denoiser(self.modules["net"], self.schedule, self.target, self.variance)

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        if batch.x.ndim == 4:
            check_pictures(batch.x)

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """What the network is told of each example besides x_t and t: here nothing."""
        return None

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: guess the noise in x_t, at a random t for each example (DDPM algorithm 1)."""
        times = self.memory["times"]
        t, weight = times.draw(len(batch), rng)
        eps = rng.normal_like(batch.x)
        loss = self.loss(self.denoiser, batch.x, t, eps, self.condition(batch, rng))
        times.update(t, loss, rng)
        yield "net", (loss * weight.to(loss)).mean(), {}
