"""What the systems that are built on a frozen CLIP have in common: they ask it, and remember which one it was."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from edu_diffusion.systems.clip import check_same, fingerprint
from edu_diffusion.training import bare


@runtime_checkable
class Clip(Protocol):
    """What is asked of CLIP, which stays as it is. Embeddings have length 1; tokens that are 0 are padding."""

    def image_emb(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n size"]:
        """z_i of pictures in [-1, 1]."""

    def text_emb(self, tokens: Int64[Tensor, "n length"]) -> Float[Tensor, "n size"]:
        """z_t of captions."""

    def text_states(self, tokens: Int64[Tensor, "n length"]) -> Float[Tensor, "n length text"]:
        """What the text tower says of each token."""


def unsigned() -> Tensor:
    """The buffer `made_for` of a network that has not learned any CLIP's embeddings yet."""
    return torch.zeros(32, dtype=torch.uint8)


@dataclass(kw_only=True)
class OnClip:
    """A recipe whose network learns the embeddings of one CLIP.

    `clip` is trained already, or a function that reads it when it is first needed. It is not among the `modules`, so it
    is neither trained nor saved here. But its fingerprint is kept with the weights, in the network's buffer `made_for`:
    another CLIP's embeddings mean something else, and must not pass unseen.
    """

    clip: Clip | Callable[[], Clip]

    @cached_property
    def eyes(self) -> Clip:
        """The CLIP.

        Raises: ValueError if the network was trained with another.
        """
        clip = self.clip if isinstance(self.clip, Clip) else self.clip()
        if self.inner.made_for.any():
            check_same(clip, bytes(self.inner.made_for.tolist()).hex())
        return clip

    @property
    def inner(self) -> nn.Module:
        """The network itself."""
        return bare(self.modules["net"])

    @torch.no_grad()
    def sign(self) -> None:
        """Keep with the network whose embeddings it learns."""
        digest = list(bytes.fromhex(fingerprint(self.eyes)))
        self.inner.made_for.copy_(torch.tensor(digest, dtype=torch.uint8))
