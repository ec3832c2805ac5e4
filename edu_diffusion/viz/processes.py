"""Explorers of the way back: a sampler's steps, and a denoiser's guess at x0."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.diffusion import q_sample
from edu_diffusion.viz.explore import Explorer, explore
from edu_diffusion.viz.grids import compare
from edu_diffusion.viz.picture import Picture


def reverse_scrubber(steps: Iterable, *, images: int = 8, frames: int = 25) -> Explorer:
    """Move through a sampler's steps: x_t above, and below it the x0 predicted on the way.

    `steps` are the `Step`s of `sample(...)`, images only; the first `images` of the batch are shown, at up to `frames`
    evenly spaced steps, the first and the last among them. Values outside [-1, 1] are cut for the picture.

    Raises: ValueError for fewer than two steps.
    """
    steps = list(steps)
    if len(steps) < 2:
        raise ValueError(f"reverse_scrubber needs at least two steps, got {len(steps)}: pass list(sample(...))")
    kept = [steps[i] for i in _spread(len(steps), frames)]
    pictures = [
        compare({"x at t": step.x[:images], "predicted x0": step.x0[:images]}, clip=True) for step in kept
    ]  # fmt: skip
    alt = "Sampling from noise to images: x at time t, and the predicted x0"
    return explore(pictures, [step.t for step in kept], alt, "t")


def x0_viewer(
    denoiser: Callable,
    images: Float[Tensor, "n c h w"],
    times: Sequence[int] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Explorer:
    """What a denoiser takes x0 to be, from x_t alone: originals, x_t and predicted x0 in three rows, a slider over t.

    `images` in [-1, 1], eight or so; `times` in 1..T, by default 20 of them. Every time uses the same eps, drawn from
    `generator`. Predictions outside [-1, 1] are cut for the picture.
    """
    schedule = denoiser.schedule
    times = list(times) if times is not None else sorted(schedule.spaced(20))[1:]
    eps = torch.randn(images.shape, generator=generator)

    def draw(t: int) -> tuple[Picture, str]:
        x_t = q_sample(schedule, images, t, eps)
        with torch.no_grad():
            x0 = denoiser(x_t.to(denoiser.device), t).x0.cpu()
        # Per pixel, the mean over the images: 0 is perfect; guessing grey costs the mean square of the images.
        error = (x0 - images).square().mean().item()
        caption = (
            f"signal {schedule.signal(t, x0):.2f}, noise {schedule.noise(t, x0):.2f}; mean squared error {error:.3f}"
        )
        return compare({"x0": images, "x_t": x_t, "predicted x0": x0}, clip=True), caption

    return explore(draw, times, "Images, the same with noise, and the denoiser's guess", "t", start=len(times) // 2)


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of 0..n-1, evenly spaced, both ends among them."""
    count = min(n, most)
    return sorted({round(i * (n - 1) / (count - 1)) for i in range(count)})
