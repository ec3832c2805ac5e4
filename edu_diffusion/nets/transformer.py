"""A transformer: tokens look at each other, then each is thought over alone, block after block."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from edu_diffusion.nets.attention import attend, merge_heads, split_heads
from edu_diffusion.nets.layers import zeroed

Tokens = Float[Tensor, "b n width"]


class Past:
    """The keys and values of a block's earlier tokens, so that writing one more token does not look at them anew."""

    def __init__(self):
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values until now, these included."""
        if self.key is not None:
            key, value = torch.cat([self.key, key], -2), torch.cat([self.value, value], -2)
        self.key, self.value = key, value
        return key, value


class Block(nn.Module):
    """Attention and a small network, each beside a shortcut, each after a norm. Starts as the identity.

    Raises: ValueError if the width is not a whole number of heads.
    Source: Vaswani et al. 2017 (arXiv:1706.03762); the norm before each part: Xiong et al. 2020 (arXiv:2002.04745).
    """

    def __init__(self, width: int, head_width: int = 32, causal: bool = False, dropout: float = 0.0):
        super().__init__()
        if width % head_width:
            raise ValueError(f"width must be a multiple of head_width {head_width}, got {width}")
        self.heads, self.causal = width // head_width, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), zeroed(nn.Linear(4 * width, width)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tokens, mask: Bool[Tensor, "b keys"] | None = None, past: Past | None = None) -> Tokens:
        """One block. `mask` is True at the tokens that may be looked at; `past` holds those that came before x."""
        query, key, value = (split_heads(part, self.heads) for part in self.to_qkv(self.norm1(x)).chunk(3, dim=-1))
        if past is not None:
            key, value = past.extend(key, value)
        sizes = x.shape[1], key.shape[-2]
        # Every token may look at itself: one that sees nothing would become NaN, and NaN spreads in the next block.
        seen = None if mask is None else mask[:, None, None, :] | itself(*sizes).to(x.device)
        if self.causal and x.shape[1] > 1:
            before = earlier(*sizes).to(x.device)
            seen = before if seen is None else before & seen
        x = x + self.dropout(self.out(merge_heads(attend(query, key, value, seen))))
        return x + self.dropout(self.think(self.norm2(x)))


class Transformer(nn.Module):
    """`depth` blocks and a last norm. `causal`: each token sees itself and what came before it, never what comes after.

    It knows no places: add them to the tokens.
    """

    def __init__(self, width: int, depth: int, *, head_width: int = 32, causal: bool = False, dropout: float = 0.0):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, head_width, causal, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tokens, mask: Bool[Tensor, "b keys"] | None = None, past: list[Past] | None = None) -> Tokens:
        """The tokens, each having seen the others.

        With `past` (from `remember`) x are the tokens that follow those of the calls before.
        """
        for block, memory in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            x = block(x, mask, memory)
        return self.norm(x)

    def remember(self) -> list[Past]:
        """An empty past, to hand to `forward` while a sequence is written token by token."""
        return [Past() for _ in self.blocks]


def earlier(queries: int, keys: int) -> Bool[Tensor, "queries keys"]:
    """True where a key is not later than the query, if the queries are the last of the keys."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def itself(queries: int, keys: int) -> Bool[Tensor, "queries keys"]:
    """True where a key is the query's own, if the queries are the last of the keys."""
    return torch.eye(keys, dtype=torch.bool)[keys - queries :]


def learned_places(count: int, width: int) -> nn.Parameter:
    """A vector for each place of a sequence, to be learned; small, as the tokens' own numbers are."""
    return nn.Parameter(0.02 * torch.randn(1, count, width))
