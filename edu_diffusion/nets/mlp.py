"""A small network for points in the plane, and for vectors."""

from jaxtyping import Float
from torch import Tensor, nn

from edu_diffusion.nets.layers import sinusoid
from edu_diffusion.types import Cond


class MLP(nn.Module):
    """Residual layers over a vector, each told the time; enough for 2-D data.

    `vec` is the width of a `Cond`'s vec, if any.
    """

    def __init__(
        self, size: int = 2, width: int = 128, layers: int = 3, out: int | None = None, vec: int | None = None
    ):
        super().__init__()
        self.width = width
        self.enter = nn.Linear(size, width)
        self.time = nn.Linear(width, width)
        self.vec = None if vec is None else nn.Linear(vec, width)
        self.layers = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(layers))
        self.leave = nn.Sequential(nn.SiLU(), nn.Linear(width, out or size))

    def forward(
        self, x_t: Float[Tensor, "b size"], t: Float[Tensor, "b"], cond: Cond | None = None
    ) -> Float[Tensor, "b out"]:
        """The network's output for its target.

        Raises: ValueError if it was built for a condition and gets none, or the other way round.
        """
        given = cond is not None and cond.vec is not None
        if given != (self.vec is not None):
            raise ValueError(
                "this network takes no vec; build it with vec=WIDTH" if given else "this network wants vec"
            )
        embedding = self.time(sinusoid(t, self.width))
        if given:
            embedding = embedding + self.vec(cond.vec)
        h = self.enter(x_t)
        for layer in self.layers:
            h = h + layer(h + embedding)
        return self.leave(h)
