"""One colour for one thing, through the whole course.

The hues are told apart by readers with any common form of colour blindness (each also differs in lightness),
and every one has enough contrast on the white ground that all pictures carry, on light and on dark pages alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib import pyplot as plt

DATA = "#0072B2"  # blue: real data, x_0
NOISE = "#D55E00"  # vermillion: noise, eps, x_T
MODEL = "#008060"  # green: whatever a network predicts or generates
GUIDANCE = "#8E3A80"  # purple: guidance, a classifier, a condition
NEUTRAL = "#404048"  # dark grey: axes, text, anything with no role
FLOOR = "#70707A"  # grey, dashed: the floor (real against real) or a baseline
SERIES = (DATA, NOISE, MODEL, GUIDANCE, "#B8860B", NEUTRAL)  # for curves that have no role of their own

GROUND = "#FFFFFF"

# Matplotlib's own font has no Chinese signs; this one has those of the scenes' captions (see fonts/README.md).
CHINESE = Path(__file__).parent / "fonts" / "NotoSansCJKsc-scenes.otf"
font_manager.fontManager.addfont(CHINESE)

_STYLE = {
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.family": ["DejaVu Sans", "Noto Sans CJK SC"],  # the second where the first has no sign
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.edgecolor": NEUTRAL,
    "axes.labelcolor": NEUTRAL,
    "axes.titlecolor": NEUTRAL,
    "text.color": NEUTRAL,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E8",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "axes.prop_cycle": plt.cycler(color=list(SERIES)),
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of the course, inside a `with` block only."""
    with matplotlib.rc_context(_STYLE):
        yield


def ramp(n: int) -> list[str]:
    """`n` colours from dark violet to yellow-green, for one curve per timestep or per value of a knob.

    The palest tenth of the map is left out: it cannot be seen on white.
    """
    if n < 1:
        raise ValueError(f"ramp needs at least one colour, got n = {n}")
    colours = matplotlib.colormaps["viridis"]
    return [matplotlib.colors.to_hex(colours(0.85 * i / max(n - 1, 1))) for i in range(n)]


def figure(columns: int = 1, rows: int = 1, *, width: Real = 7.0, height: Real = 3.2, **kwargs):
    """A figure in the course's style and its axes, as `plt.subplots` gives them.

    `width` and `height` are in inches for the whole figure; an inch shows as 100 pixels on the page, and a notebook
    is about 7.5 inches wide. Pass the figure to `show`, which closes it. The style stays on for what is drawn after,
    since matplotlib reads some settings only then.
    """
    matplotlib.rcParams.update(_STYLE)
    return plt.subplots(rows, columns, figsize=(width, height), **kwargs)
