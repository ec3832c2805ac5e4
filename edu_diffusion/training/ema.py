"""The moving average of weights, with which one samples."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Ema:
    """An exponential moving average of a module's weights, in evaluation mode.

    The first update copies the weights. The one that follows n others has the decay min(decay, (1 + n) / (10 + n)):
    short at first, so that the random start is forgotten.

    Raises: ValueError if decay is not in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float = 0.997):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.averaged = AveragedModel(module, multi_avg_fn=self._average, use_buffers=False)
        self.averaged.requires_grad_(False).eval()

    @property
    def module(self) -> nn.Module:
        """The module with averaged weights, for sampling and measuring."""
        return self.averaged.module

    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self.averaged.update_parameters(module)

    def state_dict(self) -> dict:
        """The averaged weights and how many updates they hold."""
        return self.averaged.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.averaged.load_state_dict(state)

    def _average(self, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + n) / (10 + n)))
