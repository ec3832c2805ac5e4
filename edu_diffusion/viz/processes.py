"""Explorers of the two processes: forwards through a schedule, backwards through a sampler, and one guess at x0."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from edu_diffusion.diffusion import NoiseSchedule, cosine, linear, q_sample
from edu_diffusion.viz.colours import DATA, NEUTRAL, NOISE, figure
from edu_diffusion.viz.explore import Explorer, explore, explore2
from edu_diffusion.viz.grids import compare, grid
from edu_diffusion.viz.picture import DENSITY, Picture, rasterise

# Where to stop on the way from data to noise, in percent: close together at the start, where most changes.
PERCENTS = (0, 1, 2, 4, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)


def schedule_explorer(
    images: Float[Tensor, "n c h w"],
    schedules: Mapping[str, NoiseSchedule] | None = None,
    *,
    percents: Sequence[int] = PERCENTS,
    generator: torch.Generator | None = None,
) -> Explorer:
    """Choose a noise schedule, move t, and see alpha_bar, the signal-to-noise ratio, and real images dissolving.

    `images` in [-1, 1], six or so. `schedules` by name; by default linear and cosine, and linear with one thing
    changed: a tenth of the steps, or a quarter of the last beta, which both leave much of the data at t = T.
    Schedules may differ in T: the slider runs over t / T in `percents`. Every time uses the same eps, drawn from
    `generator`.
    """
    schedules = schedules or {
        "linear": linear(),
        "cosine": cosine(),
        "linear, T = 100": linear(100),
        "linear, beta_end = 0.005": linear(beta_end=0.005),
    }
    eps = torch.randn(images.shape, generator=generator)
    choices = {name: _schedule_frames(schedules, name, images, eps) for name in schedules}
    start = next((i for i, percent in enumerate(percents) if percent >= 20), 0)
    alt = f"{len(images)} images dissolving into noise, below curves of alpha_bar and signal-to-noise ratio"
    return explore2(choices, [f"{p} %" for p in percents], alt, "t / T", choice="schedule", start=start)


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
    return explore(pictures, [step.t for step in kept], alt, "t", play=True)


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


def _schedule_frames(
    schedules: Mapping[str, NoiseSchedule], name: str, images: Tensor, eps: Tensor
) -> Callable[[str], tuple]:
    """A function from "40 %" to a frame of the schedule explorer."""
    schedule = schedules[name]
    plot = _MarkedCurves(schedules, name)

    def draw(percent: str) -> tuple:
        t = round(int(percent.split()[0]) / 100 * schedule.T)
        alpha_bar = schedule.alpha_bar[t].item()
        ratio = f"{alpha_bar / (1 - alpha_bar):.2g}" if t else "infinite"
        caption = f"t = {t} of {schedule.T}: alpha_bar = {alpha_bar:.2g}, signal-to-noise ratio = {ratio}"
        x_t = grid(q_sample(schedule, images, t, eps), columns=len(images), clip=True, alt=f"x_t at t = {t}")
        return plot.at(t), x_t, caption

    return draw


class _MarkedCurves:
    """alpha_bar and SNR over t / T, drawn once; for each t only the markers are added."""

    def __init__(self, schedules: Mapping[str, NoiseSchedule], name: str):
        self.schedule, self.name = schedules[name], name
        figure_, self.axes = figure(2, width=6.2, height=2.1)
        for other in schedules:
            self._lines(schedules[other], "#C4C4CC", 1.2)
        self._lines(self.schedule, DATA, 2.2)
        self.axes[0].set(xlabel="t / T (%)", ylabel="alpha_bar")
        self.axes[1].text(0.04, 0.06, "grey: the other schedules", transform=self.axes[1].transAxes, fontsize=9)
        self.axes[1].set(xlabel="t / T (%)", ylabel="SNR (log scale)", yscale="log", ylim=(1e-5, 1e5))
        self.image = rasterise(figure_)
        self.size, self.palette = (self.image.width // DENSITY, self.image.height // DENSITY), None
        figure_.set_dpi(100 * DENSITY)  # closing it put the old value back, and the markers are placed by it

    def _lines(self, schedule: NoiseSchedule, colour: str, width: float) -> None:
        alpha_bar = schedule.alpha_bar.numpy()
        across = [100 * t / schedule.T for t in range(schedule.T + 1)]
        self.axes[0].plot(across, alpha_bar, color=colour, linewidth=width)
        self.axes[1].plot(across[1:], alpha_bar[1:] / (1 - alpha_bar[1:]), color=colour, linewidth=width)

    def at(self, t: int) -> Picture:
        image = self.image.copy()
        alpha_bar = self.schedule.alpha_bar[t].item()
        across = 100 * t / self.schedule.T
        self._mark(image, self.axes[0], across, alpha_bar)
        # At t = 0 the ratio is infinite: no marker.
        if t:
            self._mark(image, self.axes[1], across, alpha_bar / (1 - alpha_bar))
        alt = f"Curves of alpha_bar and signal-to-noise ratio of {self.name}, marked at t = {t}"
        return Picture(b"", alt, self.size[0], image=self._reduced(image))

    def _reduced(self, image: Image.Image) -> Image.Image:
        small = image.resize(self.size, Image.Resampling.BOX)
        # The colours are chosen once, from a picture with a marker in it: choosing them is most of a frame's cost.
        if self.palette is None:
            self.palette = small.quantize(24, Image.Quantize.MAXCOVERAGE, kmeans=1)
        return small.quantize(palette=self.palette, dither=Image.Dither.NONE)

    @staticmethod
    def _mark(image: Image.Image, ax, x: float, y: float) -> None:
        (px, py), (_, floor) = ax.transData.transform((x, y)), ax.transAxes.transform((0, 0))
        py, floor, r = image.height - py, image.height - floor, 5 * DENSITY
        pen = ImageDraw.Draw(image)
        pen.line((px, py, px, floor), fill=NEUTRAL, width=DENSITY)
        pen.ellipse((px - r, py - r, px + r, py + r), fill=NOISE, outline="white", width=DENSITY)


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of 0..n-1, evenly spaced, both ends among them."""
    count = min(n, most)
    return sorted({round(i * (n - 1) / (count - 1)) for i in range(count)})
