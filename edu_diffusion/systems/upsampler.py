"""Upsampling by diffusion: a picture at twice its height and width, on one page.

A large picture is made in a cascade (Ho et al. 2021, arXiv:2106.15282): one model draws it small, others enlarge it.
An upsampler is a diffusion model over large pictures that is shown the small one. Two things are peculiar to it.

It is trained on small pictures that are perfect, and used on some that another model drew, which are not. So the small
picture is made worse on purpose, with noise of a random level and some blur, and the network is told the level: it
learns not to believe every pixel. And what it puts out is the *difference* from the picture enlarged by straight lines.

    up.pictures(small, generator)             64x64 from 32x32, in five steps
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from edu_diffusion.conditioning.lowres import LowRes, blur, halve
from edu_diffusion.diffusion import X0, ClipX0, NoiseSchedule, Rule, Target, cosine, ddim, generate, q_sample
from edu_diffusion.nets import UNet
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.types import Batch, Cond, Rng, check_pictures

Pictures = Float[Tensor, "b 3 h w"]
STEPS, LEVEL = 5, 30  # of sampling, and how noisy the small picture is made then, where nothing else is said


class ResidualUNet(nn.Module):
    """A U-Net over large pictures, whose output is added to what the small picture is enlarged to.

    Untrained it answers with just that. The condition's `spatial` is the enlarged picture, its `vec` the level.
    """

    def __init__(self, **options):
        super().__init__()
        self.unet = UNet(3, **{"widths": (32, 64), "attention": (False, False)} | options | {"spatial": 3})

    def forward(self, x_t: Pictures, t: Float[Tensor, "b"], cond: Cond | None = None) -> Pictures:
        """x0, as the small picture enlarged plus what is missing in it.

        Raises: ValueError if there is no small picture to go by.
        """
        if cond is None or cond.spatial is None:
            raise ValueError("an upsampler needs the small picture, as the spatial part of its condition")
        return cond.spatial + self.unet(x_t, t, cond)


def up_unet(size: int = 64, levels: LowRes | None = None, **options) -> ResidualUNet:
    """The course's network for pictures of `size`, which it works on at 32x32 inside: 0.4 million parameters.

    Edges want their places to the pixel: with larger patches it learned far less from each picture.
    """
    return ResidualUNet(**{"patch": max(1, size // 32), "vec": (levels or LowRes()).width} | options)


@dataclass
class Upsampler(DDPM):
    """The recipe: rebuild a large picture from its noised self and from its half-size self made worse.

    `size` is the height and width of the large pictures. In training the small one is blurred with a standard deviation
    of 0 to `blur` of its pixels, and noised to a level of 0 to `most` of the schedule's times. Captions that come with
    the pictures are not looked at: what is to be seen stands in the small picture.

    The target is x0, which here is nearly known: what the network has to find is small, and at every time the same.

    Raises: ValueError if `most` is no time of the schedule.
    """

    size: int = 64
    net: nn.Module | None = None
    schedule: NoiseSchedule = field(default_factory=cosine)
    target: Target = X0
    blur: float = 0.0
    most: int = 100
    levels: LowRes = field(default_factory=LowRes)

    def __post_init__(self):
        if not 0 <= self.most <= self.schedule.T:
            raise ValueError(f"most must be a time of the schedule, 0..{self.schedule.T}, got {self.most}")
        self.net = self.net or up_unet(self.size, self.levels)
        super().__post_init__()

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1], or of another size.

        Raises: ValueError saying what was given.
        """
        check_pictures(batch.x)
        self._check_size(batch.x, self.size)

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """The picture at half its size, blurred and noised at random, each in its own way."""
        n = len(batch)
        small = blur(halve(batch.x), self.blur * rng.uniform(n)) if self.blur else halve(batch.x)
        level = (rng.uniform(n) * (self.most + 1)).long()
        return self.worsened(small, level, rng.normal_like(small))

    def worsened(self, small: Pictures, level: Int[Tensor, "b"], eps: Pictures) -> Cond:
        """The condition of small pictures, each noised to its level with eps, and the level with it."""
        return self.levels(q_sample(self.schedule, small, level, eps), level)

    @torch.no_grad()
    def pictures(
        self, small: Pictures, generator: Generator, *, steps: int = STEPS, level: int = LEVEL, rule: Rule | None = None
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """Pictures in [-1, 1] of twice the size, on the CPU. The small ones are first noised to `level`; a little of it
        covers what their model drew wrong, much of it what it drew right.

        Raises: ValueError if the small pictures have another size, are not in [-1, 1], or if the level was never
        trained.
        """
        check_pictures(small)
        self._check_size(small, self.size // 2)
        if not 0 <= level <= self.most:
            raise ValueError(f"this upsampler was trained with levels 0..{self.most}, got {level}")
        n, side = len(small), self.size
        eps = torch.randn(small.shape, generator=generator).to(small)
        cond = self.worsened(small, torch.full((n,), level), eps)
        options = {"steps": steps, "rule": rule or ddim(), "cond": cond, "generator": generator}
        return generate(ClipX0(self.denoiser), (n, 3, side, side), **options).clamp(-1, 1).cpu()

    def _check_size(self, x: Pictures, size: int) -> None:
        if tuple(x.shape[1:]) != (3, size, size):
            raise ValueError(
                f"this upsampler makes {self.size}x{self.size} pictures in colour of {self.size // 2}x{self.size // 2} "
                f"ones: here 3x{size}x{size} were expected, got {'x'.join(map(str, x.shape[1:]))}"
            )
