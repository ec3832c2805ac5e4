"""Grids put the right pixel in the right place, and refuse what is no image."""

import numpy as np
import pytest
import torch

from edu_diffusion import viz
from edu_diffusion.viz.grids import to_pixels


def test_values_become_bytes():
    x = torch.tensor([-1.0, 0.0, 1.0, 0.5]).reshape(1, 1, 2, 2)
    assert to_pixels(x).tolist() == [[[0, 128], [255, 191]]]


def test_each_image_lands_in_its_cell():
    x = torch.full((5, 1, 4, 4), -1.0)
    x[3] = 1.0
    picture = viz.grid(x, columns=3, scale=2)
    pixels = np.asarray(picture.image)
    # Cells of 8 page pixels and gaps of 2, everything stored twice as fine; the sixth cell is empty, white.
    assert picture.width == 3 * 8 + 2 * 2 and pixels.shape == (36, 56)
    centres = pixels[8::20, 8::20]
    assert centres.tolist() == [[0, 0, 0], [255, 0, 255]]


def test_colour_stays_colour():
    red = torch.full((1, 3, 4, 4), -1.0)
    red[:, 0] = 1.0
    assert np.asarray(viz.grid(red).image)[0, 0].tolist() == [255, 0, 0]


def test_noisy_images_need_clip():
    x_t = torch.full((2, 1, 4, 4), 2.5)
    with pytest.raises(ValueError, match=r"from 2\.5 to 2\.5.*clip=True"):
        viz.grid(x_t)
    assert np.asarray(viz.grid(x_t, clip=True).image).min() == 255


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 4, 4), (0, 1, 4, 4), (1, 4, 4, 1)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="must have shape"):
        viz.grid(torch.zeros(shape))


def test_nan_is_refused_even_when_clipped():
    with pytest.raises(ValueError, match="NaN"):
        viz.grid(torch.full((1, 1, 2, 2), float("nan")), clip=True)


def test_labels_must_match():
    x = torch.zeros(3, 1, 4, 4)
    with pytest.raises(ValueError, match="2 labels for 3 images"):
        viz.grid(x, labels=["a", "b"])
    with pytest.raises(ValueError, match="2 labels for 3 images"):
        viz.compare({"x0": x}, columns=["a", "b"])


def test_labels_are_written_and_told_in_the_alt_text():
    x = torch.full((3, 1, 28, 28), -1.0)
    plain, labelled = viz.grid(x), viz.grid(x, labels=["boot", "bag", "shirt"])
    assert labelled.image.height > plain.image.height
    assert "boot, bag, shirt" in labelled.alt


def test_rows_to_compare():
    x = torch.full((4, 1, 8, 8), -1.0)
    picture = viz.compare({"x_t": x, "x0": -x}, columns=[1, 2, 3, 4], scale=2)
    assert picture.alt == "Rows of 4 images: x_t, x0: 1, 2, 3, 4"
    bottom = np.asarray(picture.image)[-10]
    assert (bottom[-32:] == 255).all(), "the second row is white"
    with pytest.raises(ValueError, match="one shape"):
        viz.compare({"x_t": x, "x0": x[:2]})
    with pytest.raises(ValueError, match="at least one row"):
        viz.compare({})


def test_a_wide_grid_fits_the_page():
    assert viz.grid(torch.zeros(64, 1, 28, 28), columns=32).width <= 960
    assert viz.grid(torch.zeros(8, 3, 64, 64)).width <= 750


def test_chinese_labels_have_signs_for_every_word_of_the_captions():
    from PIL import ImageFont

    from edu_diffusion.data.captions import words
    from edu_diffusion.data.moving import motion_words
    from edu_diffusion.viz.colours import CHINESE

    font = ImageFont.truetype(CHINESE, 30)
    missing = bytes(font.getmask("\ue000"))
    signs = {sign for word in (*words("zh"), *motion_words()) for sign in word if not sign.isspace()}
    assert len(signs) > 50 and not [sign for sign in signs if bytes(font.getmask(sign)) == missing]
    red, green = (np.asarray(viz.grid(torch.zeros(1, 1, 8, 8), labels=[word], alt="x").image) for word in ("红", "绿"))
    assert not np.array_equal(red, green)


def test_figures_have_them_too(recwarn):
    fig, ax = viz.figure()
    ax.set_title("a red star: 红色的星星")
    viz.show(fig, "A title in two languages")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
