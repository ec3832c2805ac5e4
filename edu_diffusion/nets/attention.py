"""Attention: over the pixels of a feature map, and from them to a condition's tokens."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.nets.layers import group_norm, zeroed

Queries = Float[Tensor, "b heads q d"]
Keys = Float[Tensor, "b heads n d"]


def attend(query: Queries, key: Keys, value: Keys, mask: Bool[Tensor, "*#pairs"] | None = None) -> Queries:
    """softmax(q k^T / sqrt(d)) v; `mask`, which broadcasts to (b, heads, q, n), is True where a query may look.

    Written out on the CPU, where its backward pass is faster for few tokens; the fused call elsewhere.

    Source: Vaswani et al. 2017 (arXiv:1706.03762), eq. 1.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def split_heads(x: Float[Tensor, "b n c"], heads: int) -> Float[Tensor, "b heads n d"]:
    """Each token's numbers, dealt out to the heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b n c"]:
    """What the heads of each token found, joined."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Every pixel looks at every pixel and, where the condition has tokens, at those too. Starts as the identity.

    Raises: ValueError if the width is not a whole number of heads.
    Source: DDPM (arXiv:2006.11239), appendix B; heads of fixed width and tokens joined to the keys as in
    GLIDE (arXiv:2112.10741), section 4.1.
    """

    def __init__(self, width: int, head_width: int = 32, token_width: int | None = None):
        super().__init__()
        if width % head_width:
            raise ValueError(f"width must be a multiple of head_width {head_width}, got {width}")
        self.heads = width // head_width
        self.norm = group_norm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.tokens_to_kv = None if token_width is None else nn.Linear(token_width, 2 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b n d"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """x plus what each pixel gathered."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        query, key, value = self.to_qkv(pixels).chunk(3, dim=-1)
        seen = None
        if self.tokens_to_kv is not None and tokens is not None:
            token_key, token_value = self.tokens_to_kv(tokens).chunk(2, dim=-1)
            key, value = torch.cat([key, token_key], 1), torch.cat([value, token_value], 1)
            if mask is not None:
                seen = torch.cat([mask.new_ones(pixels.shape[:2]), mask], 1)[:, None, None, :]
        gathered = attend(*(split_heads(part, self.heads) for part in (query, key, value)), seen)
        joined = self.out(merge_heads(gathered))
        return x + joined.transpose(1, 2).reshape(x.shape)
