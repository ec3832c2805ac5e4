"""Explorers: every frame has alt text, and the browser alone links slider and frames."""

import re

import ipywidgets as widgets
import pytest
import torch

from edu_diffusion import viz
from edu_diffusion.diffusion import Denoiser, ancestral, cosine, linear, sample
from edu_diffusion.viz.explore import FRAME


@pytest.fixture(autouse=True)
def full_mode(monkeypatch):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", "0")


@pytest.fixture
def links(monkeypatch):
    """The pairs that `jslink` was asked to link."""
    made = []
    monkeypatch.setattr(widgets, "jslink", lambda source, target: made.append((source, target)))
    return made


def draw(t: int):
    return viz.grid(torch.full((2, 1, 8, 8), t / 100))


def alts(explorer) -> list[str]:
    return [re.search(r'<img alt="([^"]+)"', frame.value).group(1) for frame in explorer.frames]


def test_a_slider_over_frames(links):
    explorer = viz.explore(draw, range(0, 101, 10), "Two squares", "t", start=3)
    slider, stack = explorer.children[:2]
    assert links == [((slider, "index"), (stack, "selected_index"))]
    assert slider.description == "t" and slider.options[10] == ("100", 10)
    assert slider.index == stack.selected_index == 3
    assert alts(explorer) == [f"Two squares, t = {t}" for t in range(0, 101, 10)]
    assert len({frame.value for frame in explorer.frames}) == len(stack.children) == 11
    assert all(FRAME in frame._dom_classes for frame in explorer.frames)


def test_it_prints_the_same_in_every_run():
    explorer = viz.explore(draw, [0, 50], "Two squares", "t")
    assert explorer._repr_mimebundle_()["text/plain"] == "Explorer: Two squares"


def test_fast_mode_keeps_five_frames_and_both_ends(monkeypatch):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", "1")
    made = []
    explorer = viz.explore(lambda t: made.append(t) or draw(t), range(0, 41), "Two squares", start=20)
    assert made == [0, 10, 20, 30, 40]
    assert explorer.children[0].index == 2


def test_a_frame_may_have_several_parts():
    explorer = viz.explore(lambda t: (draw(t), "a < b", draw(t)), [0, 1], "Squares", "t")
    value = explorer.frames[0].value
    assert value.count("<img alt=") == 2 and "<div>a &lt; b</div>" in value
    assert alts(explorer)[1] == "Squares, t = 1. a &lt; b"


def test_frames_may_come_as_a_list():
    assert len(viz.explore([draw(0), torch.zeros(1, 1, 4, 4)], ["a", "b"], "Squares").frames) == 2


def test_bad_explorers_say_why():
    with pytest.raises(ValueError, match="3 labels for 2 frames"):
        viz.explore([draw(0), draw(1)], [1, 2, 3], "Squares")
    with pytest.raises(ValueError, match="2 to 60"):
        viz.explore(draw, range(1000), "Squares")
    with pytest.raises(ValueError, match="start must be"):
        viz.explore(draw, [1, 2], "Squares", start=2)
    with pytest.raises(ValueError, match="alt text"):
        viz.explore(draw, [1, 2], "")
    with pytest.raises(ValueError, match="at least two choices"):
        viz.explore2({"one": draw}, [1, 2], "Squares")


def test_two_knobs(links):
    explorer = viz.explore2({"a": draw, "b": draw}, [0, 1, 2], "Squares", "t", choice="schedule")
    buttons, slider, outer = explorer.children[:3]
    inner = list(outer.children)
    assert links == [((slider, "index"), (stack, "selected_index")) for stack in inner] + [
        ((buttons, "index"), (outer, "selected_index"))
    ]
    assert [len(stack.children) for stack in inner] == [3, 3]
    assert alts(explorer)[4] == "Squares, b, t = 1"


def test_the_schedule_explorer_tells_the_schedule():
    explorer = viz.schedule_explorer(
        torch.zeros(2, 1, 8, 8), {"long": linear(), "short": cosine(20)}, percents=(0, 50, 100)
    )
    values = [frame.value for frame in explorer.frames]
    assert len(values) == 6 and all(value.count("<img alt=") == 2 for value in values)
    assert "t = 0 of 1000: alpha_bar = 1, signal-to-noise ratio = infinite" in values[0]
    assert f"t = 10 of 20: alpha_bar = {cosine(20).alpha_bar[10]:.2g}" in values[4]


def test_the_marker_moves():
    explorer = viz.schedule_explorer(torch.zeros(1, 1, 8, 8), {"a": linear(), "b": cosine()}, percents=(10, 11))
    curves = [re.search(r'base64,([^"]+)"', frame.value).group(1) for frame in explorer.frames]
    assert len(set(curves)) == 4


def test_the_lab_redraws_when_a_knob_moves():
    lab = viz.schedule_lab(torch.zeros(1, 1, 8, 8))
    kind, T, beta_end, offset, percent = lab.children[:5]
    seen = [lab.frames[0].value]
    for knob, value in ((percent, 50), (T, 100), (beta_end, 0.1), (kind, "cosine"), (offset, 0.1)):
        knob.value = value
        seen.append(lab.frames[0].value)
    assert len(set(seen)) == 6
    assert "t = 50 of 100" in seen[-1] and "cosine, T = 100, offset = 0.1" in seen[-1]


def exact(schedule):
    """The denoiser of data that is standard normal: E[x0 | x_t] = signal x_t."""

    def net(x_t, t, cond):
        time = int(t[0])
        return schedule.noise(time, x_t) * x_t

    return Denoiser(net, schedule)


def test_scrubbing_through_a_sampler():
    steps = sample(
        exact(linear()), (3, 1, 8, 8), steps=50, rule=ancestral(), generator=torch.Generator().manual_seed(0)
    )
    explorer = viz.reverse_scrubber(steps, frames=11)
    assert len(explorer.frames) == 11
    assert [explorer.children[0].options[i][0] for i in (0, -1)] == ["980", "0"]
    with pytest.raises(ValueError, match="at least two steps"):
        viz.reverse_scrubber([])


def test_predicting_x0_from_x_t():
    explorer = viz.x0_viewer(exact(linear()), torch.zeros(2, 1, 8, 8), [1, 500, 1000])
    assert len(explorer.frames) == 3 and "signal 1.00, noise 0.01" in explorer.frames[0].value
    errors = [float(re.search(r"error ([\d.]+)</div>", frame.value).group(1)) for frame in explorer.frames]
    assert errors[0] < errors[1]


class TestTyped:
    def test_what_is_typed_is_drawn(self):
        seen = viz.typed(lambda text: (torch.zeros(1, 1, 4, 4), f"you said {text}"), "one", "What was said")
        box, view = seen.children[:2]
        assert "you said one" in view.value and repr(seen) == "Explorer: What was said"
        box.value = "two"
        assert "you said two" in view.value and seen.frames == [view]

    def test_an_empty_box_asks_for_words(self):
        box, view = viz.typed(lambda text: torch.zeros(1, 1, 4, 4), "one", "What was said").children[:2]
        box.value = " "
        assert view.value == "Type a few words, and press Enter."

    def test_what_cannot_be_read_is_said(self):
        def refuse(text):
            if text == "<b>":
                raise ValueError("unknown: <b>")
            return torch.zeros(1, 1, 4, 4)

        box, view = (seen := viz.typed(refuse, "fine", "What was said")).children[:2]
        box.value = "<b>"
        assert view.value == "unknown: &lt;b&gt;" and seen.frames == [view]
