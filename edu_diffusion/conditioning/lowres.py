"""A smaller picture as a condition: made worse on purpose, and the network told by how much."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.nets import sinusoid
from edu_diffusion.types import Cond

Pictures = Float[Tensor, "b c h w"]


def halve(x: Pictures) -> Float[Tensor, "b c h2 w2"]:
    """Half the height and width: each pixel is the mean of four."""
    return F.avg_pool2d(x, 2)


def double(x: Pictures) -> Float[Tensor, "b c h2 w2"]:
    """Twice the height and width, by straight lines between the pixels."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LowRes:
    """Turns small pictures into a `Cond`: `spatial` is the picture at twice its size, `vec` says how noisy it is.

    A level is a time: at level t the small picture is noised as x_t would be. `signal` and `noise` of that level come
    from the caller's schedule, which this room does not know. `width` numbers tell the network the level.

    Source: Cascaded diffusion (arXiv:2106.15282), sections 3.2 and 3.3 (with the level told).
    """

    width: int = 64

    def __call__(self, low: Pictures, level: Int[Tensor, "b"]) -> Cond:
        """The condition of small pictures that have been noised to these levels already."""
        return Cond(vec=sinusoid(level.to(low.device).float(), self.width), spatial=double(low))


def blur(x: Pictures, std: Float[Tensor, "b"]) -> Pictures:
    """Each picture blurred by a Gaussian of its own standard deviation, in pixels; at most 1, and 0 leaves it alone.

    Raises: ValueError if a standard deviation is not in [0, 1].
    Source: unCLIP (arXiv:2204.06125), section 2.1: blur for what the first upsampler is shown.
    """
    if not (std >= 0).all() or not (std <= 1).all():
        raise ValueError(f"the blur must have a standard deviation of 0 to 1 pixel, got {std.tolist()}")
    # Seven pixels hold what there is of a Gaussian of standard deviation 1.
    at = torch.arange(-3, 4, device=x.device)
    kernel = torch.exp(-(at**2) / (2 * std.to(x.device).clamp(min=1e-3)[:, None] ** 2)).to(x)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)
    flat = F.pad(x, (3, 3, 3, 3), mode="replicate").flatten(0, 1)[None]
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=len(kernel))
    return F.conv2d(flat, kernel[:, None, None, :], groups=len(kernel))[0].unflatten(0, x.shape[:2])
