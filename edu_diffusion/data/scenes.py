"""Captioned scenes as a data set: pictures and captions drawn when they are asked for, and never stored.

Pictures, captions and the list of what is held out are the project's own making: nothing is taken from elsewhere.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from edu_diffusion.data.captions import caption, words
from edu_diffusion.data.drawing import AWAY, CANVAS, PAINT, RADIUS, REACH, render
from edu_diffusion.data.world import (
    COLOURS,
    GROUNDS,
    HELD_OUT,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    draws,
    is_held_out,
    scene_of,
    swapped,
)
from edu_diffusion.types import Batch

__all__ = [
    "COLOURS",
    "GROUNDS",
    "HELD_OUT",
    "PLACES",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "Scene",
    "Scenes",
    "Thing",
    "is_held_out",
    "render",
    "scene_of",
    "scenes_checksum",
    "swapped",
    "with_swapped",
]

Encode = Callable[[Sequence[str]], Int64[Tensor, "n length"]]
VERSION = 1  # to be raised when shapes are drawn otherwise, so that zoo cards tell


class Scenes:
    """`count` scenes as a data set for `Batches`: x are pictures in [-1, 1], y rows of token numbers.

    `encode` turns captions into numbers (a `Tokenizer`). Everything about scene number i follows from i, `seed` and
    `split` alone. `language` is "en", "zh", or "both": then half of the captions, by their number, are in each. `only`
    is 1 or 2: scenes of so many things and no others.

    Raises: ValueError for an unknown split or language, a size that does not divide 64, or less than one scene.
    """

    mirrors = False  # a picture mirrored is no longer what its caption says

    def __init__(
        self,
        encode: Encode,
        *,
        split: str = "train",
        size: int = CANVAS,
        count: int = 100_000,
        seed: int = 0,
        language: str = "both",
        only: int | None = None,
    ):
        if count < 1 or size < 1 or CANVAS % size or language not in ("en", "zh", "both"):
            raise ValueError(
                f"scenes need a count of at least 1, a size that divides {CANVAS}, and the language en, zh or both, "
                f"got {count}, {size}, {language!r}"
            )
        scene_of(0, seed, split, things=only)  # refuses another split, or another number of things
        self.encode, self.split, self.size, self.count = encode, split, size, count
        self.seed, self.language, self.only = seed, language, only

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Int64[Tensor, " b"]) -> Batch:
        scenes = self.scenes(index)
        return Batch(self.pictures(index, scenes), self.encode(self.captions(index, scenes)))

    def scenes(self, index: Int64[Tensor, " b"] | Sequence[int]) -> list[Scene]:
        """The scenes with these numbers.

        Raises: IndexError for a number that is not in 0..count - 1.
        """
        return [scene_of(i, self.seed, self.split, things=self.only) for i in self._numbers(index)]

    def captions(self, index: Int64[Tensor, " b"] | Sequence[int], scenes: Sequence[Scene] | None = None) -> list[str]:
        """Their captions; those of other scenes, if given, in the same wordings."""
        scenes = self.scenes(index) if scenes is None else scenes
        return [self._caption(scene, i) for scene, i in zip(scenes, self._numbers(index), strict=True)]

    def pictures(self, index: Int64[Tensor, " b"] | Sequence[int], scenes: Sequence[Scene] | None = None) -> Tensor:
        """Their pictures [b, 3, size, size]; those of other scenes, if given, with the same small shifts."""
        scenes = self.scenes(index) if scenes is None else scenes
        return render(scenes, self.size, index=self._numbers(index), seed=self.seed, split=self.split)

    def _caption(self, scene: Scene, i: int) -> str:
        u = draws("caption", self.seed, self.split, i)
        language = ("en" if u[0] < 0.5 else "zh") if self.language == "both" else self.language
        return caption(scene, int(u[1] * 2**31), language)

    def _numbers(self, index: Int64[Tensor, " b"] | Sequence[int]) -> list[int]:
        numbers = torch.as_tensor(index).tolist()
        if numbers and not 0 <= min(numbers) <= max(numbers) < self.count:
            raise IndexError(f"there are {self.count} scenes; got numbers from {min(numbers)} to {max(numbers)}")
        return numbers


def with_swapped(data: Scenes, share: float = 0.25) -> "WithSwapped":
    """The same data set, but in every batch some examples are others' swapped pairs. See `WithSwapped`."""
    return WithSwapped(data, share)


class WithSwapped:
    """The same data set, but in every batch some examples are others' swapped pairs: CLIP's hard negatives.

    A `share` of the batch, from its end, is replaced: by the pictures and captions of its first scenes of two things
    with the things exchanged. What both say of the things is true of both pictures, so only the relation tells them
    apart. Where a batch has too few scenes of two things, fewer are replaced.

    Raises: ValueError for a share that is not between 0 and 1/2.
    """

    mirrors = False

    def __init__(self, data: Scenes, share: float):
        if not 0 <= share <= 0.5:
            raise ValueError(f"the share of swapped scenes must be in 0..0.5, got {share}")
        self.data, self.share = data, share

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Int64[Tensor, " b"]) -> Batch:
        scenes = self.data.scenes(index)
        most = int(self.share * len(scenes))
        pairs = [k for k, scene in enumerate(scenes[: len(scenes) - most]) if scene.relation is not None][:most]
        keep = len(scenes) - len(pairs)
        numbers = torch.cat([index[:keep], index[pairs]])
        scenes = scenes[:keep] + [swapped(scenes[k]) for k in pairs]
        captions = self.data.captions(numbers, scenes)
        return Batch(self.data.pictures(numbers, scenes), self.data.encode(captions))


def scenes_checksum() -> str:
    """Twelve hexadecimal digits that name the scenes, their captions, the vocabulary and the paints, for zoo cards.

    How shapes are drawn is known by `VERSION` alone.
    """
    scenes = [scene_of(i) for i in range(256)]
    said = [caption(scene, i, language) for i, scene in enumerate(scenes) for language in ("en", "zh")]
    return hashlib.sha256(
        repr((VERSION, RADIUS, REACH, AWAY, PAINT.tolist(), scenes, said, words())).encode()
    ).hexdigest()[:12]
