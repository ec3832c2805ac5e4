"""Data: real pictures, points in the plane, distributions known exactly, and the batches that training reads."""

from edu_diffusion.data.batches import Batches, Dataset
from edu_diffusion.data.fashion import CLASSES, LabelledImages, checksum, fashion, to_unit_range
from edu_diffusion.data.mixture import Empirical, GaussianMixture, ring
from edu_diffusion.data.toy2d import checkerboard, eight_gaussians, spiral, swiss_roll, two_moons

__all__ = [
    "CLASSES",
    "Batches",
    "Dataset",
    "Empirical",
    "GaussianMixture",
    "LabelledImages",
    "checkerboard",
    "checksum",
    "eight_gaussians",
    "fashion",
    "ring",
    "spiral",
    "swiss_roll",
    "to_unit_range",
    "two_moons",
]
