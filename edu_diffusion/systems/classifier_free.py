"""Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598), on one page.

No second network. One and the same learns two things: to denoise pictures of a class it is told, and, because for one
example in ten the class is left out, to denoise pictures of no class in particular. Sampling asks it both, and goes
further in the direction in which they differ.
"""

from dataclasses import dataclass

from edu_diffusion.conditioning import drop
from edu_diffusion.diffusion import ClassifierFree
from edu_diffusion.systems.adm import ADM
from edu_diffusion.types import Batch, Cond, Rng


@dataclass
class ClassifierFreeADM(ADM):
    """The recipe: ADM with the class left out, example by example, with probability `p_uncond` (algorithm 1)."""

    p_uncond: float = 0.1

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """The class of each example, or none."""
        return drop(super().condition(batch, rng), self.labels.null, self.p_uncond, rng)

    def guided(self, scale: float, denoiser=None) -> ClassifierFree:
        """The denoiser with guidance (algorithm 2). 1 is off: the paper's w is scale - 1.

        `denoiser`, if given, is a wrapper around this model's own that is to lie inside.
        """
        return ClassifierFree(denoiser or self.denoiser, scale, self.labels.null)
