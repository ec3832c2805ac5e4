"""From pictures to the features that the other metrics compare."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.types import check_pictures

FeaturesFn = Callable[[Tensor], Tensor]


@torch.no_grad()
def extract(features: FeaturesFn, images: Float[Tensor, "n c h w"], batch: int = 500) -> Float[Tensor, "n f"]:
    """The features of every picture, `batch` pictures at a time, with no gradients, float32 on the CPU.

    `features` is any function from pictures (b, c, h, w) in [-1, 1] to vectors (b, f), such as a classifier's
    `features` method. If it belongs to a module, the module works in evaluation mode while this runs.

    Raises: ValueError for no pictures, for values that are not finite or outside [-1, 1], or for pictures in
    [0, 1]; and where the features are not one finite vector for each picture.
    """
    check_images(images)
    module = getattr(features, "__self__", features)
    module = module if isinstance(module, torch.nn.Module) else torch.nn.Identity()
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        found = torch.cat([_vectors(features(part), len(part)) for part in images.split(batch)])
    finally:
        for part, mode in modes.items():
            part.training = mode
    return found


def check_images(images: Float[Tensor, "n c h w"]) -> None:
    """Refuse what the metrics would silently get wrong.

    A model's samples may pass -1 or 1 by a little; clamp them first, as for viewing: `samples.clamp(-1, 1)`.

    Raises: ValueError as `extract` says.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must have shape (n, channels, height, width) with n > 0, got {tuple(images.shape)}")
    if not images.isfinite().all():
        raise ValueError(
            "images must be finite, but some pixels are nan or infinite: the sampler or the model diverged"
        )
    check_pictures(images)


def check_features(*sets: Tensor, least: int = 1) -> None:
    """Refuse sets of features that cannot be compared with each other.

    Raises: ValueError for sets that are not (n, f) with one f, have fewer than `least` rows, or are not finite.
    """
    for features in sets:
        if features.ndim != 2 or features.shape[1] != sets[0].shape[1]:
            shapes = " and ".join(str(tuple(each.shape)) for each in sets)
            raise ValueError(f"features must have shape (n, f) with one f for all sets, got {shapes}")
        if len(features) < least:
            raise ValueError(f"at least {least} samples are needed here, got {len(features)}")
        if not features.isfinite().all():
            raise ValueError("features must be finite, but some are nan or infinite")


def _vectors(found: Tensor, n: int) -> Float[Tensor, "b f"]:
    if found.ndim != 2 or len(found) != n:
        raise ValueError(f"features must be one vector for each picture, shape ({n}, f), got {tuple(found.shape)}")
    check_features(found)
    return found.float().cpu()
