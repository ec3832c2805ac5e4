"""The few plots that lessons repeat: curves with a floor, clouds of points side by side, fields of arrows."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import numpy as np
import torch
from matplotlib.ticker import NullLocator
from torch import Tensor

from edu_diffusion.viz.colours import DATA, FLOOR, MODEL, NOISE, SERIES, figure, ramp
from edu_diffusion.viz.picture import Picture, show

Numbers = Sequence | np.ndarray | Tensor
_MOST_TICKS = 12


def curves(
    series: Mapping[str, Numbers | tuple[Numbers, Numbers]],
    alt: str,
    *,
    x: Numbers | None = None,
    xlabel: str,
    ylabel: str,
    colours: Sequence[str] | None = None,
    floor: Real | None = None,
    floor_label: str = "floor: real against real",
    logx: bool = False,
    logy: bool = False,
    markers: bool = False,
    width: Real = 6.0,
    height: Real = 3.4,
) -> Picture:
    """Lines in one plot: `{"label": y}` over a common `x`, or `{"label": (x, y)}`.

    Write the axis labels with their units: "time (minutes)", "Fréchet distance". `floor` draws the dashed grey line
    that no curve can be expected to pass. `markers` puts a dot on each measured value, and a tick below it where there
    are at most twelve. More than six series are coloured along a ramp, as for a sweep.

    Raises: ValueError if a y has not the length of its x.
    """
    fig, ax = figure(width=width, height=height)
    colours = colours or (SERIES if len(series) <= len(SERIES) else ramp(len(series)))
    for (label, values), colour in zip(series.items(), colours, strict=False):
        across, up = values if isinstance(values, tuple) else (range(len(values)) if x is None else x, values)
        if len(across) != len(up):
            raise ValueError(f"{label!r} has {len(up)} values over {len(across)} places on the x axis")
        ax.plot(_array(across), _array(up), color=colour, label=label, marker="o" if markers else None)
    if floor is not None:
        ax.axhline(floor, color=FLOOR, linestyle="--", linewidth=1.5, label=floor_label)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    if markers and x is not None and len(x) <= _MOST_TICKS:
        ax.set_xticks([float(value) for value in x], [f"{float(value):g}" for value in x])
        ax.xaxis.set_minor_locator(NullLocator())
    if len(series) > 1 or floor is not None:
        ax.legend()
    return show(fig, alt)


def scatter2d(
    clouds: Mapping[str, Tensor | Mapping[str, Tensor]],
    alt: str,
    *,
    colours: Mapping[str, str] | None = None,
    limit: Real | None = None,
    size: Real = 2.3,
) -> Picture:
    """Clouds of points (n, 2) side by side, one panel a title, all with the same limits and square.

    A panel may hold several clouds by name, `{"after": {"data": a, "model": b}}`, drawn over each other with a
    legend. `colours` maps names to colours; by default a name with "data" or "noise" in it has their colour, any other
    the model's.
    `limit` shows the square from -limit to limit, by default what holds every finite point; `size` is a panel's
    width in inches.

    Raises: ValueError for a cloud that is not (n, 2).
    """
    panels = {title: cloud if isinstance(cloud, Mapping) else {title: cloud} for title, cloud in clouds.items()}
    points = [_points(name, cloud) for panel in panels.values() for name, cloud in panel.items()]
    limit = limit or 1.05 * max(_reach(cloud) for cloud in points)
    fig, axes = _panels(len(panels), size)
    for ax, (title, panel) in zip(axes, panels.items(), strict=True):
        for name, cloud in panel.items():
            colour = (colours or {}).get(name) or _role(name)
            ax.plot(*_points(name, cloud).T, ".", color=colour, markersize=2.5, alpha=0.5, label=name)
        _square(ax, limit, title)
        if len(panel) > 1:
            ax.legend(markerscale=3, loc="upper right")
    return show(fig, alt)


def vector_field(
    fields: Mapping[str, Callable[[Tensor], Tensor]],
    alt: str,
    *,
    limit: Real,
    points: Tensor | None = None,
    colour: str = MODEL,
    arrows: int = 17,
    size: Real = 3.0,
) -> Picture:
    """Arrows of each function (n, 2) -> (n, 2) over the square from -limit to limit, one panel a title.

    Arrows show direction and relative length; the longest is about one cell. `points` (n, 2), if given, are drawn
    beneath in the colour of data.
    """
    line = torch.linspace(-limit, limit, arrows)
    places = torch.cartesian_prod(line, line)
    fig, axes = _panels(len(fields), size)
    for ax, (title, field) in zip(axes, fields.items(), strict=True):
        if points is not None:
            ax.plot(*_points("points", points).T, ".", color=DATA, markersize=2.5, alpha=0.4)
        with torch.no_grad():
            to = field(places).detach().cpu()
        longest = to.norm(dim=1).max().clamp_min(1e-12)
        step = to / longest * (2 * limit / (arrows - 1))
        ax.quiver(*places.T.numpy(), *step.T.numpy(), color=colour, angles="xy", scale_units="xy", scale=1, width=0.006)
        _square(ax, limit, title)
    return show(fig, alt)


def _role(name: str) -> str:
    return next((colour for word, colour in (("data", DATA), ("noise", NOISE)) if word in name.lower()), MODEL)


def _panels(n: int, size: Real):
    fig, axes = figure(n, width=size * n, height=size + 0.35, squeeze=False)
    return fig, axes[0]


def _square(ax, limit: Real, title: str) -> None:
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=title)
    ax.locator_params(nbins=5)


def _points(name: str, cloud: Tensor) -> np.ndarray:
    points = _array(cloud)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name!r} must be points of shape (n, 2), got {points.shape}")
    return points


def _reach(points: np.ndarray) -> float:
    finite = np.abs(points[np.isfinite(points).all(axis=1)])
    return float(finite.max()) if finite.size else 1.0


def _array(values: Numbers) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
