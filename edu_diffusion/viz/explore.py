"""Sliders over pictures made beforehand: they move in JupyterLab, and in the static book where no kernel runs.

Nothing is computed while the slider moves. The browser itself links the slider's position to which picture is shown.
"""

import html
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets

from edu_diffusion.mode import fast
from edu_diffusion.viz.picture import Picture, checked_alt, show
from edu_diffusion.viz.tables import Table

FRAME = "edu-frame"  # CSS class of the frame on show, by which a test or a style sheet finds it
_FAST_FRAMES = 5
_MOST_FRAMES = 60

# JupyterLab marks the saved widgets of a notebook with a broken link until it is run; these show and move all the same.
WIDGET = "edu-widget"
STYLE = (
    f"<style>.{WIDGET}.jupyter-widgets-disconnected::before, .{WIDGET} .jupyter-widgets-disconnected::before "
    f"{{display: none}} .{FRAME} .widget-html-content > div {{line-height: 1.6}}</style>"
)

Frames = Sequence | Callable[[object], object]


class Explorer(widgets.VBox):
    """Controls above pictures. `frames` are the pictures, in the order of the slider; prints as its alt text."""

    def __init__(self, children: Sequence[widgets.Widget], alt: str, frames: Sequence[widgets.HTML]):
        super().__init__([*children, widgets.HTML(STYLE, layout=widgets.Layout(display="none"))])
        self.add_class(WIDGET)
        self.alt, self.frames = alt, list(frames)

    def __repr__(self) -> str:
        return f"Explorer: {self.alt}"


def explore(frames: Frames, labels: Sequence[object], alt: str, name: str = "", *, start: int = 0) -> Explorer:
    """A slider over one frame for each label; `name` stands beside it: `explore(draw, range(0, 1001, 50), ..., "t")`.

    `frames` is a list of frames, or a function that makes one from a label. A frame is a picture, a figure or a tensor
    of images, or a tuple of such and of strings: they stand one below the other, a string as a caption.

    The slider shows the label, and each picture's alt text is `alt` with the label added. `start` is the position
    shown first. 20 to 40 frames are a good number. In fast mode only five are made.

    Raises: ValueError if frames and labels differ in number, or there are fewer than two or more than 60.
    """
    frames, labels, start = _thinned(frames, list(labels), start)
    html_frames = _html_frames(frames, labels, checked_alt(alt), name)
    stack = widgets.Stack(html_frames, selected_index=start)
    slider = _slider(labels, name, start)
    widgets.jslink((slider, "index"), (stack, "selected_index"))
    return Explorer([slider, stack], checked_alt(alt), html_frames)


def explore2(
    choices: Mapping[str, Frames],
    labels: Sequence[object],
    alt: str,
    name: str = "",
    *,
    choice: str = "",
    start: int = 0,
) -> Explorer:
    """Buttons for the choices, and one slider for all of them: `explore2({"linear": f, "cosine": g}, times, ..., "t")`.

    Each choice has its frames, as in `explore`, and all share the slider's labels; `choice` names the buttons.

    Raises: ValueError as `explore` does, or if there are fewer than two choices.
    """
    if len(choices) < 2:
        raise ValueError(f"explore2 needs at least two choices, got {list(choices)}; with one, use explore")
    stacks, every, all_labels = [], [], list(labels)
    for key, frames in choices.items():
        frames, labels, first = _thinned(frames, all_labels, start)
        made = _html_frames(frames, labels, f"{checked_alt(alt)}, {key}", name)
        stacks.append(widgets.Stack(made, selected_index=first))
        every += made
    slider, buttons, outer = (
        _slider(labels, name, first),
        _buttons(choices, choice),
        widgets.Stack(stacks, selected_index=0),
    )
    for stack in stacks:
        widgets.jslink((slider, "index"), (stack, "selected_index"))
    widgets.jslink((buttons, "index"), (outer, "selected_index"))
    return Explorer([buttons, slider, outer], checked_alt(alt), every)


def typed(draw: Callable[[str], object], start: str, alt: str) -> Explorer:
    """A box to type into, and below it what `draw` makes of the text: `typed(ask, "a red star", "Nearest pictures")`.

    `draw` gives a frame, as in `explore`. If it raises ValueError, its message stands there instead. An empty box
    asks for words. It is for a running kernel: in the book only what `start` gave can be seen.
    """
    box = widgets.Text(start, layout=widgets.Layout(width="38em"), continuous_update=False)
    view = widgets.HTML(_dom_classes=[FRAME])

    def update(_=None) -> None:
        if not box.value.strip():
            view.value = "Type a few words, and press Enter."
            return
        view.value = "drawing ..."
        try:
            view.value = content(draw(box.value), f"{checked_alt(alt)}: {box.value}")
        except ValueError as error:
            view.value = html.escape(str(error))

    box.observe(update, "value")
    update()
    return Explorer([box, view], checked_alt(alt), [view])


def _thinned(frames: Frames, labels: list, start: int) -> tuple[Frames, list, int]:
    """Check the numbers; in fast mode keep five frames, the first and the last among them."""
    if not callable(frames) and len(frames) != len(labels):
        raise ValueError(f"one label for each frame: got {len(labels)} labels for {len(frames)} frames")
    if not 2 <= len(labels) <= _MOST_FRAMES:
        raise ValueError(
            f"a slider takes 2 to {_MOST_FRAMES} frames, got {len(labels)}: every frame is saved in the page"
        )
    if not 0 <= start < len(labels):
        raise ValueError(f"start must be in 0..{len(labels) - 1}, got {start}")
    if not fast() or len(labels) <= _FAST_FRAMES:
        return frames, labels, start
    kept = [round(i * (len(labels) - 1) / (_FAST_FRAMES - 1)) for i in range(_FAST_FRAMES)]
    thin = frames if callable(frames) else [frames[i] for i in kept]
    return thin, [labels[i] for i in kept], min(range(len(kept)), key=lambda i: abs(kept[i] - start))


def _html_frames(frames: Frames, labels: list, alt: str, name: str) -> list[widgets.HTML]:
    # One layout and one style for all: each would otherwise be saved with every frame.
    shared, out = {}, []
    for i, label in enumerate(labels):
        where = f"{name} = {label}" if name else str(label)
        frame = frames(label) if callable(frames) else frames[i]
        out.append(widgets.HTML(content(frame, f"{alt}, {where}"), _dom_classes=[FRAME], **shared))
        shared = {"layout": out[0].layout, "style": out[0].style}
    return out


def content(frame: object, alt: str) -> str:
    """A frame's HTML; the captions in a tuple go into the alt text of its first picture too."""
    if not isinstance(frame, tuple):
        if isinstance(frame, Table):
            return frame._repr_html_()
        picture = frame if isinstance(frame, Picture) else show(frame, alt)
        return picture.small(alt).html
    alts = [". ".join([alt, *(part for part in frame if isinstance(part, str))])]
    out = []
    for part in frame:
        if isinstance(part, str):
            out.append(f"<div>{html.escape(part)}</div>")
        else:
            out.append(content(part, alts.pop() if alts else getattr(part, "alt", alt)))
    return "".join(out)


def _slider(labels: list, name: str, start: int) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(
        options=[(str(label), i) for i, label in enumerate(labels)],
        index=start,
        description=name,
        continuous_update=True,
        layout=widgets.Layout(width="28em", max_width="100%"),
        style={"description_width": "initial"},
    )


def _buttons(choices: Mapping[str, object], name: str) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(
        options=list(choices), index=0, description=name, style={"button_width": "auto", "description_width": "initial"}
    )
