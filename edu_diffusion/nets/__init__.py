"""Networks and their parts. They know no diffusion: a network sees tensors, times and a condition."""

from edu_diffusion.nets.attention import Attention, attend
from edu_diffusion.nets.codebook import Codebook, perplexity, straight_through
from edu_diffusion.nets.conv import ConvDecoder, ConvEncoder, Residual
from edu_diffusion.nets.encoder import Encoder
from edu_diffusion.nets.layers import (
    Down,
    ResBlock,
    ResizeBlock,
    TimeEmbedding,
    Up,
    group_norm,
    sinusoid,
    zeroed,
)
from edu_diffusion.nets.mlp import MLP
from edu_diffusion.nets.transformer import Transformer, learned_places
from edu_diffusion.nets.unet import UNet
from edu_diffusion.nets.vit import ViT, patchify, unpatchify

__all__ = [
    "MLP",
    "Attention",
    "Codebook",
    "ConvDecoder",
    "ConvEncoder",
    "Down",
    "Encoder",
    "ResBlock",
    "Residual",
    "ResizeBlock",
    "TimeEmbedding",
    "Transformer",
    "UNet",
    "Up",
    "ViT",
    "attend",
    "group_norm",
    "learned_places",
    "patchify",
    "perplexity",
    "sinusoid",
    "straight_through",
    "unpatchify",
    "zeroed",
]
