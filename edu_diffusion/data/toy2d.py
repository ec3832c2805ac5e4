"""Points in the plane whose shape a model must learn, drawn from an explicit generator.

Every function returns n points, float32, centred near the origin with a spread of about one.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Points = Float[Tensor, "n 2"]


def swiss_roll(n: int, generator: Generator) -> Points:
    """A spiral band, one and a half turns, of even density along its angle."""
    angle = 1.5 * math.pi * (1 + 2 * _uniform(n, generator))
    return _jitter((angle / 9)[:, None] * _direction(angle), 0.05, generator)


def two_moons(n: int, generator: Generator) -> Points:
    """Two half circles, each reaching into the other."""
    angle = math.pi * _uniform(n, generator)
    # The second moon is the first turned half round the origin.
    moon = 1.5 * (_direction(angle) - torch.tensor([0.5, 0.25]))
    return _jitter(_sign(n, generator) * moon, 0.06, generator)


def eight_gaussians(n: int, generator: Generator) -> Points:
    """Eight small Gaussians (standard deviation 0.1) evenly on a circle of radius sqrt(2).

    The same distribution as `ring()` of `edu_diffusion.data.mixture`, whose density is known exactly.
    """
    mode = torch.randint(8, (n,), generator=generator)
    return _jitter(math.sqrt(2) * _direction(mode * (math.tau / 8)), 0.1, generator)


def checkerboard(n: int, generator: Generator) -> Points:
    """The dark squares of a 4 by 4 board on [-2, 2] x [-2, 2]; nothing at all between them."""
    column = torch.randint(4, (n,), generator=generator)
    row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
    corner = torch.stack([column, row], dim=1) - 2
    return corner + torch.rand(n, 2, generator=generator)


def spiral(n: int, generator: Generator) -> Points:
    """Two thin arms, turning away from the centre in opposite directions."""
    angle = 3 * math.pi * _uniform(n, generator).sqrt()
    return _jitter(_sign(n, generator) * (angle / 5)[:, None] * _direction(angle), 0.04, generator)


def _uniform(n: int, generator: Generator) -> Float[Tensor, " n"]:
    return torch.rand(n, generator=generator)


def _sign(n: int, generator: Generator) -> Float[Tensor, "n 1"]:
    return torch.where(torch.rand(n, 1, generator=generator) < 0.5, -1.0, 1.0)


def _direction(angle: Float[Tensor, " n"]) -> Points:
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def _jitter(points: Points, std: float, generator: Generator) -> Points:
    return points + std * torch.randn(points.shape, generator=generator)
