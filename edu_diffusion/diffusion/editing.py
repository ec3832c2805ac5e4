"""Changing a picture that is there: the plain sampler with a region held fast, or begun half way.

Neither needs a network trained for it, and neither knows what the condition is.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from edu_diffusion.diffusion.guidance import Wrapper
from edu_diffusion.diffusion.prediction import Prediction
from edu_diffusion.diffusion.process import q_sample
from edu_diffusion.diffusion.samplers import Draw, Rule, Step, sample
from edu_diffusion.diffusion.schedule import Times
from edu_diffusion.types import Cond, check_pictures

Data = Float[Tensor, "b ..."]
# True where something new is to be painted; it may have one example, or one channel, for all.
Mask = Bool[Tensor, "n ..."]


def holding(rule: Rule, x0: Data, mask: Mask) -> Rule:
    """The rule, but outside the mask x_s is the known picture at time s, with fresh noise: inpainting by masking.

    The network was never asked to fit the one to the other. It learns of the known part only by looking at x_t, and
    what it has painted is not told to the known part at all: the seam may show (RePaint, section 4.2). After the last
    step everything outside the mask is x0 itself, bit for bit.

    Raises: ValueError as `check_mask` does.
    Source: Sohl-Dickstein et al. 2015 (arXiv:1503.03585), section 2.5; RePaint (arXiv:2201.09865), eq. 8.
    """
    check_mask(mask, x0)

    def step(now: Prediction, s: int, draw: Draw, before: Prediction | None) -> Data:
        painted = rule(now, s, draw, before)
        truth, hole = x0.to(painted), mask.to(painted.device)
        # RePaint eq. 8a: q_sample at s, where the last step draws no noise
        known = now.schedule.signal(s, truth) * truth + now.schedule.noise(s, truth) * draw()
        return torch.where(hole, painted, known)

    return step


class Beside(Wrapper):
    """Tells the denoiser inside, at every time, the same `spatial` channels: what holds with and without a caption.

    It goes inside `ClassifierFree`, whose two halves are then both told. `spatial` has one row for each example.
    """

    def __init__(self, denoiser, spatial: Float[Tensor, "b c h w"]):
        super().__init__(denoiser)
        self.spatial = spatial

    def __call__(self, x_t: Data, t: Times, cond: Cond | None = None) -> Prediction:
        """The inner prediction; x_t may be the same examples twice over.

        Raises: ValueError if x_t is not a whole number of times the examples that were given.
        """
        times, rest = divmod(len(x_t), len(self.spatial))
        if rest or not times:
            raise ValueError(f"spatial was given for {len(self.spatial)} examples, but x_t has {len(x_t)}")
        cond, spatial = cond or Cond(), self.spatial.to(x_t).repeat(times, 1, 1, 1)
        return self.denoiser(x_t, t, replace(cond, spatial=spatial))


def composite(painted: Data, x0: Data, mask: Mask) -> Data:
    """`painted` inside the mask, and x0 outside it, bit for bit.

    Raises: ValueError as `check_mask` does, or if the shapes differ.
    """
    check_mask(mask, x0)
    if painted.shape != x0.shape:
        raise ValueError(f"what was painted has shape {tuple(painted.shape)}, the picture {tuple(x0.shape)}")
    return torch.where(mask.to(x0.device), painted.to(x0), x0)


def check_mask(mask: Mask, x0: Data) -> None:
    """Refuse a mask that does not fit the examples x0, marks nothing in one of them, or lies on no proper pictures.

    Raises: ValueError saying what was given.
    """
    one_each = (1, len(x0)), *((1, size) if i == 0 and x0.ndim > 2 else (size,) for i, size in enumerate(x0.shape[1:]))
    if mask.ndim != x0.ndim or any(size not in fits for size, fits in zip(mask.shape, one_each, strict=True)):
        raise ValueError(
            f"the mask must have the size of what it lies on, {tuple(x0.shape)} (1 example or 1 channel for all will "
            f"do), got {tuple(mask.shape)}"
        )
    if not mask.flatten(1).any(1).all():
        raise ValueError("the mask is empty: it must be True where something is to be painted")
    if x0.ndim == 4:
        check_pictures(x0)


def shortened(T: int, strength: float, steps: int) -> list[int]:
    """The stops of a sampler that begins at t = strength T, and takes its share of `steps`: at least one.

    Raises: ValueError if strength is not in (0, 1], or if the times would not fall strictly.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}: 1 keeps nothing of the picture")
    start, count = max(1, round(strength * T)), max(1, round(strength * steps))
    if count > start:
        raise ValueError(f"at most {start} steps lead down from t = {start}, got {count}")
    return [round(start * (count - i) / count) for i in range(count + 1)]


def image_to_image(
    denoiser,
    x0: Data,
    strength: float,
    *,
    steps: int,
    rule: Rule,
    cond: Cond | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Noise a picture to t = strength T, and walk back from there with another condition, one `Step` at a time.

    What is coarser than the noise survives: a small strength keeps nearly all, 1 begins as good as anew. `steps` are
    those of a whole walk, of which a share is taken.

    Raises: ValueError if strength is not in (0, 1], or a picture is not in [-1, 1].
    Source: SDEdit (arXiv:2108.01073), section 3 and algorithm 1.
    """
    if x0.ndim == 4:
        check_pictures(x0)
    times = shortened(denoiser.schedule.T, strength, steps)
    eps = torch.randn(x0.shape, generator=generator).to(x0)
    begun = q_sample(denoiser.schedule, x0, times[0], eps)
    return sample(denoiser, x0.shape, steps=times, rule=rule, cond=cond, x_init=begun, generator=generator)


def seam(x: Float[Tensor, "b c h w"], mask: Bool[Tensor, "n k h w"]) -> Float[Tensor, "b"]:
    """The mean jump of the values between neighbours of which one lies inside the mask and one outside, 0..2.

    Compare it with that of the true picture: where a thing ends at the seam, a jump is right.

    Raises: ValueError as `check_mask` does, or if a mask has no border inside its picture.
    """
    check_mask(mask, x)
    inside, total, count = mask.expand(x.shape).to(x.device), x.new_zeros(len(x)), x.new_zeros(len(x))
    for axis in (2, 3):
        crossing = inside.diff(dim=axis)
        total += (x.diff(dim=axis).abs() * crossing).flatten(1).sum(1)
        count += crossing.flatten(1).sum(1)
    if not (count > 0).all():
        raise ValueError("a mask that covers its whole picture has no seam")
    return total / count
