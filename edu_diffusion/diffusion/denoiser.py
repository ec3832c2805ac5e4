"""A denoiser: a network, the schedule it was trained on, and what its output means."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.prediction import EPS, FIXED_SMALL, Prediction, Target, Variance
from edu_diffusion.diffusion.schedule import NoiseSchedule, Times
from edu_diffusion.types import Cond

# A network sees x_t, the time (1..T, one number an example) and perhaps a condition.
Network = Callable[[Float[Tensor, "b ..."], Float[Tensor, "b"], Cond | None], Float[Tensor, "b ..."]]


@dataclass(frozen=True, eq=False)
class Denoiser:
    """Turns (x_t, t, cond) into a `Prediction`.

    `net` may be any function of (x_t, t, cond): a U-Net, a transformer over vectors, or an exact formula. If it puts
    out twice the channels, it has learned a variance: the second half is a number v in [-1, 1] from which
    var_frac = (v + 1) / 2. Such a network may be used with a fixed variance too; the second half is then not looked at.
    """

    net: Network
    schedule: NoiseSchedule
    target: Target = EPS
    variance: Variance = FIXED_SMALL

    def __call__(self, x_t: Float[Tensor, "b ..."], t: Times, cond: Cond | None = None) -> Prediction:
        """Predict from x_t at time t, in 1..T.

        Raises: ValueError if t is out of range, or if the network's output has not the shape its meaning needs.
        """
        self.schedule.check(t, lowest=1)
        if isinstance(t, Tensor) and t.shape not in ((), (len(x_t),)):
            raise ValueError(
                f"t must be one time, or one for each of the {len(x_t)} examples, got shape {tuple(t.shape)}"
            )
        times = torch.full((len(x_t),), float(t)) if isinstance(t, int) else t.float().expand(len(x_t))
        out = self.net(x_t, times.to(x_t.device), cond).to(x_t.dtype)
        raw, var_frac = self._split(out, x_t)
        return Prediction(raw, self.target, var_frac, x_t, t, self.schedule, self.variance)

    def with_variance(self, variance: Variance) -> "Denoiser":
        """The same denoiser with its variance chosen in another way."""
        return replace(self, variance=variance)

    def with_net(self, net: Network) -> "Denoiser":
        """The same denoiser around another network: the averaged weights, say."""
        return replace(self, net=net)

    @property
    def device(self) -> torch.device:
        """Where the network lives; the CPU for a plain function."""
        parameters = getattr(self.net, "parameters", lambda: iter(()))
        return next((p.device for p in parameters()), torch.device("cpu"))

    def _split(self, out: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor | None]:
        if out.shape == x_t.shape and not self.variance.learned:
            return out, None
        n, channels, *rest = x_t.shape
        alone, twice = (n, channels, *rest), (n, 2 * channels, *rest)
        wanted = [twice] if self.variance.learned else [alone, twice]
        if tuple(out.shape) not in wanted:
            raise ValueError(
                f"the network's output must have shape {' or '.join(map(str, wanted))} for x_t of {tuple(x_t.shape)} "
                f"and variance {self.variance.name!r}, got {tuple(out.shape)}"
            )
        raw, v = out.chunk(2, dim=1)
        return raw, (v + 1) / 2
