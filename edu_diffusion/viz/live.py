"""Watching something run: the live plot of a training, and a progress bar.

Both set the value of one HTML widget, which is what a saved notebook and the book keep: their last state. Nothing is
ever printed, so the outputs of a lesson are the same in every run.
"""

import html
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import ipywidgets as widgets
import numpy as np
from IPython import get_ipython
from IPython.display import display
from torch import Tensor

from edu_diffusion.mode import fast
from edu_diffusion.viz.colours import MODEL, figure
from edu_diffusion.viz.grids import compare
from edu_diffusion.viz.picture import Picture, checked_alt, show

Item = TypeVar("Item")

_MOST_ROWS = 5


class Status(widgets.HTML):
    """An HTML widget that prints as its name: what it shows changes from run to run, its name does not."""

    def __init__(self, name: str, value: str = ""):
        super().__init__(value)
        self.name = name

    def __repr__(self) -> str:
        return self.name


class LivePlot:
    """The loss of a running training, its speed, the time left, and samples as they get better.

    Use it around the logs of `train`, which it hands on:
    `for log in LivePlot("DDPM").watch(train(...), steps=500, samples=draw): ...`

    It redraws every `every` seconds, and asks `samples` for images every `samples_every` seconds, or less often where
    that would take more than a tenth of the time. `losses` says which numbers of a log to plot, by default "loss".
    In fast mode it draws once, at the end.
    """

    def __init__(
        self, title: str, *, every: float = 2.0, samples_every: float = 10.0, losses: Mapping[str, str] | None = None
    ):
        self.title, self.every, self.samples_every = checked_alt(title), every, samples_every
        self.losses = dict(losses or {"loss": MODEL})
        self.widget = Status(f"LivePlot: {self.title}")
        self.steps: list[int] = []
        self.values: dict[str, list[float]] = {name: [] for name in self.losses}
        self._rows: dict[int, Tensor] = {}

    def watch(
        self, logs: Iterable[Item], *, steps: int | None = None, samples: Callable[[], Tensor] | None = None
    ) -> Iterator[Item]:
        """Show the plot, and hand on each log. `steps` is how many will come; `samples()` returns up to ten images.

        Stopping early, or interrupting the kernel, leaves the plot as it was at the last log.
        """
        if get_ipython() is not None:
            display(self.widget)
        start = drawn = sampled = time.monotonic()
        sample_cost = 0.0
        log = None
        try:
            for log in logs:
                self._add(log)
                now = time.monotonic()
                if samples and not fast() and now - sampled > max(self.samples_every, 10 * sample_cost):
                    self._sample(samples)
                    sampled = time.monotonic()
                    sample_cost = sampled - now
                if not fast() and now - drawn > self.every:
                    self._draw(_status(log, steps, now - start))
                    drawn = time.monotonic()
                yield log
            if samples and log is not None:
                self._sample(samples)
        finally:
            if log is not None:
                self._draw(_status(log, steps, time.monotonic() - start, done=True))

    def _add(self, log: object) -> None:
        self.steps.append(log.step)
        for name, values in self.values.items():
            values.append(_metric(log, name))

    def _sample(self, samples: Callable[[], Tensor]) -> None:
        """Keep a row of images; of many rows, thin out the middle, so that the first and the last always show."""
        self._rows[self.steps[-1]] = samples()[:10].detach().cpu()
        if len(self._rows) > _MOST_ROWS:
            at = sorted(self._rows)
            # Drop the row whose neighbours are closest together.
            gaps = {middle: after / max(before, 1) for before, middle, after in zip(at, at[1:], at[2:], strict=False)}
            del self._rows[min(gaps, key=gaps.get)]

    def _draw(self, status: str) -> None:
        content = f"<div>{html.escape(self.title)}: {html.escape(status)}</div>" + self.picture().html
        if self._rows:
            rows = {f"step {step}": images for step, images in self._rows.items()}
            alt = f"{self.title}: samples during training, a row each at steps {', '.join(map(str, self._rows))}"
            content += "<br>" + compare(rows, clip=True, alt=alt).small().html
        self.widget.value = content

    def picture(self) -> Picture:
        """The loss so far as a picture: each step's value pale, a running mean strong."""
        fig, ax = figure(width=6.0, height=2.6)
        colours = {name: c if c.startswith("#") else MODEL for name, c in self.losses.items()}
        smooth = {name: running_mean(values) for name, values in self.values.items()}
        for name, values in self.values.items():
            ax.plot(self.steps, values, color=colours[name], alpha=0.25, linewidth=1)
            ax.plot(self.steps, smooth[name], color=colours[name], label=name)
        lows, highs = np.nanmin(list(smooth.values())), np.nanmax(list(smooth.values()))
        if lows > 0 and highs > 5 * lows:
            ax.set_yscale("log")
        ax.set(xlabel="training step", ylabel=" and ".join(self.losses))
        if len(self.losses) > 1:
            ax.legend()
        ends = [f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in smooth.items()]
        return show(fig, f"{self.title}: {', '.join(ends)} in {self.steps[-1]} steps", colours=32).small()


def running_mean(values: list[float], over: int = 30) -> np.ndarray:
    """Each value's exponential mean over about the last `over` values, with no bias towards 0 at the start."""
    keep, total, weight, out = 1 - 1 / over, 0.0, 0.0, []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        out.append(total / weight)
    return np.array(out)


def progress(iterable: Iterable[Item], desc: str, total: int | None = None) -> Iterator[Item]:
    """Hand on the items, with a bar: in a notebook a widget, in a terminal tqdm's, in fast mode one that stands still.

    `total` is how many items will come, where `iterable` has no length.
    """
    total = total if total is not None else getattr(iterable, "__len__", lambda: None)()
    if get_ipython() is None:
        from tqdm import tqdm

        yield from tqdm(iterable, desc, total, disable=fast() or not sys.stderr.isatty())
        return
    bar = Status(f"progress: {desc}", _bar(desc, 0, total, ""))
    display(bar)
    start = drawn = time.monotonic()
    count = 0
    for count, item in enumerate(iterable, start=1):
        yield item
        now = time.monotonic()
        if not fast() and now - drawn > 0.3:
            left = f", {_clock((now - start) * (total - count) / count)} left" if total else ""
            bar.value, drawn = _bar(desc, count, total, left), now
    bar.value = _bar(desc, count, total or count, f", took {_clock(time.monotonic() - start)}")


def _bar(desc: str, count: int, total: int | None, more: str) -> str:
    name, of = html.escape(desc), f" of {total}" if total else ""
    extent = f'value="{count}" max="{total}"' if total else ""
    return f'{name} <progress aria-label="{name}" {extent}></progress> {count}{of}{more}'


def _metric(log: object, name: str) -> float:
    """A number of a log: an attribute of its own, or an entry of its metrics."""
    value = getattr(log, name, None)
    if value is None:
        value = getattr(log, "metrics", {}).get(name, float("nan"))
    return float(value)


def _status(log: object, steps: int | None, seconds: float, done: bool = False) -> str:
    parts = [f"step {log.step:,}" + (f" of {steps:,}" if steps else "")]
    speed = getattr(log, "images_per_second", None)
    if speed:
        parts.append(f"{speed:,.0f} images a second")
    if done:
        parts.append(f"took {_clock(seconds)}")
    elif steps and log.step:
        parts.append(f"{_clock(seconds * (steps - log.step) / log.step)} left")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
