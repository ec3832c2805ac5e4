"""Fidelity and diversity apart: is what was made realistic, and is all that is real made?"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from edu_diffusion.metrics.features import check_features


@dataclass(frozen=True)
class Manifold:
    """A set of features with, around each, a ball that reaches its k-th nearest neighbour in the set.

    The union of the balls estimates where the set's distribution lives.
    """

    features: Float64[Tensor, "n f"]
    radii: Float64[Tensor, " n"]

    def contains(self, points: Float[Tensor, "m f"], chunk: int = 1000) -> Bool[Tensor, " m"]:
        """Whether each point lies in at least one ball."""
        parts = points.double().split(chunk)
        return torch.cat([(torch.cdist(part, self.features) <= self.radii).any(dim=1) for part in parts])


def manifold(features: Float[Tensor, "n f"], k: int = 3, chunk: int = 1000) -> Manifold:
    """The manifold of a set: for each feature vector, the distance to its k-th nearest other one.

    Raises: ValueError when there are not more than k features.
    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1.
    """
    check_features(features, least=k + 1)
    # In float64, where the fast formula for distances keeps a copy at distance 0. A vector's nearest neighbour is
    # itself, so the k-th other one is number k + 1.
    features = features.double()
    radii = [
        torch.cdist(part, features).topk(k + 1, dim=1, largest=False).values[:, k] for part in features.split(chunk)
    ]
    return Manifold(features, torch.cat(radii))


def precision_recall(*, generated: Float[Tensor, "n f"], real: Float[Tensor, "m f"], k: int = 3) -> tuple[float, float]:
    """Precision and recall, each in 0..1.

    Precision is the share of generated features inside the manifold of the real ones: fidelity. Recall is the
    share of real features inside the manifold of the generated ones: diversity. Both depend on the number of
    samples, so compare models at one count, and real against real at the same count as the best one can do. The
    sets go by name, because swapping them would swap the two numbers.

    Raises: ValueError for features that are not finite or differ in length, or sets of no more than k.
    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2; k = 3 as there.
    """
    check_features(generated, real, least=k + 1)
    precision = manifold(real, k).contains(generated).float().mean().item()
    recall = manifold(generated, k).contains(real).float().mean().item()
    return precision, recall
