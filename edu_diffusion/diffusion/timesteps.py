"""Which times to train on. Each sampler draws times and the weights that keep the loss unbiased."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edu_diffusion.types import Rng


class UniformTimes:
    """Every t in 1..T equally often, with weight 1."""

    def __init__(self, T: int):
        self.T = T

    def draw(self, n: int, rng: Rng) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
        """n times on the CPU, and their weights."""
        return 1 + (rng.uniform(n) * self.T).long(), torch.ones(n)

    def update(self, t: Int[Tensor, "n"], loss: Float[Tensor, "n"], rng: Rng) -> None:
        """Nothing to learn from the losses."""

    def state_dict(self) -> dict:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing to restore."""


class LossAwareTimes:
    """Importance sampling: t in proportion to the root mean square of its last losses.

    Until every t has been seen `history` times it is uniform. A weight is 1 / (T p_t), so the weighted loss has the
    mean of the uniform one and less variance.

    Source: Improved DDPM (arXiv:2102.09672), eq. 18.
    """

    def __init__(self, T: int, history: int = 10, uniform_share: float = 0.001):
        self.T, self.uniform_share = T, uniform_share
        self.losses = torch.zeros(T, history, dtype=torch.float64)
        self.seen = torch.zeros(T, dtype=torch.long)

    def probabilities(self) -> Float[Tensor, "T"]:
        """The chance of each t = 1..T."""
        if (self.seen < self.losses.shape[1]).any():
            return torch.full((self.T,), 1 / self.T, dtype=torch.float64)
        size = self.losses.square().mean(1).sqrt()
        if size.sum() == 0:
            return torch.full((self.T,), 1 / self.T, dtype=torch.float64)
        return (1 - self.uniform_share) * size / size.sum() + self.uniform_share / self.T

    def draw(self, n: int, rng: Rng) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
        """n times on the CPU, and their weights."""
        chances = self.probabilities()
        index = torch.searchsorted(chances.cumsum(0), rng.uniform(n).double()).clamp(max=self.T - 1)
        return 1 + index, (1 / (self.T * chances[index])).float()

    def update(self, t: Int[Tensor, "n"], loss: Float[Tensor, "n"], rng: Rng) -> None:
        """Remember the unweighted losses of these times, in all processes; the oldest are forgotten first."""
        loss = loss.detach().float()
        t, loss = rng.whole(t.to(loss.device)), rng.whole(loss)
        for index, value in zip((t - 1).tolist(), loss.tolist(), strict=True):
            self.losses[index, self.seen[index] % self.losses.shape[1]] = value
            self.seen[index] += 1

    def state_dict(self) -> dict:
        """The remembered losses, for a checkpoint."""
        return {"losses": self.losses, "seen": self.seen}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.losses.copy_(state["losses"])
        self.seen.copy_(state["seen"])
