"""What a network's output means, and everything that follows from it.

A network may be trained to predict eps, x0 or v; each says the same thing. `Prediction` holds them together so that
they cannot disagree.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.process import mix, q_posterior
from edu_diffusion.diffusion.schedule import Coefficient, NoiseSchedule, Times

Data = Float[Tensor, "b ..."]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a denoiser says about x_t at time t: its guess `raw` of a target, and what follows from it.

    `x0` and `eps` are computed from `raw`, so they always satisfy x_t = signal x0 + noise eps: change one by `with_x0`
    or `with_eps` and the other moves along. `var_frac`, in [0, 1] where the network is well trained, is its learned
    variance, or None. The rest says what was asked: x_t, t, the schedule, and how the variance is chosen.
    """

    raw: Data
    target: "Target"
    var_frac: Data | None
    x_t: Data
    t: Times
    schedule: NoiseSchedule
    variance: "Variance"

    @cached_property
    def signal(self) -> Coefficient:
        """sqrt(alpha_bar) at the time that was asked about."""
        return self.schedule.signal(self.t, self.x_t)

    @cached_property
    def noise(self) -> Coefficient:
        """sqrt(1 - alpha_bar) at the time that was asked about."""
        return self.schedule.noise(self.t, self.x_t)

    @cached_property
    def x0(self) -> Data:
        """The clean data that the guess implies."""
        return self._mixed(self.target.x0(self.signal, self.noise))

    @cached_property
    def eps(self) -> Data:
        """The noise that the guess implies."""
        return self._mixed(self.target.eps(self.signal, self.noise))

    def point(self, signal: float, noise: float) -> Data:
        """signal x0 + noise eps: where x would be at another level of noise, if the guess were right.

        The same in fewer passes over the data: both are mixed of x_t and raw, and so is their sum.
        """
        x0, eps = self.target.x0(self.signal, self.noise), self.target.eps(self.signal, self.noise)
        return self._mixed((signal * x0[0] + noise * eps[0], signal * x0[1] + noise * eps[1]))

    def _mixed(self, weights: "Weights") -> Data:
        return mix(weights[0], self.x_t, weights[1], self.raw)

    def with_x0(self, x0: Data) -> "Prediction":
        """The same prediction with another x0, and the eps that goes with it."""
        return replace(self, raw=x0, target=X0)

    def with_eps(self, eps: Data) -> "Prediction":
        """The same prediction with another eps, and the x0 that goes with it."""
        return replace(self, raw=eps, target=EPS)

    def mean(self, s: Times) -> Data:
        """The mean of the reverse step to time s: q's posterior with the predicted x0 in place of the true one."""
        return q_posterior(self.schedule, self.x0, self.x_t, self.t, s)[0]

    def log_var(self, s: Times) -> Coefficient:
        """The logarithm of the variance of the reverse step to time s.

        Raises: ValueError if the variance is learned, but the network has not learned one.
        """
        return self.variance.log_var(self, s)


# The two weights with which something is mixed of x_t and of what the network put out.
Weights = tuple[Coefficient, Coefficient]


@runtime_checkable
class Target(Protocol):
    """What a network is trained to put out, `raw`. A new one is three formulas."""

    name: str

    def truth(self, x0: Data, eps: Data, signal: Coefficient, noise: Coefficient) -> Data:
        """What a perfect network would put out."""

    def x0(self, signal: Coefficient, noise: Coefficient) -> Weights:
        """The clean data, mixed of x_t and raw."""

    def eps(self, signal: Coefficient, noise: Coefficient) -> Weights:
        """The noise, mixed of x_t and raw."""


class _Eps:
    """The noise. DDPM (arXiv:2006.11239), eq. 12."""

    name = "eps"

    def truth(self, x0, eps, signal, noise):
        return eps

    def x0(self, signal, noise):
        return 1 / signal, -noise / signal

    def eps(self, signal, noise):
        return 0.0, 1.0


class _X0:
    """The clean data."""

    name = "x0"

    def truth(self, x0, eps, signal, noise):
        return x0

    def x0(self, signal, noise):
        return 0.0, 1.0

    def eps(self, signal, noise):
        return 1 / noise, -signal / noise


class _V:
    """The velocity v = signal eps - noise x0. Salimans and Ho 2022 (arXiv:2202.00512), section 4 and appendix D."""

    name = "v"

    def truth(self, x0, eps, signal, noise):
        return signal * eps - noise * x0

    def x0(self, signal, noise):
        return signal, -noise

    def eps(self, signal, noise):
        return noise, signal


EPS, X0, V = _Eps(), _X0(), _V()


@runtime_checkable
class Variance(Protocol):
    """How the variance of a reverse step is chosen. A new one is one formula."""

    name: str
    learned: bool

    def log_var(self, prediction: Prediction, s: Times) -> Coefficient:
        """The logarithm of the variance of the step from prediction.t to s."""


class _FixedSmall:
    """beta_tilde: right if the data were a single point. DDPM (arXiv:2006.11239), section 3.2."""

    name, learned = "fixed_small", False

    def log_var(self, prediction, s):
        return _log_beta_tilde(prediction, s)


class _FixedLarge:
    """beta: right if the data were standard normal. DDPM (arXiv:2006.11239), section 3.2.

    At s = 0 it takes FIXED_SMALL's value, as the improved-DDPM paper's released code does: the last step's likelihood
    would suffer from the larger one.
    """

    name, learned = "fixed_large", False

    def log_var(self, prediction, s):
        log_beta = _log(prediction.schedule.beta(prediction.t, s, prediction.x_t))
        return _where_zero(s, _log_beta_tilde(prediction, s), log_beta)


class _Learned:
    """Between the two, by the network: var_frac log beta + (1 - var_frac) log beta_tilde.

    Source: Improved DDPM (arXiv:2102.09672), eq. 15.
    """

    name, learned = "learned", True

    def log_var(self, prediction, s):
        if prediction.var_frac is None:
            raise ValueError("this prediction has no var_frac: its network was not built to learn the variance")
        high = _log(prediction.schedule.beta(prediction.t, s, prediction.x_t))
        return prediction.var_frac * high + (1 - prediction.var_frac) * _log_beta_tilde(prediction, s)


FIXED_SMALL, FIXED_LARGE, LEARNED = _FixedSmall(), _FixedLarge(), _Learned()


def _log_beta_tilde(prediction: Prediction, s: Times) -> Coefficient:
    """log beta_tilde, finite everywhere.

    On the last step, from t to s = 0, beta_tilde is 0. There its logarithm takes the value of the step before it, from
    2t to t (from T to T // 2 where 2t lies beyond T): at t = 1 that is the value of t = 2, as in the improved-DDPM
    paper's released code. Bits/dim depend on it.
    """
    schedule, t = prediction.schedule, prediction.t
    if isinstance(t, int):
        before = min(2 * t, schedule.T)
        t, s = (t, s) if s > 0 else (before, before // 2)
    else:
        before, last = (2 * t).clamp(max=schedule.T), torch.as_tensor(s) == 0
        t, s = torch.where(last, before, t), torch.where(last, before // 2, s)
    return _log(schedule.beta_tilde(t, s, prediction.x_t))


def _log(value: Coefficient) -> Coefficient:
    return math.log(value) if isinstance(value, float) else value.log()


def _where_zero(s: Times, if_zero: Coefficient, otherwise: Coefficient) -> Coefficient:
    if isinstance(s, int):
        return if_zero if s == 0 else otherwise
    shaped = (s == 0).reshape(-1, *[1] * (otherwise.ndim - 1)).to(otherwise.device)
    return torch.where(shaped, if_zero, otherwise)
