"""What a network can be told besides x_t and t: conditioners that turn labels, text or pictures into a `Cond`."""

from edu_diffusion.conditioning.labels import Labels, drop
from edu_diffusion.conditioning.lowres import LowRes
from edu_diffusion.conditioning.masks import box, random_boxes, with_hole
from edu_diffusion.conditioning.text import TextEncoder, Tokenizer, scene_tokenizer

__all__ = [
    "Labels",
    "LowRes",
    "TextEncoder",
    "Tokenizer",
    "box",
    "drop",
    "random_boxes",
    "scene_tokenizer",
    "with_hole",
]
