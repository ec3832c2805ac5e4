"""Batches of images as one picture: a grid, or labelled rows to compare."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from edu_diffusion.viz.colours import CHINESE, NEUTRAL
from edu_diffusion.viz.picture import DENSITY, Picture

_GAP = 2  # page pixels between two images
_FONT = 12  # page pixels
_WIDEST = 750  # page pixels of a notebook's column


def grid(
    images: Float[Tensor, "..."],
    *,
    alt: str | None = None,
    columns: int | None = None,
    labels: Sequence[object] | None = None,
    scale: int | None = None,
    clip: bool = False,
) -> Picture:
    """Images (n, c, h, w) in [-1, 1], grey or colour, as one picture.

    Each pixel becomes `scale` by `scale` pixels of the page, by default so that an image is about 60 wide. `labels`
    are written under the images, one each. `clip=True` cuts values to [-1, 1] first, for noisy x_t.

    Raises: ValueError if the shape is not (n, 1 or 3, h, w), a value lies outside [-1, 1], or labels do not match.
    """
    pixels = to_pixels(images, clip=clip)
    n, h, w = pixels.shape[:3]
    columns = columns or min(n, 8 if n <= 64 else 16)
    if labels is not None and len(labels) != n:
        raise ValueError(f"one label for each image: got {len(labels)} labels for {n} images")
    rows = -(-n // columns)
    scale = scale or _fitting_scale(h, w, columns)
    alt = alt or f"{n} images of {h} by {w} pixels in {rows} rows of {columns}" + _listed(labels)
    return _draw(pixels, columns, scale, alt, under=labels)


def compare(
    rows: Mapping[str, Float[Tensor, "..."]],
    *,
    columns: Sequence[object] | None = None,
    alt: str | None = None,
    scale: int | None = None,
    clip: bool = False,
) -> Picture:
    """Rows of images one above the other, each with its label at the left; `columns` are written along the top.

    Every row has the same number of images in [-1, 1]; grey and colour may not be mixed. `clip` as in `grid`.
    Example: `compare({"x_t": x_t, "x0 predicted": x0}, columns=[f"t = {t}" for t in times], clip=True)`.

    Raises: ValueError for rows of unequal shape, a wrong number of column labels, or values outside [-1, 1].
    """
    if not rows:
        raise ValueError("compare needs at least one row of images, got none")
    shapes = {name: tuple(images.shape) for name, images in rows.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"the rows must have one shape, got {shapes}")
    stacked = np.concatenate([to_pixels(images, clip=clip, name=name) for name, images in rows.items()])
    n = len(stacked) // len(rows)
    if columns is not None and len(columns) != n:
        raise ValueError(f"one column label for each image of a row: got {len(columns)} labels for {n} images")
    alt = alt or f"Rows of {n} images: {', '.join(rows)}" + _listed(columns)
    scale = scale or _fitting_scale(*stacked.shape[1:3], n + 1)
    return _draw(stacked, n, scale, alt, left=list(rows), top=columns)


def to_pixels(
    images: Float[Tensor, "..."], *, clip: bool = False, name: str = "images"
) -> UInt8[np.ndarray, "n h w *c"]:
    """Images in [-1, 1] as bytes, (n, h, w) if grey and (n, h, w, 3) if colour.

    Raises: ValueError for another shape, NaN, or values outside [-1, 1] without `clip`.
    """
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"{name} must have shape (n, 1, h, w) or (n, 3, h, w), got {tuple(images.shape)}")
    images = images.detach().float().cpu()
    low, high = images.min().item(), images.max().item()
    if not np.isfinite(low + high):
        raise ValueError(f"{name} hold NaN or infinite values: look for where they first appear")
    if not clip and (low < -1.001 or high > 1.001):
        raise ValueError(
            f"{name} must lie in [-1, 1], got values from {low:.3g} to {high:.3g}. "
            "For noisy images x_t pass clip=True; bytes 0..255 become images by x / 127.5 - 1"
        )
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    return pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)


def _draw(pixels: np.ndarray, columns: int, scale: int, alt: str, under=None, left=(), top=None) -> Picture:
    """Place images row by row on white, with what labels there are, at `DENSITY` stored pixels for a page pixel."""
    n, h, w = pixels.shape[:3]
    zoom, gap, line = scale * DENSITY, _GAP * DENSITY, round(1.4 * _FONT * DENSITY)
    margin = max((_width_of(text) for text in left), default=0) + (4 * gap if left else 0)  # a gap before, three behind
    head, foot = (line if top is not None else 0), (line if under is not None else 0)
    step_x, step_y = w * zoom + gap, h * zoom + gap + foot
    size = (margin + columns * step_x - gap, head + -(-n // columns) * step_y - gap)
    canvas = Image.new("L" if pixels.ndim == 3 else "RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for i, image in enumerate(pixels):
        x, y = margin + (i % columns) * step_x, head + (i // columns) * step_y
        canvas.paste(Image.fromarray(image).resize((w * zoom, h * zoom), Image.Resampling.NEAREST), (x, y))
        if under is not None:
            _write(pen, x + w * zoom / 2, y + h * zoom + foot / 2, under[i], w * zoom)
    for i, text in enumerate(top or ()):
        _write(pen, margin + i * step_x + w * zoom / 2, head / 2, text, w * zoom)
    for i, text in enumerate(left):
        pen.text((margin - 3 * gap, head + i * step_y + h * zoom / 2), text, NEUTRAL, _font(text), anchor="rm")
    colours = 64 if canvas.mode == "L" else 256
    return Picture(alt, size[0] // DENSITY, image=canvas, colours=colours, few=128)


def _write(pen: ImageDraw.ImageDraw, x: float, y: float, text: object, room: int) -> None:
    """Text centred on (x, y), shrunk if it is wider than `room`."""
    shrink = min(1.0, room / max(_width_of(str(text)), 1))
    pen.text((x, y), str(text), NEUTRAL, _font(str(text), max(shrink, 0.6)), anchor="mm")


def _width_of(text: str) -> int:
    return round(_font(str(text)).getlength(str(text)))


def _font(text: str, shrink: float = 1.0) -> ImageFont.FreeTypeFont:
    """A font that has the text's signs."""
    return _sized(any(sign >= "\u2e80" for sign in text), shrink)


@cache
def _sized(chinese: bool, shrink: float) -> ImageFont.FreeTypeFont:
    path = CHINESE if chinese else Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, round(_FONT * DENSITY * shrink))


def _fitting_scale(h: int, w: int, columns: int) -> int:
    """Images of about 60 page pixels, fewer where a row would be wider than the page."""
    return max(1, min(round(60 / max(h, w)), (_WIDEST // columns - _GAP) // w))


def _listed(labels: Sequence[object] | None) -> str:
    """The first labels, for an alt text."""
    if labels is None:
        return ""
    return ": " + ", ".join(str(label) for label in labels[:10]) + (", ..." if len(labels) > 10 else "")
