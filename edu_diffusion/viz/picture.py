"""The one helper through which every picture of the course goes: an `<img>` that carries its alt text.

JupyterLab drops the alt text of `image/png` outputs, so a picture is an HTML output that holds the PNG itself.
"""

import base64
import html
import io
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

DENSITY = 2  # stored pixels for one pixel of the page, so that text is sharp on fine screens
_INCH = 100  # page pixels
_FEW_GREYS = 16


class Picture:
    """A picture with alt text: displays as `<img src="data:..." alt="...">`, prints as its alt text.

    `width` is in page pixels; `kind` is the file type, "png" or "webp". Made from `image`, reduced to at most `colours`
    colours (a `small` copy to `few`), or from `data`, the bytes of a finished file.
    """

    def __init__(
        self,
        alt: str,
        width: int,
        *,
        image: Image.Image | None = None,
        data: bytes | None = None,
        kind: str = "png",
        colours: int = 64,
        few: int = 32,
    ):
        self.alt, self.width, self.kind = checked_alt(alt), width, kind
        self._image, self._data, self._colours, self._few = image, data, colours, few

    @property
    def data(self) -> bytes:
        """The bytes of the image file; encoded when first asked for."""
        if self._data is None:
            self._data = encode(self._image, self._colours, self.kind)
        return self._data

    @property
    def image(self) -> Image.Image:
        """The picture as an image, where it is known before it was reduced to few colours."""
        return self._image if self._image is not None else Image.open(io.BytesIO(self.data))

    @property
    def html(self) -> str:
        source = f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"
        return (
            f'<img alt="{html.escape(self.alt)}" width="{self.width}" '
            f'style="max-width:100%;height:auto;background:#fff;border-radius:3px" src="{source}">'
        )

    def small(self, alt: str | None = None) -> "Picture":
        """The same picture as a frame of about 8 kB: one stored pixel for a page pixel, few colours, WebP."""
        image = self.image
        if image.width > self.width:
            size = (self.width, round(image.height * self.width / image.width))
            image = image.resize(size, Image.Resampling.BOX)
        colours = min(self._few, _FEW_GREYS) if image.mode == "L" else self._few
        return Picture(alt or self.alt, self.width, data=encode(image, colours, "webp"), kind="webp", few=self._few)

    def renamed(self, alt: str, width: int | None = None) -> "Picture":
        """The same picture with another alt text, or shown at another width."""
        copy = Picture(alt, width or self.width, kind=self.kind, colours=self._colours, few=self._few)
        copy._image, copy._data = self._image, self._data
        return copy

    def save(self, path: str | Path) -> None:
        """Write the picture's bytes to a file."""
        Path(path).write_bytes(self.data)

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


def show(thing, alt: str, width: int | None = None, *, colours: int = 64) -> Picture:
    """A matplotlib figure, a PIL image, or a tensor of images as a `Picture`; make it the last line of a cell.

    `alt` says in words what a reader would see, with what it means: "Loss falls from 1 to 0.05 in 200 steps" and not
    "loss plot". `width` is in page pixels, by default the figure's own. A figure is closed afterwards.

    Raises: ValueError for an empty alt text or a tensor outside [-1, 1]; TypeError for anything else.
    """
    checked_alt(alt)
    if isinstance(thing, Picture):
        return thing.renamed(alt, width)
    if isinstance(thing, Figure):
        image = rasterise(thing)
        return Picture(alt, width or image.width // DENSITY, image=image, colours=colours)
    if isinstance(thing, Image.Image):
        return Picture(alt, width or thing.width, image=thing, colours=colours)
    if isinstance(thing, Tensor):
        from edu_diffusion.viz.grids import grid  # grids build on this module

        return grid(thing, alt=alt).renamed(alt, width)
    raise TypeError(f"show takes a matplotlib figure, a PIL image or a tensor of images, got {type(thing).__name__}")


def rasterise(figure: Figure) -> Image.Image:
    """The figure as an image, `DENSITY` stored pixels for a page pixel; the figure is closed."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_INCH * DENSITY)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return Image.fromarray(pixels)


def encode(image: Image.Image, colours: int = 64, kind: str = "png") -> bytes:
    """PNG or lossless WebP bytes with at most `colours` colours, far smaller than the same picture in full colour."""
    if image.mode == "L":
        image = _grey_palette(image, colours)
    elif image.mode != "P":
        image = image.convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    if kind == "png":
        image.save(buffer, "PNG", optimize=True)
    else:
        image.convert("RGB").save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def _grey_palette(image: Image.Image, colours: int) -> Image.Image:
    """Evenly spaced greys, black and white among them, as a palette image."""
    levels = np.rint(np.asarray(image, dtype=np.float32) / 255 * (colours - 1)).astype(np.uint8)
    out = Image.fromarray(levels)
    out.putpalette([round(255 * i / (colours - 1)) for i in range(colours) for _ in range(3)])
    return out


def checked_alt(alt: object) -> str:
    """`alt` itself, or a ValueError that says what to write."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"a picture needs alt text: a sentence that says what it shows. Got alt = {alt!r}")
    return " ".join(alt.split())
