"""Points with an arrow on each: where something pulls them."""

from collections.abc import Mapping
from numbers import Real

from torch import Tensor

from edu_diffusion.viz.colours import DATA, GUIDANCE, MODEL
from edu_diffusion.viz.picture import Picture, show
from edu_diffusion.viz.plots import _panels, _points, _square

_MOST_ARROWS = 80


def pulls(
    panels: Mapping[str, tuple[Tensor, Tensor]],
    alt: str,
    *,
    data: Tensor,
    limit: Real = 2.5,
    reach: Real = 0.6,
    size: Real = 3.0,
) -> Picture:
    """Generated points, and on the first of them arrows that say where each is pulled. One panel a title.

    A panel is (points, arrows), both (n, 2); `data` (m, 2) lies beneath in its colour. An arrow is half of `reach` long
    where the pull is 1 and never longer than `reach`, so that weak and strong ones are seen together. All panels show
    the square from -limit to limit: frames of an animation have one size.

    Raises: ValueError for points or arrows that are not (n, 2), or that differ in number.
    """
    fig, axes = _panels(len(panels), size)
    for ax, (title, (points, arrows)) in zip(axes, panels.items(), strict=True):
        where, pull = _points(title, points), _points(f"arrows of {title}", arrows)
        if len(where) != len(pull):
            raise ValueError(f"{title!r} has {len(where)} points and {len(pull)} arrows: one arrow for each point")
        ax.plot(*_points("data", data).T, ".", color=DATA, markersize=2.5, alpha=0.35)
        ax.plot(*where.T, ".", color=MODEL, markersize=3.0, alpha=0.7)
        length = (pull**2).sum(1, keepdims=True) ** 0.5
        step = (reach * pull / (1 + length))[:_MOST_ARROWS]
        arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006}
        ax.quiver(*where[:_MOST_ARROWS].T, *step.T, color=GUIDANCE, **arrow)
        _square(ax, limit, title)
    return show(fig, alt)
