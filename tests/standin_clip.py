"""A tiny world in place of scenes and CLIP, in which what fits a caption is known.

Four captions, each of which fits two image embeddings, in eight dimensions. The text embedding lies between the two, so
it is itself the embedding of nothing.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edu_diffusion.systems.clip import CLIP
from edu_diffusion.types import Batch

SIZE, LENGTH, TEXT, CAPTIONS = 8, 6, 4, 4
JITTER = 0.05


class StandIn(CLIP):
    """What the priors ask of CLIP, without its towers. `centres[c, v]` is the embedding of variant v of caption c."""

    def __init__(self, seed: int = 0):
        nn.Module.__init__(self)
        numbers = torch.Generator().manual_seed(seed)
        middle = F.normalize(torch.randn(CAPTIONS, SIZE, generator=numbers), dim=1)
        aside = torch.randn(CAPTIONS, SIZE, generator=numbers)
        aside = F.normalize(aside - (aside * middle).sum(1, keepdim=True) * middle, dim=1)
        # Both variants of every caption are equally far from its text embedding.
        self.register_buffer("centres", F.normalize(torch.stack([middle + aside, middle - aside], 1), dim=2))
        self.register_buffer("table", torch.randn(3 + CAPTIONS, TEXT, generator=numbers))

    def image_emb(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n size"]:
        """Unit vectors; the first eight pixels say which."""
        return F.normalize(x.flatten(1)[:, :SIZE], dim=1)

    def text_emb(self, tokens: Int64[Tensor, "n length"]) -> Float[Tensor, "n size"]:
        """Half way between the caption's two variants."""
        return F.normalize(self.centres[tokens[:, 1] - 3].mean(1), dim=1)

    def text_states(self, tokens: Int64[Tensor, "n length"]) -> Float[Tensor, "n length text"]:
        """A vector for each token."""
        return self.table[tokens]


def captions(c: Int64[Tensor, "n"]) -> Int64[Tensor, "n length"]:
    """Start, the caption's word, end, padding; odd captions have one word more, so that lengths differ."""
    rows = torch.zeros(len(c), LENGTH, dtype=torch.int64)
    rows[:, 0], rows[:, 1] = 1, 3 + c
    rows[:, 2] = torch.where(c % 2 == 1, 3 + c, 2)
    rows[:, 3] = torch.where(c % 2 == 1, 2, 0)
    return rows


def world(clip: StandIn, n: int, generator: Generator, share: float = 0.5) -> Batch:
    """n image embeddings and their captions; the share of variant 0 is given."""
    c = torch.arange(n) % CAPTIONS
    variant = (torch.rand(n, generator=generator) >= share).long()
    z = clip.centres[c, variant] + JITTER * torch.randn(n, SIZE, generator=generator)
    return Batch(F.normalize(z, dim=1), captions(c))


def variants(clip: StandIn, z: Float[Tensor, "n size"], tokens: Int64[Tensor, "n length"]) -> Int64[Tensor, "n"]:
    """Which variant of its caption an embedding is: 0 or 1, or -1 if it is near neither."""
    cosine = torch.einsum("nvd,nd->nv", clip.centres[tokens[:, 1] - 3], z)
    return torch.where(cosine.amax(1) > 0.9, cosine.argmax(1), -1)


def shaken(build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose answers depend on all it is given, as after a training."""
    torch.manual_seed(0)
    net = build()
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return net
