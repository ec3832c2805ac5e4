"""Pictures, animations and widgets of the lessons. Nothing in the package imports this room.

Every picture goes through one helper, `show`, which writes an `<img>` with alt text: JupyterLab drops the alt text of
plain image outputs. Make a picture the last line of a cell, or `display` it.

Pictures
    show(figure, "Loss falls from 1 to 0.05 in 200 steps.")      a matplotlib figure, closed afterwards
    grid(x0, columns=8, labels=names)                            images in [-1, 1]; grid(x_t, clip=True) for noisy ones
    compare({"x_t": x_t, "x0": x0}, columns=["t = 100", ...])    labelled rows of images
    animate([grid(x, clip=True) for x in xs], "A boot appears out of noise.", fps=8)

Plots: axis labels carry units, colours mean the same thing all through the course
    fig, ax = figure()                                           a figure in the course's style, for anything special
    curves({"linear": y1, "cosine": y2}, "Both fall ...", x=t, xlabel="t (steps)", ylabel="alpha_bar", floor=0.12)
    scatter2d({"data": a, "model": b}, "Two moons, and ...")     2-D clouds side by side, equal limits
    vector_field({"t = 100": score}, "Arrows point at ...", limit=3, points=a)
    table([{"sampler": "ddim", "steps": 50, "FD": 6.1234}], caption="...")
    colours.DATA, NOISE, MODEL, GUIDANCE, FLOOR, NEUTRAL, ramp(n), style()

Sliders that move with no kernel, in JupyterLab and in the book
    explore(draw, range(0, 1001, 50), "Six clothes dissolve", "t")                 draw(t) returns a picture
    explore2({"linear": f, "cosine": g}, times, "...", "t", choice="schedule")     buttons and a slider
    schedule_explorer(images)        reverse_scrubber(sample(...))        x0_viewer(denoiser, images)
    typed(draw, "a red star", "What was typed")                  a box to type into, for a running kernel only
    schedule_lab(images)                                         every knob free, for a running kernel only

While something runs
    for log in LivePlot("DDPM").watch(train(...), samples=draw_eight): ...
    for batch in progress(batches, "Measuring"): ...

The package's own code
    source(q_sample)                                             highlighted; docstring=False leaves docstrings out
"""

from edu_diffusion.viz import colours
from edu_diffusion.viz.animate import animate
from edu_diffusion.viz.colours import figure, ramp, style
from edu_diffusion.viz.explore import Explorer, explore, explore2, typed
from edu_diffusion.viz.grids import compare, grid
from edu_diffusion.viz.live import LivePlot, progress
from edu_diffusion.viz.picture import Picture, show
from edu_diffusion.viz.plots import curves, scatter2d, vector_field
from edu_diffusion.viz.processes import reverse_scrubber, x0_viewer
from edu_diffusion.viz.schedules import schedule_explorer, schedule_lab
from edu_diffusion.viz.source import Source, source
from edu_diffusion.viz.tables import Table, table

__all__ = [
    "Explorer",
    "LivePlot",
    "Picture",
    "Source",
    "Table",
    "animate",
    "colours",
    "compare",
    "curves",
    "explore",
    "explore2",
    "figure",
    "grid",
    "progress",
    "ramp",
    "reverse_scrubber",
    "scatter2d",
    "schedule_explorer",
    "schedule_lab",
    "show",
    "source",
    "style",
    "table",
    "typed",
    "vector_field",
    "x0_viewer",
]
