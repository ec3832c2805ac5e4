"""The plot helpers: what they draw, and what they refuse."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from edu_diffusion import viz
from edu_diffusion.viz import colours, plots


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a helper hands to `show`, still open."""
    figures = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: figures.append(figure) or viz.show(figure, alt))
    return figures


def test_curves_have_labels_and_a_floor(drawn):
    picture = viz.curves(
        {"two": (torch.arange(3), torch.rand(3)), "one": np.ones(4)},
        "Two.",
        x=range(4),
        xlabel="t",
        ylabel="FD",
        floor=0.1,
    )
    ax = drawn[0].axes[0]
    assert picture.alt == "Two." and (ax.get_xlabel(), ax.get_ylabel()) == ("t", "FD")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["two", "one", "floor: real against real"]
    assert ax.lines[-1].get_color() == colours.FLOOR and set(ax.lines[-1].get_ydata()) == {0.1}


def test_a_sweep_has_its_ticks_where_it_was_measured(drawn):
    viz.curves({"fd": [9, 4, 1]}, "Falls.", x=[5, 20, 50], xlabel="steps", ylabel="FD", logx=True, markers=True)
    ax = drawn[0].axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["5", "20", "50"]
    assert len(ax.get_xticks(minor=True)) == 0


def test_a_curve_of_another_length_is_named():
    with pytest.raises(ValueError, match="'eps' has 3 values over 4"):
        viz.curves({"eps": [1, 2, 3]}, "No.", x=range(4), xlabel="t", ylabel="y")


def test_many_curves_get_a_ramp(drawn):
    viz.curves({str(i): [i, i] for i in range(8)}, "Eight.", xlabel="t", ylabel="y")
    assert [line.get_color() for line in drawn[0].axes[0].lines] == viz.ramp(8)


def test_clouds_share_square_limits(drawn):
    viz.scatter2d(
        {"data": torch.rand(9, 2), "noise": 3 * torch.ones(9, 2), "both": {"data": torch.rand(5, 2)}}, "Clouds."
    )
    for ax in drawn[0].axes:
        assert ax.get_xlim() + ax.get_ylim() == pytest.approx((-3.15, 3.15, -3.15, 3.15))
    assert [ax.lines[0].get_color() for ax in drawn[0].axes] == [colours.DATA, colours.NOISE, colours.DATA]


def test_clouds_are_two_dimensional():
    with pytest.raises(ValueError, match=r"\(n, 2\), got \(4, 3\)"):
        viz.scatter2d({"data": torch.zeros(4, 3)}, "No.")


def test_arrows_point_where_the_field_points(drawn):
    viz.vector_field({"score": lambda x: -x}, "Arrows point at 0.", limit=2, arrows=5)
    arrows = drawn[0].axes[0].collections[0]
    along = arrows.X.ravel() * arrows.U.ravel() + arrows.Y.ravel() * arrows.V.ravel()
    assert (along <= 0).all() and along.min() < 0
    assert np.hypot(arrows.U, arrows.V).max() == pytest.approx(1.0)  # one cell: 2 * 2 / (5 - 1)


def test_the_style_ends_with_its_block():
    before = plt.rcParams["axes.grid"]
    with colours.style():
        assert plt.rcParams["axes.grid"]
    assert plt.rcParams["axes.grid"] == before


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("name", ["DATA", "NOISE", "MODEL", "GUIDANCE", "NEUTRAL", "FLOOR"])
def test_colours_stand_out_from_the_ground(name):
    # WCAG asks 3 to 1 of graphics.
    assert 1.05 / (luminance(getattr(colours, name)) + 0.05) >= 3


def test_a_ramp_needs_a_colour():
    with pytest.raises(ValueError, match="n = 0"):
        viz.ramp(0)


def frames(n):
    return (viz.grid(torch.full((2, 1, 8, 8), -1 + 2 * i / n)) for i in range(n))


def test_an_animation_moves_and_holds_its_last_frame():
    picture = viz.animate(frames(4), "Two squares grow lighter.", fps=10, hold=2)
    image = picture.image
    assert (picture.kind, image.n_frames) == ("webp", 4)
    shades, times = [], []
    for i in range(4):
        image.seek(i)
        image.load()
        shades.append(image.convert("L").getpixel((0, 0)))
        times.append(image.info["duration"])
    assert shades == sorted(set(shades)) and times == [100, 100, 100, 2000]


def test_an_animation_needs_frames_of_one_size():
    with pytest.raises(ValueError, match="at least two"):
        viz.animate(frames(1), "Still.")
    with pytest.raises(ValueError, match="one size"):
        viz.animate([Image.new("L", (4, 4)), Image.new("L", (5, 4))], "Two.")
    with pytest.raises(ValueError, match="fps"):
        viz.animate(frames(3), "Fast.", fps=1000)


def test_fast_mode_draws_only_the_first_frames(monkeypatch):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", "1")
    made = []
    viz.animate((made.append(i) or frame for i, frame in enumerate(frames(50))), "Long.")
    assert len(made) == 5
