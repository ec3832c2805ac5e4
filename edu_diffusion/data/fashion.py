"""Fashion-MNIST: 70,000 grey pictures of clothes, bundled with the package and read straight into tensors."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from edu_diffusion.types import Batch

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

FILES = Path(__file__).parent / "files" / "fashion"
_PREFIX = {"train": "train", "test": "t10k"}
_SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
_REPAIR = "Restore it with `git checkout -- edu_diffusion/data/files`, or install the package again."


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures with a class number each.

    `levels` holds the pixels as they are stored, 0..255, a quarter of the memory of floats. `x` is the same
    pictures as float32 in [-1, 1], made once when first asked for. Indexing with a tensor of numbers converts
    only the pictures it names, which is how training reads them.
    """

    levels: UInt8[Tensor, "n c h w"]
    y: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: Int64[Tensor, " b"] | slice) -> Batch:
        return Batch(to_unit_range(self.levels[index]), self.y[index])

    @cached_property
    def x(self) -> Float[Tensor, "n c h w"]:
        return to_unit_range(self.levels)


def to_unit_range(levels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixel levels 0..255 as float32 in [-1, 1]: 0 becomes -1 and 255 becomes 1."""
    return levels.float() / 127.5 - 1


@lru_cache(maxsize=2)
def fashion(split: str = "train") -> LabelledImages:
    """Fashion-MNIST: 60,000 pictures for "train", 10,000 for "test", each (1, 28, 28), in ten classes.

    The files come with the package; nothing is downloaded. They are checked against known sha256 sums, and the
    result is kept for the rest of the process, so treat its tensors as read-only.

    Raises: ValueError for another split, or a damaged file; FileNotFoundError if a file is missing.
    Source: Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
    """
    if split not in _PREFIX:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    levels = read_idx(_verified(f"{_PREFIX[split]}-images-idx3-ubyte.gz"))
    labels = read_idx(_verified(f"{_PREFIX[split]}-labels-idx1-ubyte.gz"))
    return LabelledImages(levels[:, None], labels.long())


def checksum() -> str:
    """Twelve hexadecimal digits that name the data's exact content; zoo cards carry it.

    Raises: FileNotFoundError or ValueError when a data file is missing or damaged.
    """
    for name in _SHA256:
        _verified(name)
    return hashlib.sha256("".join(_SHA256[name] for name in sorted(_SHA256)).encode()).hexdigest()[:12]


def read_idx(content: bytes) -> UInt8[Tensor, "..."]:
    """An idx file's bytes, unpacked from gzip, as a tensor.

    The format: two zero bytes, one for the element type (8 is unsigned byte), one for the number of dimensions,
    a big-endian 32-bit length for each dimension, then the elements.

    Raises: ValueError when the bytes are something else.
    """
    if content[:3] != b"\0\0\x08" or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise ValueError(
            f"expected an idx file of unsigned bytes, starting 00 00 08 and a whole header, got {len(content)} bytes "
            f"starting {content[:4].hex(' ') or '(nothing)'}"
        )
    header = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:header], dtype=">i4").tolist())
    elements = np.frombuffer(content, dtype=np.uint8, offset=header)
    if elements.size != np.prod(shape):
        raise ValueError(f"the idx header promises {shape}, {np.prod(shape)} bytes, but {elements.size} bytes follow")
    return torch.from_numpy(elements.reshape(shape).copy())


def _verified(name: str) -> bytes:
    """The unpacked content of a bundled file whose sha256 sum is right."""
    path = FILES / name
    if not path.is_file():
        raise FileNotFoundError(f"the Fashion-MNIST file {path} is missing. {_REPAIR}")
    packed = path.read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != _SHA256[name]:
        raise ValueError(
            f"the Fashion-MNIST file {path} is damaged: its sha256 sum begins {found[:12]}, "
            f"expected {_SHA256[name][:12]}. {_REPAIR}"
        )
    return gzip.decompress(packed)
