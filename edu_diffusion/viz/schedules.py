"""The noise-schedule explorer: choose a schedule, move t, and watch alpha_bar, the signal-to-noise ratio and images."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from edu_diffusion.diffusion import NoiseSchedule, cosine, linear, q_sample
from edu_diffusion.viz.colours import DATA, NEUTRAL, NOISE, figure
from edu_diffusion.viz.explore import FRAME, Explorer, content, explore2
from edu_diffusion.viz.grids import grid
from edu_diffusion.viz.picture import DENSITY, Picture, rasterise, show

# Where to stop on the way from data to noise, in percent: close together at the start, where most changes.
PERCENTS = (0, 1, 2, 4, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
_LEAST_SNR = 1e-5  # where the plot ends


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
    choices = {name: _drawer(schedules, name, images, eps) for name in schedules}
    start = next((i for i, percent in enumerate(percents) if percent >= 20), 0)
    alt = f"{len(images)} images dissolving into noise, below curves of alpha_bar and signal-to-noise ratio"
    return explore2(choices, [f"{p} %" for p in percents], alt, "t / T", choice="schedule", start=start)


def schedule_lab(images: Float[Tensor, "n c h w"], *, generator: torch.Generator | None = None) -> Explorer:
    """`schedule_explorer` with every knob free: schedule, T, beta_end or offset, and t. It needs a running kernel.

    In the book, where none runs, it shows how it was left.
    """
    eps = torch.randn(images.shape, generator=generator)
    knobs = _Knobs()
    view = widgets.HTML(_dom_classes=[FRAME])
    cache: dict = {}

    def draw(_change=None) -> None:
        name, schedule = knobs.schedule()
        if name not in cache:
            cache.clear()
            cache[name] = _drawer({name: schedule}, name, images, eps)
        view.value = content(cache[name](f"{knobs.percent.value} %"), f"{name}, t / T = {knobs.percent.value} %")

    for knob in knobs.all:
        knob.observe(draw, "value")
    draw()
    return Explorer([*knobs.all, view], "Knobs of a noise schedule, its curves, and images dissolving", [view])


class _Knobs:
    """The controls of the lab, and the schedule they stand for."""

    def __init__(self):
        look = {"layout": widgets.Layout(width="28em", max_width="100%"), "style": {"description_width": "9em"}}
        self.kind = widgets.ToggleButtons(options=["linear", "cosine"], description="schedule", style=look["style"])
        self.T = widgets.IntSlider(1000, 10, 2000, 10, description="T (steps)", continuous_update=False, **look)
        self.beta_end = widgets.FloatLogSlider(
            0.02, min=-3, max=-1, step=0.05, description="beta_end (linear)", continuous_update=False, **look
        )
        self.offset = widgets.FloatSlider(
            0.008, min=0, max=0.2, step=0.004, description="offset (cosine)", readout_format=".3f",
            continuous_update=False, **look,
        )  # fmt: skip
        self.percent = widgets.IntSlider(20, 0, 100, description="t / T (%)", **look)
        self.all = (self.kind, self.T, self.beta_end, self.offset, self.percent)

    def schedule(self) -> tuple[str, NoiseSchedule]:
        if self.kind.value == "linear":
            name = f"linear, T = {self.T.value}, beta_end = {self.beta_end.value:.3g}"
            return name, linear(self.T.value, beta_end=self.beta_end.value)
        return f"cosine, T = {self.T.value}, offset = {self.offset.value:.3f}", cosine(self.T.value, self.offset.value)


def _drawer(schedules: Mapping[str, NoiseSchedule], name: str, images: Tensor, eps: Tensor) -> Callable[[str], tuple]:
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
        fig, self.axes = figure(2, width=6.2, height=2.1)
        for other in schedules:
            self._lines(schedules[other], "#C4C4CC", 1.2)
        self._lines(self.schedule, DATA, 2.2)
        self.axes[0].set(xlabel="t / T (%)", ylabel="alpha_bar")
        if len(schedules) > 1:
            place = {"ha": "right", "transform": self.axes[1].transAxes, "fontsize": 9}
            self.axes[1].text(0.96, 0.9, "grey: the other schedules", **place)
        self.axes[1].set(xlabel="t / T (%)", ylabel="SNR (log scale)", yscale="log", ylim=(_LEAST_SNR, 1 / _LEAST_SNR))
        self.image = rasterise(fig)
        fig.set_dpi(100 * DENSITY)  # closing it put the old value back, and the markers are placed by it
        # The colours are chosen once, with a marker in the picture: choosing them is most of a frame's cost.
        self.palette = self._marked(self.schedule.T // 3).quantize(24, Image.Quantize.MAXCOVERAGE, kmeans=1)

    def _lines(self, schedule: NoiseSchedule, colour: str, width: float) -> None:
        alpha_bar = schedule.alpha_bar.numpy()
        across = [100 * t / schedule.T for t in range(schedule.T + 1)]
        self.axes[0].plot(across, alpha_bar, color=colour, linewidth=width)
        self.axes[1].plot(across[1:], alpha_bar[1:] / (1 - alpha_bar[1:]), color=colour, linewidth=width)

    def at(self, t: int) -> Picture:
        image = self._marked(t).quantize(palette=self.palette, dither=Image.Dither.NONE)
        return show(image, f"Curves of alpha_bar and signal-to-noise ratio of {self.name}, marked at t = {t}")

    def _marked(self, t: int) -> Image.Image:
        image = self.image.copy()
        alpha_bar = self.schedule.alpha_bar[t].item()
        across = 100 * t / self.schedule.T
        self._mark(image, self.axes[0], across, alpha_bar)
        # At t = 0 the ratio is infinite: no marker.
        if t:
            self._mark(image, self.axes[1], across, max(alpha_bar / (1 - alpha_bar), _LEAST_SNR))
        return image.resize((image.width // DENSITY, image.height // DENSITY), Image.Resampling.BOX)

    @staticmethod
    def _mark(image: Image.Image, ax, x: float, y: float) -> None:
        (px, py), (_, floor) = ax.transData.transform((x, y)), ax.transAxes.transform((0, 0))
        py, floor, r = image.height - py, image.height - floor, 5 * DENSITY
        pen = ImageDraw.Draw(image)
        pen.line((px, py, px, floor), fill=NEUTRAL, width=DENSITY)
        pen.ellipse((px - r, py - r, px + r, py + r), fill=NOISE, outline="white", width=DENSITY)
