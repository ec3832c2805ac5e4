"""Watching something run: the live plot of a training, and a progress bar.

Both set the value of one HTML widget, which is what a saved notebook and the book keep: their last state. Nothing is
ever printed, so the outputs of a lesson are the same in every run.
"""

import html
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from numbers import Real
from typing import TypeVar

import ipywidgets as widgets
import numpy as np
from IPython import get_ipython
from IPython.display import display
from torch import Tensor

from edu_diffusion.mode import fast
from edu_diffusion.viz.colours import MODEL, SERIES, figure
from edu_diffusion.viz.explore import STYLE, WIDGET
from edu_diffusion.viz.grids import compare
from edu_diffusion.viz.picture import Picture, checked_alt, show

Item = TypeVar("Item")

_MOST_ROWS = 5
_OVER = 8  # values in a running mean


class Status(widgets.HTML):
    """An HTML widget that prints as its name: what it shows changes from run to run, its name does not."""

    def __init__(self, name: str, value: str = ""):
        super().__init__(STYLE + value, _dom_classes=[WIDGET])
        self.name = name

    def show(self, content: str) -> None:
        """Replace what is on the page."""
        self.value = STYLE + content

    def __repr__(self) -> str:
        return self.name


class LivePlot:
    """The loss of a running training, its speed, the time left, and samples as they get better.

    Put it around the logs of `train`, which it hands on:
    `for log in LivePlot("DDPM").watch(train(...), samples=draw_eight): ...`

    It redraws every `every` seconds, and asks `samples` for images every `samples_every` seconds, or less often where
    that would take more than a tenth of the time. `losses` names the metrics to plot, by default all that start with
    "loss". In fast mode it draws once, at the end.
    """

    def __init__(
        self, title: str, *, every: Real = 2.0, samples_every: Real = 10.0, losses: Sequence[str] | None = None
    ):
        self.title, self.every, self.samples_every, self.losses = checked_alt(title), every, samples_every, losses
        self.widget = Status(f"LivePlot: {self.title}")
        self.steps: list[int] = []
        self.values: dict[str, list[float]] = {}
        self.rows: dict[int, Tensor] = {}  # samples by step

    def watch(self, logs: Iterable[Item], *, samples: Callable[[], Tensor] | None = None) -> Iterator[Item]:
        """Show the plot, and hand on each log. `samples()` gives images; the first ten are shown, a row for each time.

        Leaving the loop early, or interrupting the kernel, ends `logs` and leaves the plot as it was at the last log.
        """
        if get_ipython() is not None:
            display(self.widget)
        drawing = _Every(self.every)
        sampling = _Every(self.samples_every)
        log = None
        try:
            for log in logs:
                self._add(log)
                if samples:
                    sampling(self._sample, samples)
                drawing(self._draw, log)
                yield log
            if samples and log is not None:
                self._sample(samples)
        finally:
            if hasattr(logs, "close"):
                logs.close()
            if self.steps:
                self._draw(log, done=True)

    def _add(self, log: object) -> None:
        names = self.losses or [name for name in log.metrics if name.startswith("loss")]
        missing = [name for name in names if name not in log.metrics]
        if missing or not names:
            raise ValueError(
                f"no metric {missing or 'loss'} in the log, only {list(log.metrics)}: name some in losses="
            )
        self.steps.append(log.step)
        for name in names:
            # A phase that did not run since the last log leaves a gap.
            self.values.setdefault(name, [float("nan")] * (len(self.steps) - 1)).append(log.metrics[name])
        for values in self.values.values():
            values.extend([float("nan")] * (len(self.steps) - len(values)))

    def _sample(self, samples: Callable[[], Tensor]) -> None:
        """Keep a row of images; of many rows drop the most crowded, so that the first and the last always show."""
        self.rows[self.steps[-1]] = samples()[:10].detach().cpu()
        if len(self.rows) > _MOST_ROWS:
            at = sorted(self.rows)
            spread = {middle: after / max(before, 1) for before, middle, after in zip(at, at[1:], at[2:], strict=False)}
            del self.rows[min(spread, key=spread.get)]

    def _draw(self, log: object, done: bool = False) -> None:
        content = f"<div>{html.escape(f'{self.title}: {_status(log, done)}')}</div>{self.picture().html}"
        if self.rows:
            rows = {f"step {step}": images for step, images in self.rows.items()}
            alt = f"{self.title}: samples during training, a row each at steps {', '.join(map(str, self.rows))}"
            content += "<br>" + compare(rows, clip=True, alt=alt).small().html
        self.widget.show(content)

    def picture(self) -> Picture:
        """The loss so far as a picture: what was logged pale, its running mean strong."""
        fig, ax = figure(width=6.0, height=2.6)
        colours = (MODEL,) if len(self.values) == 1 else SERIES
        smooth = {name: running_mean(values) for name, values in self.values.items()}
        for (name, values), colour in zip(self.values.items(), cycle(colours), strict=False):
            ax.plot(self.steps, values, color=colour, alpha=0.25, linewidth=1)
            ax.plot(self.steps, smooth[name], color=colour, label=f"{name}, mean of the last {_OVER} values")
        low, high = np.nanmin(list(smooth.values())), np.nanmax(list(smooth.values()))
        logarithmic = low > 0 and high > 5 * low
        ax.set(xlabel="training step", ylabel="loss (log scale)" if logarithmic else "loss")
        ax.set_yscale("log" if logarithmic else "linear")
        ax.legend()
        ends = [f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in smooth.items()]
        return show(fig, f"{self.title}: {', '.join(ends)} in {self.steps[-1]} steps").small()


class _Every:
    """Calls a function each `seconds`, or each ten times what it took if that is longer; in fast mode never."""

    def __init__(self, seconds: Real):
        self.seconds, self.last, self.cost = seconds, time.monotonic(), 0.0

    def __call__(self, function: Callable, *args) -> None:
        now = time.monotonic()
        if not fast() and now - self.last > max(self.seconds, 10 * self.cost):
            function(*args)
            self.last = time.monotonic()
            self.cost = self.last - now


def running_mean(values: Sequence[float], over: int = _OVER) -> np.ndarray:
    """Mean of the last `over` values, of fewer at the start; NaN is skipped. It forgets: a high start does not stay."""
    out = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - over) : end] if not math.isnan(value)]
        out.append(sum(known) / len(known) if known else float("nan"))
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
            bar.show(_bar(desc, count, total, left))
            drawn = now
    bar.show(_bar(desc, count, total or count, f", took {_clock(time.monotonic() - start)}"))


def _bar(desc: str, count: int, total: int | None, more: str) -> str:
    name, of = html.escape(desc), f" of {total}" if total else ""
    extent = f'value="{count}" max="{total}"' if total else ""
    return f'{name} <progress aria-label="{name}" {extent}></progress> {count}{of}{more}'


def _status(log: object, done: bool) -> str:
    clock = f"took {_clock(log.seconds)}" if done else f"{_clock(log.seconds_left)} left"
    # A training that ends by the clock has more steps than it will do: their number would tell nothing.
    by_steps = math.isclose(log.progress, log.step / log.steps)
    of = f" of {log.steps:,}" if by_steps else ""
    return f"step {log.step:,}{of} · {log.images_per_second:,.0f} images a second · {clock}"


def _clock(seconds: Real) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}" if math.isfinite(seconds) else "?"
