"""Exercises of lesson 19: how the decoder is told an embedding, what is left out, and what goes where in the chain."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(_normal(*shape, seed=seed), dim=-1)


def scaled(z):
    return z * z.shape[-1] ** 0.5


SCALED = Exercise(
    "unclip.scaled",
    "Write scaled(z): embeddings z of shape (b, d) and of length 1, as a network likes them: with numbers whose mean "
    "square is 1. One factor for all of them.",
    "The d squares of a vector of length 1 sum to 1. So what is their mean? The factor undoes the root of that.",
    scaled,
    [
        Mistake(
            "you multiplied by d. The mean *square* is 1/d, so the numbers are about 1/sqrt(d) in size: the factor is "
            "sqrt(d).",
            lambda z: z * z.shape[-1],
        ),
        Mistake(
            "you divided: the numbers, small already, became smaller still. Multiply by sqrt(d).",
            lambda z: z / z.shape[-1] ** 0.5,
        ),
        Mistake(
            "you left them at length 1. With 64 numbers each is then about 1/8 in size.",
            lambda z: z,
        ),
        Mistake(
            "you brought each vector to mean 0 and variance 1. That also takes its mean away, which said something. "
            "One factor for all is enough.",
            lambda z: (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True, unbiased=False),
        ),
        Mistake(
            "the factor is the root of the *batch* size. What a network is told of one picture must not depend on how "
            "many others there are.",
            lambda z: z * z.shape[0] ** 0.5,
        ),
    ],
    lambda: [(_unit(4, 9),), (_unit(2, 25, seed=1),)],
)


def tokens(z, weight, words):
    return torch.cat([(z @ weight.T).unflatten(1, (-1, words.shape[2])), words], 1)


def _dealt(z, weight, words):
    made = (z @ weight.T).unflatten(1, (words.shape[2], -1)).transpose(1, 2)
    return torch.cat([made, words], 1)


TOKENS = Exercise(
    "unclip.tokens",
    "Write tokens(z, weight, words): each embedding z of shape (b, d) as four tokens, put before the caption's tokens "
    "words of shape (b, n, w). weight, of shape (4 w, d), is a linear layer's: its first w rows make the first token.",
    "z @ weight.T has shape (b, 4 w). unflatten(1, (4, w)) cuts each row into four pieces; torch.cat along axis 1 "
    "joins them to the words.",
    tokens,
    [
        Mistake(
            "the pieces are dealt out like cards: each token has every fourth number. The first token is the first w "
            "numbers, in one piece.",
            _dealt,
        ),
        Mistake(
            "the embedding's tokens come after the caption's. Attention does not mind, but the mask must say the same, "
            "and the question puts them before.",
            lambda z, weight, words: tokens(z, weight, words).roll(words.shape[1], 1),
        ),
        Mistake(
            "only the embedding's tokens are there: the decoder can no longer read the caption.",
            lambda z, weight, words: tokens(z, weight, words)[:, : -words.shape[1]],
        ),
        Mistake(
            "you added the embedding to the words' tokens. Then a caption with other words moves it: it gets tokens of "
            "its own.",
            lambda z, weight, words: words + tokens(z, weight, words)[:, :1],
        ),
        Mistake(
            "all four tokens are the same: you used the first w rows of weight for each.",
            lambda z, weight, words: torch.cat([(z @ weight[: words.shape[2]].T)[:, None].expand(-1, 4, -1), words], 1),
        ),
    ],
    lambda: [(_normal(3, 5), _normal(8, 5, seed=1), _normal(3, 6, 2, seed=2))],
)


def left_out(z, words, null, coin_z, coin_words):
    seen = torch.where(coin_z[:, None] < 0.1, torch.zeros_like(z), z)
    return seen, torch.where(coin_words[:, None, None] < 0.5, null, words)


def _one_coin(z, words, null, coin_z, coin_words):
    return left_out(z, words, null, coin_z, coin_z)


def _batch_coin(z, words, null, coin_z, coin_words):
    return left_out(z, words, null, coin_z[:1].expand_as(coin_z), coin_words[:1].expand_as(coin_words))


def _swapped_shares(z, words, null, coin_z, coin_words):
    seen = torch.where(coin_z[:, None] < 0.5, torch.zeros_like(z), z)
    return seen, torch.where(coin_words[:, None, None] < 0.1, null, words)


def _kept(z, words, null, coin_z, coin_words):
    seen = torch.where(coin_z[:, None] < 0.1, z, torch.zeros_like(z))
    return seen, torch.where(coin_words[:, None, None] < 0.5, words, null)


def _silent(z, words, null, coin_z, coin_words):
    seen, _ = left_out(z, words, null, coin_z, coin_words)
    return seen, torch.where(coin_words[:, None, None] < 0.5, torch.zeros_like(words), words)


LEFT_OUT = Exercise(
    "unclip.left_out",
    "Write left_out(z, words, null, coin_z, coin_words): what the decoder is told in training. z (b, d) becomes zeros "
    "where coin_z (b,) is below 0.1; words (b, n, w) become null (1, n, w) where coin_words (b,) is below 0.5. Return "
    "both.",
    "Two coins an example, independent: torch.where(coin_z[:, None] < 0.1, ..., ...), and once more for words.",
    left_out,
    [
        Mistake(
            "one coin for both: whenever the embedding is left out, the caption is too. The decoder never learns to "
            "draw from a caption alone.",
            _one_coin,
        ),
        Mistake(
            "one coin for the whole batch (lesson 13). Each example has coins of its own.",
            _batch_coin,
        ),
        Mistake(
            "the shares are exchanged: it is the embedding that is left out for a tenth, and the caption for a half.",
            _swapped_shares,
        ),
        Mistake(
            "the other way round: you keep what should be left out.",
            _kept,
        ),
        Mistake(
            "you put zeros in place of the words. Nothing said, to a text encoder, is the null caption: start, end.",
            _silent,
        ),
    ],
    lambda: [
        (
            _unit(4, 3),
            _normal(4, 2, 2, seed=1),
            _normal(1, 2, 2, seed=2),
            torch.tensor([0.05, 0.3, 0.7, 0.05]),
            torch.tensor([0.9, 0.2, 0.8, 0.3]),
        ),
        (
            _unit(3, 3, seed=3),
            _normal(3, 2, 2, seed=4),
            _normal(1, 2, 2, seed=5),
            torch.tensor([0.5, 0.02, 0.3]),
            torch.tensor([0.7, 0.6, 0.05]),
        ),
    ],
)


def shrink(x, size):
    factor = x.shape[-1] // size
    return F.avg_pool2d(x, factor)


SHRINK = Exercise(
    "unclip.shrink",
    "Write shrink(x, size): pictures (b, 3, h, h) at a smaller size that divides h, every pixel the mean of a square "
    "of pixels. CLIP sees scenes so at 32, and the decoder learns them at 16.",
    "F.avg_pool2d(x, k) takes the mean over squares of k by k pixels. What is k?",
    shrink,
    [
        Mistake(
            "you took every k-th pixel and threw the others away. Thin strokes may then vanish, and edges jump: take "
            "means.",
            lambda x, size: x[..., :: x.shape[-1] // size, :: x.shape[-1] // size],
        ),
        Mistake(
            "you cut the picture's corner out. Smaller means all of it, with fewer pixels.",
            lambda x, size: x[..., :size, :size],
        ),
        Mistake(
            "straight lines between pixels (bilinear) look at four pixels for each new one, and pass the others by. "
            "Take the mean of the whole square.",
            lambda x, size: F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False),
        ),
        Mistake(
            "the largest of each square: bright things grow and dark ones vanish. Take the mean.",
            lambda x, size: F.max_pool2d(x, x.shape[-1] // size),
        ),
    ],
    lambda: [(_normal(2, 3, 24, 24), 6), (_normal(1, 3, 16, 16, seed=1), 4)],
)

EXERCISES: list[Exercise] = [SCALED, TOKENS, LEFT_OUT, SHRINK]
