"""Every picture carries alt text, closes its figure, and prints the same way in every run."""

import re

import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from edu_diffusion import viz
from edu_diffusion.viz.picture import encode


def line(**kwargs):
    fig, ax = viz.figure(**kwargs)
    ax.plot([0, 1], [0, 1])
    return fig


def test_a_picture_is_an_img_with_alt_text():
    picture = viz.show(line(width=5), 'A line rises from 0 to 1, "steadily".')
    assert re.fullmatch(
        r'<img alt="[^"]+" width="500" style="[^"]+" src="data:image/png;base64,[\w+/=]+">', picture.html
    )
    assert "&quot;steadily&quot;" in picture._repr_html_()
    assert repr(picture) == 'Picture: A line rises from 0 to 1, "steadily".'


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_no_picture_without_alt_text(alt):
    with pytest.raises(ValueError, match="needs alt text"):
        viz.show(line(), alt)


def test_the_figure_is_closed_and_no_plain_png_is_offered():
    plt.close("all")
    picture = viz.show(line(), "A line.")
    assert plt.get_fignums() == []
    assert not hasattr(picture, "_repr_png_")


def test_what_cannot_be_shown_is_named():
    with pytest.raises(TypeError, match="got list"):
        viz.show([1, 2], "numbers")


def test_a_tensor_of_images_becomes_a_grid():
    assert viz.show(torch.zeros(4, 1, 8, 8), "Four grey squares.").alt == "Four grey squares."


def test_a_frame_is_smaller_than_the_picture_and_as_wide():
    picture = viz.show(line(), "A line.")
    frame = picture.small("The same line.")
    assert (frame.width, frame.alt, frame.kind) == (picture.width, "The same line.", "webp")
    assert len(frame.data) < len(picture.data)
    assert frame.image.width == picture.width and picture.image.width == 2 * picture.width


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_few_colours_keep_black_and_white(tmp_path, kind):
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    path = tmp_path / f"ramp.{kind}"
    path.write_bytes(encode(ramp, 16, kind))
    values = sorted({pixel[0] for _, pixel in Image.open(path).convert("RGB").getcolors()})
    assert values == [17 * i for i in range(16)]


def test_a_picture_can_be_saved(tmp_path):
    picture = viz.show(line(width=4, height=2), "A line.")
    picture.save(tmp_path / "line.png")
    assert Image.open(tmp_path / "line.png").size == (800, 400)
