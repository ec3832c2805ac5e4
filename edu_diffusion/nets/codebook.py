"""A codebook: a short list of vectors that stand for all others, and how it is learned."""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.types import Rng

FORGOTTEN = 1e-8  # a code of a smaller share has no mean to speak of: its sum and its share are nearly 0


def straight_through(z: Float[Tensor, "*shape"], e: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The numbers of e, with the gradient of z: what comes back for the one is handed on to the other as it is.

    Source: van den Oord et al. 2017 (arXiv:1711.00937), section 3.2; Bengio et al. 2013 (arXiv:1308.3432).
    """
    return z + (e - z).detach()


class Codebook(nn.Module):
    """`size` vectors of `width` numbers. Any other vector is written as the number of the nearest of them, its code.

    The vectors are learned in one of two ways. By default each is the running mean of what chose it: call `follow` with
    every batch. With `by_gradient` they are ordinary weights, moved by the second term of the paper's eq. 3. Either way
    `follow` counts how often each code is chosen, and a code that has fallen below `dead` of an even share is moved to
    a place where vectors are far from every code. At the start nothing was chosen yet, so it is the first batch that
    places the codes. With `dead` 0 none is ever moved.

    The vectors are a parameter in both cases, so that a moving average of weights averages them too. What is counted
    lies in buffers: it is kept with the weights, and with several processes all hold the same.

    Raises: ValueError if there are fewer than two codes, or decay or dead is not in [0, 1).
    Source: van den Oord et al. 2017 (arXiv:1711.00937), eq. 1 to 3 and appendix A.1.
    """

    def __init__(
        self, size: int = 128, width: int = 16, *, by_gradient: bool = False, decay: float = 0.99, dead: float = 0.1
    ):
        super().__init__()
        if size < 2 or not 0 <= decay < 1 or not 0 <= dead < 1:
            raise ValueError(
                f"a codebook needs at least 2 codes, and decay and dead in [0, 1); got {size}, {decay} and {dead}"
            )
        self.size, self.by_gradient, self.decay, self.dead = size, by_gradient, decay, dead
        self.vectors = nn.Parameter(torch.randn(size, width), requires_grad=by_gradient)
        # The paper's N_i and m_i, both divided by how many vectors a batch has: their quotient is the same.
        self.register_buffer("share", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, width))

    @torch.no_grad()
    def nearest(self, z: Float[Tensor, "*b width"]) -> Int64[Tensor, "*b"]:
        """The code of each vector: argmin_k ||z - e_k||, eq. 1."""
        with full_precision(z):
            # ||z - e||^2 = ||z||^2 - 2 z . e + ||e||^2, and the first is the same for every e.
            return (self.vectors.square().sum(1) - 2 * z.float() @ self.vectors.T).argmin(-1)

    def forward(self, codes: Int64[Tensor, "*b"]) -> Float[Tensor, "*b width"]:
        """The vectors of some codes, eq. 2.

        Raises: IndexError if a code is not in 0..size-1.
        """
        return F.embedding(codes, self.vectors)

    @torch.no_grad()
    def follow(self, z: Float[Tensor, "*b width"], codes: Int64[Tensor, "*b"], rng: Rng) -> None:
        """Learn from a batch of vectors and the codes that they chose. With several processes, from all their parts."""
        with full_precision(z):
            z, codes = z.flatten(0, -2).float(), codes.flatten()
            chose = F.one_hot(codes, self.size).float()
            now = torch.cat([chose.mean(0)[:, None], chose.T @ z / len(z)], 1)
            share, sums = rng.whole(now[None]).mean(0).split([1, z.shape[1]], 1)
            # N_i <- gamma N_i + (1 - gamma) n_i  and  m_i <- gamma m_i + (1 - gamma) sum_j z_ij
            self.share.lerp_(share[:, 0], 1 - self.decay)
            self.sums.lerp_(sums, 1 - self.decay)
            if not self.by_gradient:
                known = self.share > FORGOTTEN
                # e_i <- m_i / N_i
                self.vectors[known] = self.sums[known] / self.share[known, None]
            self._revive(z, codes, rng)

    def _revive(self, z: Float[Tensor, "n width"], codes: Int64[Tensor, "n"], rng: Rng) -> None:
        """Move dead codes to vectors of the batch, drawn in proportion to the square of their distance to a code.

        Source: the weighting is that of k-means++ (Arthur and Vassilvitskii 2007); how several are drawn, none twice:
        Efraimidis and Spirakis 2006.
        """
        dead = (self.share < self.dead / self.size).nonzero()[:, 0]
        if len(dead) == 0:
            return
        error = (z - self.vectors[codes]).square().sum(1)
        chance = rng.uniform(len(z)).to(z.device)
        z, error, chance = rng.whole(z), rng.whole(error), rng.whole(chance)
        chosen = (chance.log() / error).topk(min(len(dead), len(z))).indices
        dead = dead[: len(chosen)]
        self.vectors[dead] = z[chosen]
        # An even share for a start, so that a single vector does not pull it away again.
        self.share[dead] = 1 / self.size
        self.sums[dead] = z[chosen] / self.size


def full_precision(like: Tensor) -> torch.autocast:
    """A context without autocast, on the device of a tensor: in half precision the nearest code would be another."""
    return torch.autocast(like.device.type, enabled=False)


def perplexity(codes: Int64[Tensor, "*b"], size: int) -> Float[Tensor, ""]:
    """How many codes are in use, those that are rare counting for less: 2 to the power of the codes' entropy in bits.

    `size` if all of them are equally frequent, 1 if there is only one.
    """
    shares = frequency(codes, size)
    return 2 ** -(shares * shares.clamp(min=1e-12).log2()).sum()


def used(codes: Int64[Tensor, "*b"], size: int) -> float:
    """The share, 0..1, of the codebook's codes that occur at least once."""
    return (frequency(codes, size) > 0).float().mean().item()


def frequency(codes: Int64[Tensor, "*b"], size: int) -> Float[Tensor, "size"]:
    """How often each code occurs; the sum is 1."""
    return torch.bincount(codes.flatten(), minlength=size) / codes.numel()


def normal_levels(count: int, rounds: int = 2000) -> tuple[Float64[Tensor, "count"], float]:
    """The best `count` levels for a standard normal number, and the mean squared error that rounding to them leaves.

    Two steps in turn: an edge lies half-way between two levels, a level is the mean of what lies between two edges.
    For the normal distribution both are formulas, so this is exact.

    Raises: ValueError if count is not positive.
    Source: Max 1960, "Quantizing for minimum distortion", table I; Lloyd 1982.
    """
    if count < 1:
        raise ValueError(f"there must be at least 1 level, got {count}")
    levels = torch.linspace(-2, 2, count, dtype=torch.float64)
    ends = levels.new_tensor([0.0])
    for _ in range(rounds):
        edges = (levels[1:] + levels[:-1]) / 2
        share = torch.cat([ends, torch.special.ndtr(edges), ends + 1]).diff()
        density = torch.cat([ends, (-edges.square() / 2).exp() / math.sqrt(math.tau), ends])
        # The mean of a normal number between the edges a and b: (density(a) - density(b)) / (chance to lie there).
        levels = -density.diff() / share
    # Each level is the mean of its cell, so what is left of the variance 1 is 1 - E[level^2].
    return levels, 1 - (share * levels.square()).sum().item()
