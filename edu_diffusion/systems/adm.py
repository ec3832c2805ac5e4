"""ADM, "Diffusion models beat GANs" (Dhariwal and Nichol 2021, arXiv:2105.05233), on one page.

Three things. A better U-Net, found by trying its parts one by one: attention at more levels in heads of a fixed width,
adaptive group norms, residual blocks that change the size (section 3, tables 1 to 3). A model that is told the class.
And classifier guidance: a second network learns to name the class of *noisy* pictures, and the gradient of its answer
pushes every sampling step towards the class that is wanted (section 4).

    classifier.guide(adm.denoiser, y, scale)          algorithm 2: a denoiser, for any sampler
    ancestral(shift=classifier.shift(y, scale))       algorithm 1: moves the mean of the ancestral step
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.conditioning import Labels
from edu_diffusion.diffusion import (
    ClassifierGuided,
    NoiseSchedule,
    Prediction,
    UniformTimes,
    classifier_gradient,
    cosine,
    q_sample,
)
from edu_diffusion.diffusion.guidance import LogProb
from edu_diffusion.diffusion.schedule import Times
from edu_diffusion.nets import Encoder, UNet
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM, improved_unet
from edu_diffusion.types import Batch, Cond, Rng, check_pictures


def adm_unet(classes: int = 10, **options) -> UNet:
    """ADM's U-Net at the course's size: three levels, attention at two, residual blocks between, told the class."""
    levels = {"widths": (48, 96, 96), "attention": (False, True, True), "head_width": 48}
    return improved_unet(**levels | {"vec": classes, "residual": True} | options)


@dataclass
class ADM(ImprovedDDPM):
    """The recipe: improved DDPM that is told the class of each picture."""

    net: nn.Module = field(default_factory=adm_unet)
    labels: Labels = field(default_factory=Labels)

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """The class of each example.

        Raises: ValueError when the batch has no labels.
        """
        if batch.y is None:
            raise ValueError("this model learns from labels, but the batch has none: give Batches data with y")
        return self.labels(batch.y)


@dataclass
class NoisyClassifier:
    """The recipe of the second network: name the class of x_t, told t, for every t.

    With `noisy` off it sees clean pictures only, as any classifier does, and is never told a time.
    """

    net: Encoder = field(default_factory=lambda: Encoder(widths=(32, 64), attention=(False, True)))
    schedule: NoiseSchedule = field(default_factory=cosine)
    noisy: bool = True

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}
        self.times = UniformTimes(self.schedule.T)

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1], and batches without labels.

        Raises: ValueError saying what was given.
        """
        check_pictures(batch.x)
        if batch.y is None:
            raise ValueError("a classifier learns from labels, but this batch has none: give Batches data with y")

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: name the class of x_t at a random t. Measures the accuracy as well."""
        t, _ = self.times.draw(len(batch), rng)
        if not self.noisy:
            t = torch.zeros_like(t)
        logits = self.logits(q_sample(self.schedule, batch.x, t, rng.normal_like(batch.x)), t)
        yield "net", F.cross_entropy(logits, batch.y), {"accuracy": (logits.argmax(1) == batch.y).float().mean()}

    def logits(self, x_t: Float[Tensor, "b c h w"], t: Times) -> Float[Tensor, "b classes"]:
        """The logits of the classes, for pictures at time t in 0..T."""
        times = torch.as_tensor(t if self.noisy else 0, dtype=torch.float32).expand(len(x_t)).to(x_t.device)
        return self.modules["net"](x_t, times)

    def log_prob(self, y: Int[Tensor, "b"]) -> LogProb:
        """log p(y | x_t), a function of (x_t, t): what guidance takes the gradient of."""

        def answer(x_t: Float[Tensor, "b c h w"], t: Times) -> Float[Tensor, "b"]:
            return -F.cross_entropy(self.logits(x_t, t), y.to(x_t.device), reduction="none")

        return answer

    def guide(self, denoiser, y: Int[Tensor, "b"], scale: float = 1.0) -> ClassifierGuided:
        """The denoiser, guided towards the classes y (algorithm 2). Scale 0 is off.

        Raises: ValueError if the denoiser adds noise by another schedule than this classifier was trained on.
        """
        self._check_schedule(denoiser.schedule)
        return ClassifierGuided(denoiser, self.log_prob(y), scale)

    def shift(self, y: Int[Tensor, "b"], scale: float = 1.0) -> Callable[[Prediction], Tensor]:
        """What `ancestral` takes as its `shift`: scale times the gradient of log p(y | x_t) (algorithm 1).

        The rule multiplies it by the variance of its step, so the mean moves by Sigma scale g.
        """
        log_prob = self.log_prob(y)

        def gradient(now: Prediction) -> Tensor:
            self._check_schedule(now.schedule)
            return scale * classifier_gradient(log_prob, now.x_t, now.t)

        return gradient

    @torch.no_grad()
    def accuracy(self, x0: Float[Tensor, "n c h w"], y: Int[Tensor, "n"], t: int, seed: int = 0) -> float:
        """The share, 0..1, of pictures whose class it names right when they are noised to time t."""
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
        device = next(self.modules["net"].parameters()).device
        parts = zip(q_sample(self.schedule, x0, t, eps).split(500), y.split(500), strict=True)
        right = sum((self.logits(x_t.to(device), t).argmax(1).cpu() == label).sum().item() for x_t, label in parts)
        return right / len(x0)

    def _check_schedule(self, schedule: NoiseSchedule) -> None:
        if not torch.equal(schedule.alpha_bar, self.schedule.alpha_bar):
            raise ValueError(
                f"this classifier was trained on the schedule {self.schedule.name!r}, the denoiser on "
                f"{schedule.name!r}: at one t they mean different noise. Train it on the denoiser's schedule"
            )
