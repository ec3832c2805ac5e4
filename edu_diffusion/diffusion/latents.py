"""Pictures as points of the noise they come from: DDIM backwards, and the way between two noises.

DDIM without noise is a map from x_T to a picture. It can be walked the other way; and points between two x_T give
pictures between two pictures.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.process import q_sample
from edu_diffusion.diffusion.samplers import Step, check_times
from edu_diffusion.types import Cond

Data = Float[Tensor, "b ..."]


@torch.no_grad()
def invert(denoiser, x0: Data, *, steps: int | Sequence[int], cond: Cond | None = None) -> Iterator[Step]:
    """Walk from data up to the noise that DDIM would turn into it, one `Step` at a time; the last step's x is x_T.

    Each step assumes that the predicted eps is the same at both its ends, as DDIM does on the way down: the more steps,
    the more exactly the way up and down again comes back. `steps` as in `sample`. Clean data are asked about as if they
    were at t = 1.

    Raises: ValueError if the times do not fall from at most T to 0.
    Source: DDIM (arXiv:2010.02502), section 4.3 and eq. 14.
    """
    schedule = denoiser.schedule
    times = schedule.spaced(steps) if isinstance(steps, int) else check_times(schedule, steps)
    cond = None if cond is None else cond.to(denoiser.device)
    x = x0.to(denoiser.device)
    for i, (s, t) in enumerate(pairwise(reversed(times)), start=1):
        now = denoiser(x, max(s, 1), cond)
        # x lies at time s, whatever the network was asked: x = signal_s x0 + noise_s eps.
        x0_hat = (x - schedule.noise(s, x) * now.eps) / schedule.signal(s, x)
        x = q_sample(schedule, x0_hat, t, now.eps)
        yield Step(i, t, x, now)


def slerp(a: Data, b: Data, share: float) -> Data:
    """The point that lies `share` of the way from a to b, along the great circle: 0 is a, 1 is b.

    A straight line between two normal vectors passes nearer to the origin than normal vectors lie; the arc does not.
    Each example is one vector, whatever its shape.

    Raises: ValueError if the shapes differ.
    Source: Shoemake 1985, "Animating rotation with quaternion curves"; DDIM (arXiv:2010.02502), appendix D.5.
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).clamp(-1, 1)
    angle = cosine.acos().reshape(-1, *[1] * (a.ndim - 1))
    # For nearly parallel vectors the arc is a straight line, and the formula would divide 0 by 0.
    straight = angle < 1e-3
    safe = torch.where(straight, torch.ones_like(angle), angle)
    arc = (torch.sin((1 - share) * safe) * a + torch.sin(share * safe) * b) / torch.sin(safe)
    return torch.where(straight, torch.lerp(a, b, share), arc)
