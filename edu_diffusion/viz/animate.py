"""Moving pictures, through the same helper as still ones."""

import io
from collections.abc import Iterable
from numbers import Real

from PIL import Image

from edu_diffusion.mode import fast
from edu_diffusion.viz.picture import Picture, checked_alt, show

_FAST_FRAMES = 5


def animate(frames: Iterable, alt: str, *, fps: Real = 8, hold: Real = 1.5, loop: bool = True) -> Picture:
    """Frames one after the other as one picture, an animated WebP, which JupyterLab and the book both play.

    A frame is a `Picture`, a figure or a tensor of images; all need the same size. `hold` is how long, in seconds,
    the last frame stays; `loop=False` plays once. A reader cannot stop it: where they should, use `explore`.
    `alt` tells what happens from first frame to last. In fast mode only the first five frames are made.

    Raises: ValueError for fewer than two frames, frames of different sizes, or fps outside 0.2..50.
    """
    if not 0.2 <= fps <= 50:
        raise ValueError(f"fps must be in 0.2..50 frames a second, got {fps}")
    images, width = _images(frames, checked_alt(alt))
    millis = [round(1000 / fps)] * (len(images) - 1) + [round(1000 * max(hold, 1 / fps))]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=millis, loop=0 if loop else 1,
        lossless=True, quality=60, method=3,
    )  # fmt: skip
    return Picture(alt, width, data=buffer.getvalue(), kind="webp")


def _images(frames: Iterable, alt: str) -> tuple[list[Image.Image], int]:
    """The frames as images of few colours, and their common width on the page."""
    images, width = [], 0
    for frame in frames:
        picture = (frame if isinstance(frame, Picture) else show(frame, alt)).small()
        images.append(picture.image.convert("RGB"))
        width = picture.width
        if fast() and len(images) == _FAST_FRAMES:
            break
    sizes = {image.size for image in images}
    if len(images) < 2:
        raise ValueError(f"an animation needs at least two frames, got {len(images)}")
    if len(sizes) > 1:
        raise ValueError(f"all frames must have one size, got {sorted(sizes)} (width, height)")
    return images, width
