"""The Fréchet distance between two sets of features, and the floor it cannot go below."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edu_diffusion.metrics.features import check_features


def frechet_distance(a: Float[Tensor, "n f"], b: Float[Tensor, "m f"]) -> float:
    """How far apart two sets of features are, seen as one Gaussian each: 0 for equal sets, and never negative.

    ||mean_a - mean_b||^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)), in float64, with torchmetrics' linear algebra.
    Symmetric in a and b. Its unit is the square of the features' own, so distances in the features of different
    networks cannot be compared. Few samples make it too large: give it beside the `real_floor` of the same count.

    Raises: ValueError for features that are not finite or differ in length, or when either set has no more samples
    than features, for then its covariance is singular. ImportError without torchmetrics.
    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6; Dowson & Landau 1982.
    """
    check_features(a, b)
    fewest, dims = min(len(a), len(b)), a.shape[1]
    if fewest <= dims:
        raise ValueError(
            f"a Fréchet distance in {dims} dimensions needs more than {dims} samples in each set, got {len(a)} and "
            f"{len(b)}: draw more, at least {10 * dims} for a steady number"
        )
    metric = _metric(dims)
    metric.update(a.double(), real=True)
    metric.update(b.double(), real=False)
    # Rounding can leave a distance of exactly 0 a hair below it.
    return max(metric.compute().item(), 0.0)


def real_floor(real: Float[Tensor, "n f"], reference: Float[Tensor, "m f"], samples: int, *, seed: int = 0) -> float:
    """The distance of `samples` real features, drawn from `real`, to `reference`: what a perfect model would score.

    It is not 0: two finite sets never have quite the same mean and covariance. Give features of training
    pictures as `real`, and the set that samples are measured against, the test set's, as `reference`.

    Raises: ValueError when `real` has fewer than `samples` rows, or as `frechet_distance`.
    """
    if samples > len(real):
        raise ValueError(f"a floor at {samples} samples needs as many real ones, got {len(real)}: ask for fewer")
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[:samples]
    return frechet_distance(real[chosen], reference)


def _metric(dims: int) -> nn.Module:
    """torchmetrics' distance on features that are computed already."""
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError as error:
        raise ImportError("Fréchet distances need torchmetrics: pip install torchmetrics") from error
    network = nn.Identity()
    network.num_features = dims
    return FrechetInceptionDistance(feature=network).set_dtype(torch.float64)
