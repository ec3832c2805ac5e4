"""Metrics: how good, how varied and how new samples are. They know no system: features come from a function."""

from edu_diffusion.metrics.features import check_images, extract
from edu_diffusion.metrics.frechet import frechet_distance, real_floor
from edu_diffusion.metrics.neighbours import Nearest, nearest
from edu_diffusion.metrics.precision_recall import Manifold, manifold, precision_recall
from edu_diffusion.metrics.result import Measured

__all__ = [
    "Manifold",
    "Measured",
    "Nearest",
    "check_images",
    "extract",
    "frechet_distance",
    "manifold",
    "nearest",
    "precision_recall",
    "real_floor",
]
