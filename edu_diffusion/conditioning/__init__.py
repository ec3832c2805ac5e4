"""What a network can be told besides x_t and t: conditioners that turn labels, text or pictures into a `Cond`."""

from edu_diffusion.conditioning.labels import Labels, drop
from edu_diffusion.conditioning.text import TextEncoder, Tokenizer, scene_tokenizer

__all__ = ["Labels", "TextEncoder", "Tokenizer", "drop", "scene_tokenizer"]
