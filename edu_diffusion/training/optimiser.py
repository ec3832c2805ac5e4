"""An optimiser with its learning-rate schedule: what the loop steps for one phase of a recipe."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Optimiser:
    """A torch optimiser whose learning rate warms up, then falls on a straight line to 0 at the end of training.

    `warmup` is a number of steps; `clip` the largest gradient norm (None for any). A training that ends by the clock
    falls with the clock: the loop says how far along it is.

    Raises: ValueError if warmup is negative or clip not positive.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, *, warmup: int = 100, clip: float | None = 1.0):
        if warmup < 0 or (clip is not None and clip <= 0):
            raise ValueError(f"warmup must not be negative and clip must be positive, got {warmup} and {clip}")
        self.optimiser, self.warmup, self.clip = optimiser, warmup, clip
        self.rates = [group["lr"] for group in optimiser.param_groups]
        self.steps = 0

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return self.optimiser.param_groups[0]["lr"]

    def step(self, progress: float) -> Tensor:
        """One step with the gradients there are; then forget them. Returns the gradients' norm before clipping.

        `progress` in [0, 1] is the share of the training that is done.
        """
        self.steps += 1
        factor = min(1.0, self.steps / max(1, self.warmup)) * max(0.0, 1 - progress)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.clip if self.clip is not None else float("inf"))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict:
        """The optimiser's state and the number of steps, for a checkpoint."""
        return {"optimiser": self.optimiser.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]


def adamw(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    rate: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    decay: float = 0.0,
    warmup: int = 100,
    clip: float | None = 1.0,
) -> Optimiser:
    """AdamW (arXiv:1711.05101) with the course's defaults; `decay` is the weight decay.

    Parameters may come in groups with a rate of their own, as torch's optimisers take them.
    """
    inner = torch.optim.AdamW(list(parameters), lr=rate, betas=betas, weight_decay=decay, fused=True)
    return Optimiser(inner, warmup=warmup, clip=clip)
