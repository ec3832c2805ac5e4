"""Distributions whose noised versions are known exactly: a yardstick for everything a network only estimates.

Both know nothing of diffusion. They are given two plain numbers, `signal` and `noise`, and answer questions about
x_t = signal * x0 + noise * eps, where eps is standard Gaussian noise.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Level = float | Float[Tensor, ""] | Float[Tensor, " n"]


class GaussianMixture:
    """A mixture of isotropic Gaussians in d dimensions: sum_k weights_k N(means_k, stds_k^2 I).

    `stds` may be one number for all. `weights` default to equal ones, and are scaled to sum to one. Parameters
    are kept, and all results computed, in float64 on the CPU, as some devices have no float64; results have the dtype
    and the device of the points given.

    Raises: ValueError for a standard deviation or weight that is not positive, or shapes that disagree.
    """

    def __init__(
        self,
        means: Float[Tensor, "k d"],
        stds: float | Float[Tensor, " k"],
        weights: Float[Tensor, " k"] | None = None,
    ):
        k = len(means)
        weights = torch.ones(k) if weights is None else weights
        self.means = means.cpu().double()
        self.stds = torch.as_tensor(stds).to(self.means).expand(k).clone()
        self.weights = weights.to(self.means) / weights.sum()
        if len(weights) != k:
            raise ValueError(f"{k} means need {k} weights, got {len(weights)}")
        if not (self.stds > 0).all() or not (self.weights > 0).all():
            raise ValueError("every standard deviation and every weight must be positive; leave out empty components")

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """n points, float32."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return (self.means[k] + self.stds[k, None] * z).float()

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The log-density at each point, in nats."""
        return self._joint(x.cpu().double(), 1.0, 0.0).logsumexp(dim=1).to(x.dtype).to(x.device)

    def mean(self) -> Float[Tensor, " d"]:
        """The mixture's mean, float64."""
        return self.weights @ self.means

    def cov(self) -> Float[Tensor, "d d"]:
        """The mixture's covariance, float64: the spread of the means plus the spread within components."""
        centred = self.means - self.mean()
        within = self.weights @ self.stds**2
        return centred.T @ (self.weights[:, None] * centred) + within * torch.eye(len(self.mean())).to(centred)

    def diffused(self, signal: float, noise: float) -> "GaussianMixture":
        """The distribution of x_t: again a mixture, N(signal * means_k, signal^2 stds_k^2 + noise^2)."""
        stds = (signal**2 * self.stds**2 + noise**2).sqrt()
        return GaussianMixture(signal * self.means, stds, self.weights)

    def score(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The gradient of `log_prob` at each point."""
        x64 = x.cpu().double()
        weights = self._joint(x64, 1.0, 0.0).softmax(dim=1)
        pull = (self.means - x64[:, None]) / self.stds[:, None] ** 2
        return torch.einsum("nk,nkd->nd", weights, pull).to(x.dtype).to(x.device)

    def posterior_mean(self, x_t: Float[Tensor, "n d"], signal: Level, noise: Level) -> Float[Tensor, "n d"]:
        """E[x0 | x_t], the best possible guess at the clean point: what a perfect network would predict.

        `signal` and `noise` are numbers, or one number for each point. Given component k, x0 and x_t are jointly
        Gaussian, with E[x0 | x_t, k] = m_k + signal s_k^2 / (signal^2 s_k^2 + noise^2) (x_t - signal m_k).
        """
        x64, signal, noise = x_t.cpu().double(), _column(signal), _column(noise)
        weights = self._joint(x64, signal, noise).softmax(dim=1)
        gain = signal * self.stds**2 / (signal**2 * self.stds**2 + noise**2)
        guess = self.means + gain[..., None] * (x64[:, None] - signal[..., None] * self.means)
        return torch.einsum("nk,nkd->nd", weights, guess).to(x_t.dtype).to(x_t.device)

    def _joint(self, x: Float[Tensor, "n d"], signal: float | Tensor, noise: float | Tensor) -> Float[Tensor, "n k"]:
        """log of weight_k times the density of x_t under component k."""
        signal, noise = _column(signal), _column(noise)
        var = signal**2 * self.stds**2 + noise**2
        distance = (x[:, None] - signal[..., None] * self.means).square().sum(dim=-1)
        dims = self.means.shape[1]
        return self.weights.log() - distance / (2 * var) - dims / 2 * (math.tau * var).log()


def ring(k: int = 8, radius: float = math.sqrt(2), std: float = 0.1) -> GaussianMixture:
    """k equal Gaussians evenly on a circle in the plane, the first at angle 0."""
    angle = torch.arange(k, dtype=torch.float64) * (math.tau / k)
    return GaussianMixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)


class Empirical:
    """A data set taken for the whole truth: equal weight on each of its points, and nothing anywhere else.

    This is the distribution a training set really defines. Its `posterior_mean` is the exact minimiser of the
    training loss, and sampling with it can only give back the training examples.

    `points` are (m, d) vectors or (m, c, h, w) pictures, computed in their own dtype, `chunk` of them at a time.
    """

    def __init__(self, points: Float[Tensor, "m *shape"], *, chunk: int = 8192):
        if len(points) == 0:
            raise ValueError("an empirical distribution needs at least one point, got none")
        self.points, self.chunk = points, chunk
        self._half_squares = torch.cat([part.flatten(1).square().sum(dim=1) / 2 for part in points.split(chunk)])

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n *shape"]:
        """n of the points, drawn with replacement."""
        return self.points[torch.randint(len(self.points), (n,), generator=generator)]

    def posterior_mean(self, x_t: Float[Tensor, "n *shape"], signal: Level, noise: Level) -> Float[Tensor, "n *shape"]:
        """E[x0 | x_t]: the average of all points p_i weighted by softmax_i(-||x_t - signal p_i||^2 / (2 noise^2)).

        As noise goes to 0 this becomes the nearest point. `signal` and `noise` are numbers, or one for each x_t.

        Raises: ValueError when the points have another shape than each x_t.
        """
        if x_t.shape[1:] != self.points.shape[1:]:
            raise ValueError(f"x_t must hold examples of shape {tuple(self.points.shape[1:])}, got {tuple(x_t.shape)}")
        flat = x_t.to(self.points.dtype).flatten(1)
        signal, noise = (_column(level).to(flat.dtype).to(flat.device) for level in (signal, noise))
        # ||x_t||^2 is the same for every point, so softmax cancels it. What is left of the square:
        # (signal / noise^2) (x_t . p - signal ||p||^2 / 2). The floor keeps the logits finite at noise 0.
        sharpness = signal / (noise**2).clamp(min=1e-20)
        running = _RunningSoftmax(flat)
        for part, half_squares in zip(self.points.split(self.chunk), self._half_squares.split(self.chunk), strict=True):
            part = part.flatten(1)
            running.add(sharpness * (flat @ part.T - signal * half_squares), part)
        return running.average().view_as(x_t).to(x_t.dtype)


class _RunningSoftmax:
    """A softmax-weighted average built up chunk by chunk, never holding all the weights at once."""

    def __init__(self, like: Float[Tensor, "n d"]):
        self.top = torch.full_like(like[:, :1], -math.inf)
        self.weight = torch.zeros_like(self.top)
        self.total = torch.zeros_like(like)

    def add(self, logits: Float[Tensor, "n m"], values: Float[Tensor, "m d"]) -> None:
        # What was summed so far was scaled by exp(-top); a larger top shrinks it.
        top = torch.maximum(self.top, logits.amax(dim=1, keepdim=True))
        shrink, weights = (self.top - top).exp(), (logits - top).exp()
        self.weight = shrink * self.weight + weights.sum(dim=1, keepdim=True)
        self.total = shrink * self.total + weights @ values
        self.top = top

    def average(self) -> Float[Tensor, "n d"]:
        return self.total / self.weight


def _column(level: float | Tensor) -> Tensor:
    """A level as a float64 column that broadcasts against (n, k)."""
    return torch.as_tensor(level).cpu().double().reshape(-1, 1)
