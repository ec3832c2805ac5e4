"""Guidance: wrappers that turn a denoiser into another denoiser, so they work with every sampler.

They stack, and the order means something: the outermost acts last. A classifier goes around classifier-free guidance,
not inside it, where it would see two copies of each example.

Scales: of classifier-free guidance 1 is "off", and the paper's w is scale - 1. Of classifier guidance, which adds to
the model's own score, 0 is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion.prediction import EPS, Prediction
from edu_diffusion.diffusion.schedule import Times
from edu_diffusion.types import Cond

Data = Float[Tensor, "b ..."]
# log p(y | x_t) for each example of a batch, differentiable in x_t.
LogProb = Callable[[Data, Times], Float[Tensor, "b"]]


class Wrapper:
    """A denoiser around a denoiser: the same schedule and device, another prediction."""

    def __init__(self, denoiser):
        self.denoiser = denoiser

    @property
    def schedule(self):
        """The inner denoiser's schedule."""
        return self.denoiser.schedule

    @property
    def device(self) -> torch.device:
        """Where the inner denoiser computes."""
        return self.denoiser.device


class ClipX0(Wrapper):
    """Keeps the predicted x0 inside the data's range, and moves eps along with it."""

    def __init__(self, denoiser, low: float = -1.0, high: float = 1.0):
        super().__init__(denoiser)
        self.low, self.high = low, high

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The inner prediction with x0 clipped."""
        prediction = self.denoiser(x_t, t, cond)
        return prediction.with_x0(prediction.x0.clamp(self.low, self.high))


class DynamicThreshold(Wrapper):
    """Squeezes a picture whose predicted x0 leaves [-1, 1] back into it, in place of cutting off what is outside.

    Each example is divided by the quantile `share` of its own |x0|, if that is above 1, after what lies beyond it is
    clipped: strong guidance then saturates less.

    Raises: ValueError if share is not in (0, 1].
    Source: Imagen (arXiv:2205.11487), section 2.3.
    """

    def __init__(self, denoiser, share: float = 0.995):
        super().__init__(denoiser)
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The inner prediction with x0 in [-1, 1]."""
        prediction = self.denoiser(x_t, t, cond)
        size = prediction.x0.abs().flatten(1).quantile(self.share, dim=1).clamp(min=1)
        size = size.reshape(-1, *[1] * (x_t.ndim - 1))
        return prediction.with_x0(torch.clamp(prediction.x0, -size, size) / size)


class ClassifierFree(Wrapper):
    """Classifier-free guidance: away from the unconditional prediction, towards the conditional one.

    eps = eps_null + scale (eps_cond - eps_null). scale 0 ignores the condition, 1 is the conditional model as it is.
    `null` is the condition that stands for "none", with batch size 1. Both halves run as one batch.

    Raises: ValueError if null is more than one condition, or if there is a ClassifierGuided inside.
    Source: Ho and Salimans (arXiv:2207.12598), eq. 6, with w = scale - 1.
    """

    def __init__(self, denoiser, scale: float, null: Cond):
        super().__init__(denoiser)
        if any(isinstance(layer, ClassifierGuided) for layer in _layers(denoiser)):
            raise ValueError("ClassifierFree inside, ClassifierGuided outside: the classifier wants each x_t once")
        if len(null) != 1:
            raise ValueError(f"null must have batch size 1, got {len(null)}")
        self.scale, self.null = scale, null

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The guided prediction.

        Raises: ValueError if there is no condition to guide towards.
        """
        if cond is None or len(cond) != len(x_t):
            raise ValueError(f"classifier-free guidance needs a condition for each of the {len(x_t)} examples")
        if self.scale == 1:
            return self.denoiser(x_t, t, cond)
        both = Cond.cat([cond, self.null.to(x_t.device).expand(len(x_t))])
        twice = t if isinstance(t, int) else torch.cat([t, t])
        joined = self.denoiser(torch.cat([x_t, x_t]), twice, both)
        eps_cond, eps_null = joined.eps.chunk(2)
        frac = None if joined.var_frac is None else joined.var_frac[: len(x_t)]
        guided = eps_null + self.scale * (eps_cond - eps_null)
        return replace(joined, raw=guided, target=EPS, var_frac=frac, x_t=x_t, t=t)


class ClassifierGuided(Wrapper):
    """Classifier guidance on the score: eps moves by -noise scale times the gradient of log p(y | x_t).

    `log_prob(x_t, t)` is a classifier trained on noisy images, with y inside. Scale 0 is off.

    Source: ADM (arXiv:2105.05233), algorithm 2 and eq. 14.
    """

    def __init__(self, denoiser, log_prob: LogProb, scale: float = 1.0):
        super().__init__(denoiser)
        self.log_prob, self.scale = log_prob, scale

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The guided prediction."""
        prediction = self.denoiser(x_t, t, cond)
        step = self.scale * classifier_gradient(self.log_prob, x_t, t)
        return prediction.with_eps(prediction.eps - prediction.noise * step)


class Interval(Wrapper):
    """Guidance at some times only: `guided` for low <= t <= high, and the denoiser inside it at all others.

    What is to act at all times, such as `ClipX0`, goes around it.

    Raises: ValueError if `guided` is no guidance, or if low is above high.
    Source: Kynkäänniemi et al. 2024 (arXiv:2404.07724), section 3.
    """

    def __init__(self, guided: Wrapper, low: int, high: int):
        if not isinstance(guided, ClassifierFree | ClassifierGuided):
            raise ValueError(
                f"guided must be ClassifierFree or ClassifierGuided, got {type(guided).__name__}: put others around"
            )
        if low > high:
            raise ValueError(f"low must not be above high, got {low} and {high}")
        super().__init__(guided.denoiser)
        self.guided, self.low, self.high = guided, low, high

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The guided prediction where t lies inside, else the plain one; t is one time for all.

        Raises: ValueError if t is a tensor of several times.
        """
        if not isinstance(t, int):
            raise ValueError("guidance on an interval is for sampling, where all examples are at one time: give an int")
        return (self.guided if self.low <= t <= self.high else self.denoiser)(x_t, t, cond)


def classifier_gradient(log_prob: LogProb, x_t: Data, t: Times) -> Data:
    """The gradient of log p(y | x_t) with respect to x_t."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        return torch.autograd.grad(log_prob(x, t).sum(), x)[0]


def _layers(denoiser) -> Iterator:
    """The denoiser and all that it is wrapped around."""
    yield denoiser
    for inside in ("guided", "denoiser"):
        if isinstance(denoiser, Wrapper) and hasattr(denoiser, inside):
            yield from _layers(getattr(denoiser, inside))
