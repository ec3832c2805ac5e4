"""Noise schedules: how much of the data is left at each time.

Times are the paper's: t = 1..T are noisy, t = 0 is clean data. A schedule is one table, alpha_bar, of T + 1 entries
with alpha_bar[0] = 1. Every other quantity follows from it, for any two times t > s; so a respaced process
is the same schedule visited at fewer times.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

# One time for the whole batch, or one for each example.
Times = int | Int[Tensor, "b"]
# What a schedule answers: a plain number for one time, or a tensor that broadcasts over the batch.
Coefficient = float | Float[Tensor, "..."]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A table of alpha_bar, from 1 at t = 0 (clean) down to almost 0 at t = T (noise).

    Kept in float64 on the CPU and cast when used. Times given as tensors live on the CPU too: looking up a
    coefficient then never waits for an accelerator.

    Raises: ValueError if the table does not start at 1, does not fall strictly, or reaches 0.
    Source: DDPM (arXiv:2006.11239), section 2, "alpha_bar_t".
    """

    alpha_bar: Float[Tensor, "T_plus_1"]
    name: str = "custom"

    def __post_init__(self):
        table = self.alpha_bar.double().cpu()
        object.__setattr__(self, "alpha_bar", table)  # the class is frozen; the table may come in another precision
        if len(table) < 3 or table[0] != 1:
            raise ValueError("alpha_bar must have T + 1 entries, T >= 2, and start at exactly 1 (t = 0 is clean data)")
        if not (table.diff() < 0).all():
            raise ValueError("alpha_bar must fall at every step")
        if table[-1] <= 0:
            raise ValueError(f"alpha_bar must stay above 0, got {table[-1]:.3g} at t = {len(table) - 1}")

    @cached_property
    def T(self) -> int:
        """The number of noisy times."""
        return len(self.alpha_bar) - 1

    def signal(self, t: Times, like: Tensor) -> Coefficient:
        """sqrt(alpha_bar_t): what x0 is multiplied by in x_t (DDPM eq. 4)."""
        return self._shape(_sqrt(self._table(t)), like)

    def noise(self, t: Times, like: Tensor) -> Coefficient:
        """sqrt(1 - alpha_bar_t): what eps is multiplied by in x_t, a standard deviation (DDPM eq. 4)."""
        return self._shape(_sqrt(1 - self._table(t)), like)

    def beta(self, t: Times, s: Times, like: Tensor) -> Coefficient:
        """The variance of the noise added from time s to a later time t: 1 - alpha_bar_t / alpha_bar_s.

        With s = t - 1 it is the paper's beta_t (DDPM eq. 2).

        Raises: ValueError unless 0 <= s < t <= T.
        """
        self._check_order(t, s)
        return self._shape(1 - self._table(t) / self._table(s), like)

    def beta_tilde(self, t: Times, s: Times, like: Tensor) -> Coefficient:
        """The variance of x_s when x_t and x0 are both known (DDPM eq. 7); 0 at s = 0.

        Raises: ValueError unless 0 <= s < t <= T.
        """
        self._check_order(t, s)
        alpha_bar_t, alpha_bar_s = self._table(t), self._table(s)
        return self._shape((1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s), like)

    def log_snr(self, t: Times) -> float | Float64[Tensor, "b"]:
        """log(alpha_bar_t / (1 - alpha_bar_t)), the logarithm of the signal-to-noise ratio; +inf at t = 0."""
        alpha_bar = self._table(t)
        if isinstance(alpha_bar, float):
            return math.log(alpha_bar / (1 - alpha_bar)) if alpha_bar < 1 else math.inf
        return torch.log(alpha_bar / (1 - alpha_bar))

    def spaced(self, n: int) -> list[int]:
        """n + 1 evenly spaced times from T down to 0: the stops of a sampler of n steps.

        The field calls this spacing "trailing": it begins at T itself. Others are in `edu_diffusion.diffusion.spacing`.

        Raises: ValueError unless 1 <= n <= T.
        """
        if not 1 <= n <= self.T:
            raise ValueError(f"steps must be in 1..{self.T} for this schedule, got {n}")
        return [round(self.T * (n - i) / n) for i in range(n + 1)]

    def check(self, t: Times, lowest: int = 0) -> None:
        """Refuse times outside lowest..T, and what is no time at all.

        Raises: ValueError naming a time that is out of range, or the type that was given.
        """
        if isinstance(t, int) and lowest <= t <= self.T:
            return
        if not isinstance(t, int) and not (isinstance(t, Tensor) and not t.is_floating_point()):
            kind = t.dtype if isinstance(t, Tensor) else type(t).__name__
            raise ValueError(
                f"t must be a whole number or a tensor of whole numbers, got {kind}: use int(t) or t.long()"
            )
        low, high = (t, t) if isinstance(t, int) else (int(t.min()), int(t.max()))
        if low < lowest or high > self.T:
            raise ValueError(f"t must be in {lowest}..{self.T}, got {low if low < lowest else high}")

    def _check_order(self, t: Times, s: Times) -> None:
        plain = isinstance(t, int) and isinstance(s, int)
        if not (t > s if plain else torch.all(torch.as_tensor(t).cpu() > torch.as_tensor(s).cpu())):
            raise ValueError(f"the earlier time s must be below t, got t = {t} and s = {s}")

    @cached_property
    def _numbers(self) -> list[float]:
        """The table as plain numbers: a sampler looks up a few at every step, and these take no time."""
        return self.alpha_bar.tolist()

    def _table(self, t: Times) -> float | Float64[Tensor, "b"]:
        self.check(t)
        return self._numbers[t] if isinstance(t, int) else self.alpha_bar[t.cpu()]

    @staticmethod
    def _shape(value: float | Tensor, like: Tensor) -> Coefficient:
        if isinstance(value, float):
            return value
        if not like.is_floating_point():
            raise ValueError(f"data must be floating point, got {like.dtype}: turn levels 0..255 into x / 127.5 - 1")
        return value.to(like.dtype).to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def _sqrt(value: float | Tensor) -> float | Tensor:
    return math.sqrt(value) if isinstance(value, float) else value.sqrt()


def from_betas(betas: Float[Tensor, "T"], name: str = "custom") -> NoiseSchedule:
    """The schedule whose step from t - 1 to t adds noise of variance betas[t - 1].

    Raises: ValueError if a beta is not strictly between 0 and 1.
    Source: DDPM (arXiv:2006.11239), alpha_bar_t = product of (1 - beta_s).
    """
    betas = betas.double()
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError(f"betas are variances, strictly between 0 and 1; got {betas.min():.3g} to {betas.max():.3g}")
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)]), name)


def linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """beta rises on a straight line from beta_start to beta_end.

    The defaults are the paper's for T = 1000. For another T choose your own ends: with these and a small T much of
    the data is still there at t = T.

    Source: DDPM (arXiv:2006.11239), section 4.
    """
    return from_betas(torch.linspace(beta_start, beta_end, T, dtype=torch.float64), "linear")


def cosine(T: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> NoiseSchedule:
    """alpha_bar falls like a squared cosine: slowly at both ends, almost straight between.

    `offset` keeps the first betas from being too small; `beta_max` keeps the last from being 1.

    Source: Improved DDPM (arXiv:2102.09672), eq. 17.
    """
    phase = (torch.arange(T + 1, dtype=torch.float64) / T + offset) / (1 + offset)
    wanted = torch.cos(phase * math.pi / 2).square()
    betas = 1 - wanted[1:] / wanted[:-1]
    return from_betas(betas.clamp(max=beta_max), "cosine")
