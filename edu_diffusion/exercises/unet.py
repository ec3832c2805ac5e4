"""Exercises of lesson 08: attention, the time embedding, scale and shift, how far a network sees, skips, folding."""

import math

import torch
from torch import Tensor

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attend(query, key, value):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return scores.softmax(-1) @ value


def _scores(query, key):
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


ATTEND = Exercise(
    "unet.attend",
    "Write attend(query, key, value), each of shape (batch, heads, places, d): softmax(q k^T / sqrt(d)) v, where each "
    "place's weights over all places sum to 1.",
    "key.transpose(-2, -1) swaps the last two axes, so that query @ it has a row for each place that asks and a column "
    "for each that answers. The weights of one row must sum to 1.",
    attend,
    [
        Mistake(
            "your softmax runs over the places that ask (axis -2). Each row of scores belongs to one place that asks, "
            "and its weights over all answers must sum to 1: axis -1.",
            lambda query, key, value: _scores(query, key).softmax(-2) @ value,
        ),
        Mistake(
            "the scores are not divided by sqrt(d). They grow with d, and then softmax puts nearly all weight on one "
            "place.",
            lambda query, key, value: (query @ key.transpose(-2, -1)).softmax(-1) @ value,
        ),
        Mistake(
            "you divide by d. A sum of d products spreads like the square root of d: divide by sqrt(d).",
            lambda query, key, value: (query @ key.transpose(-2, -1) / query.shape[-1]).softmax(-1) @ value,
        ),
        Mistake(
            "your sqrt(d) takes the number of places for d. d is the length of one query: the last axis.",
            lambda query, key, value: (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-2])).softmax(-1) @ value,
        ),
        Mistake(
            "query and key are swapped: each place would be asked with its key.",
            lambda query, key, value: _scores(key, query).softmax(-1) @ value,
        ),
        Mistake(
            "the softmax is missing: your weights may be negative and do not sum to 1.",
            lambda query, key, value: _scores(query, key) @ value,
        ),
        Mistake(
            "your softmax runs over the heads. Heads do not mix: the weights are over places, axis -1.",
            lambda query, key, value: _scores(query, key).softmax(1) @ value,
        ),
    ],
    lambda: [(_normal(2, 3, 5, 4), _normal(2, 3, 5, 4, seed=1), _normal(2, 3, 5, 4, seed=2))],
)


def sinusoid(t, width):
    omega = 10_000 ** (-torch.arange(width // 2) / (width // 2))
    angles = t[:, None] * omega
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _sines_first(t, width):
    cosines, sines = sinusoid(t, width).chunk(2, dim=1)
    return torch.cat([sines, cosines], dim=1)


def _interleaved(t, width):
    cosines, sines = sinusoid(t, width).chunk(2, dim=1)
    return torch.stack([cosines, sines], dim=2).flatten(1)


def _growing(t, width):
    angles = t[:, None] * 10_000 ** (torch.arange(width // 2) / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _sines_interleaved(t, width):
    cosines, sines = sinusoid(t, width).chunk(2, dim=1)
    return torch.stack([sines, cosines], dim=2).flatten(1)


def _denominator(wrong):
    """The solution with another number in the place of width / 2 below the exponent."""

    def embed(t, width):
        angles = t[:, None] * 10_000 ** (-torch.arange(width // 2) / wrong(width))
        return torch.cat([angles.cos(), angles.sin()], dim=1)

    return embed


def _whole_turns(t, width):
    angles = math.tau * t[:, None] * 10_000 ** (-torch.arange(width // 2) / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


SINUSOID = Exercise(
    "unet.sinusoid",
    "Write sinusoid(t, width): for times t of shape (b,), the cosines and then the sines of t omega_i, with "
    "omega_i = 10000^(-i / (width / 2)), i = 0 .. width / 2 - 1. Shape (b, width).",
    "Make a row of width / 2 frequencies; t[:, None] times it gives all angles; torch.cat the cosines and sines.",
    sinusoid,
    [
        Mistake(
            "your times are t / T. Every angle is then between 0 and 1 and all times look alike: embed t itself, "
            "1..1000.",
            lambda t, width: sinusoid(t / 1000, width),
        ),
        Mistake("the cosines come first here, then the sines.", _sines_first),
        Mistake(
            "you interleaved cosines and sines. That works as well as this, but a trained network expects the order "
            "it was trained with: all cosines, then all sines.",
            _interleaved,
        ),
        Mistake(
            "sines first, and interleaved, as in Vaswani and others. That works as well, but here all cosines come "
            "first, then all sines.",
            _sines_interleaved,
        ),
        Mistake(
            "you divided i by the whole width. There are width / 2 frequencies: with the whole width below, they stop "
            "at about 1/100, and even the slowest clock goes round more than once in 1000 steps.",
            _denominator(lambda width: width),
        ),
        Mistake(
            "you divided i by width / 2 - 1, as DDPM's own code does, so that the last frequency is 1/10000 exactly. "
            "Here it is width / 2: a network needs the frequencies it was trained with.",
            _denominator(lambda width: width / 2 - 1),
        ),
        Mistake("your frequencies grow with i; they should fall, from 1 down: the exponent is negative.", _growing),
        Mistake("you measured in turns, with a factor 2 pi. The angles are t omega_i, in radians.", _whole_turns),
    ],
    lambda: [(torch.tensor([1.0, 2.0, 10.0, 37.0]), 8), (torch.tensor([3.0, 5.0]), 6)],
    tolerance=1e-3,
)


def film(h, film):
    scale, shift = film[:, :, None, None].chunk(2, dim=1)
    return (1 + scale) * h + shift


def _halves(film):
    return film[:, :, None, None].chunk(2, dim=1)


def _shift_first(h, film):
    scale, shift = _halves(film)
    return (1 + scale) * (h + shift)


def _swapped(h, film):
    shift, scale = _halves(film)
    return (1 + scale) * h + shift


def _bare_scale(h, film):
    scale, shift = _halves(film)
    return scale * h + shift


FILM = Exercise(
    "unet.film",
    "Write film(h, film): scale and shift h of shape (b, c, h, w) by film of shape (b, 2c), whose first half is the "
    "scale: (1 + scale) h + shift.",
    "Give film two axes of length 1 at the end, so that it broadcasts over height and width, and split it with chunk.",
    film,
    [
        Mistake(
            "the 1 + is missing: you multiply by the scale alone. The layer that makes it starts at zero, so your "
            "block would start by wiping out its input.",
            _bare_scale,
        ),
        Mistake("you shift before you scale. Scale first, then add the shift.", _shift_first),
        Mistake("scale and shift are swapped: the first half is the scale.", _swapped),
        Mistake(
            "brackets: you added 1 to the product, 1 + scale * h. The 1 belongs to the scale: (1 + scale) * h.",
            lambda h, film: 1 + _halves(film)[0] * h + _halves(film)[1],
        ),
        Mistake(
            "you took every other channel of film. Scale and shift are its first and second half.",
            lambda h, film: (1 + film[:, 0::2, None, None]) * h + film[:, 1::2, None, None],
        ),
        Mistake("the shift is missing.", lambda h, film: (1 + _halves(film)[0]) * h),
    ],
    lambda: [(_normal(2, 3, 4, 4), _normal(2, 6, seed=1))],
)


def receptive_field(kernels, strides):
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field


def _own_stride_too(kernels, strides):
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        step *= stride
        field += (kernel - 1) * step
    return field


def _strides(kernels, strides, of):
    """1 plus every kernel - 1 times `of(strides, layer)`."""
    return 1 + sum((kernel - 1) * of(strides, layer) for layer, kernel in enumerate(kernels))


RECEPTIVE_FIELD = Exercise(
    "unet.receptive_field",
    "Write receptive_field(kernels, strides): how many input pixels, along one side, can reach one output pixel of a "
    "stack of convolutions, given from first to last.",
    "Start at 1. A layer adds kernel - 1 of *its* pixels; how many input pixels is one of them? The product of the "
    "strides before it.",
    receptive_field,
    [
        Mistake(
            "you left the strides out. After a layer of stride 2, one pixel is two input pixels wide, and every later "
            "kernel reaches twice as far.",
            lambda kernels, strides: 1 + sum(k - 1 for k in kernels),
        ),
        Mistake(
            "you added whole kernels. Neighbouring windows overlap: a layer adds kernel - 1.",
            lambda kernels, strides: sum(kernels),
        ),
        Mistake(
            "you let a layer's own stride count for itself. It counts only for the layers after it.", _own_stride_too
        ),
        Mistake(
            "the 1 is missing: start at the pixel itself.",
            lambda kernels, strides: receptive_field(kernels, strides) - 1,
        ),
        Mistake(
            "you took only the stride just before each layer. The strides of all layers before it multiply.",
            lambda kernels, strides: _strides(kernels, strides, lambda s, layer: s[layer - 1] if layer else 1),
        ),
        Mistake(
            "you used each layer's own stride. What counts are the strides of the layers before it, all multiplied.",
            lambda kernels, strides: _strides(kernels, strides, lambda s, layer: s[layer]),
        ),
        Mistake(
            "you multiplied the kernels. Windows add up, only strides multiply.",
            lambda kernels, strides: math.prod(kernels),
        ),
    ],
    lambda: [([3, 3, 3, 3], [1, 1, 1, 1]), ([3, 3, 3], [1, 2, 2]), ([3, 3, 5], [2, 1, 1])],
)


def walk(x, down, middle, up):
    seen = []
    for part in down:
        x = part(x)
        seen.append(x)
    x = middle(x)
    for part in up:
        x = part(x, seen.pop())
    return x


def _with_skips(pick):
    """The walk, but `pick` chooses the skips for the way up from what went into and came out of each part."""

    def walked(x, down, middle, up):
        ins, outs = [], []
        for part in down:
            ins.append(x)
            x = part(x)
            outs.append(x)
        x = middle(x)
        for part, skip in zip(up, pick(ins, outs), strict=True):
            x = part(x, skip)
        return x

    return walked


_DOWN = [lambda x: 2 * x + 1, lambda x: 0.5 * x, lambda x: x - 3]
_UP = [lambda x, skip: x + 10 * skip, lambda x, skip: 2 * x + skip, lambda x, skip: x - 5 * skip]


SKIPS = Exercise(
    "unet.skips",
    "Write walk(x, down, middle, up): x goes through every part of the list down, then through middle, then through "
    "every part of up. A part of up is called with two things: x, and what its twin on the way down gave out.",
    "The last part of down is the twin of the first of up. A list does it: append on the way down, pop on the way up.",
    walk,
    [
        Mistake(
            "the twins are mixed up: the first part on the way up is the twin of the *last* on the way down. "
            "seen.pop() takes the last one, seen.pop(0) the first.",
            _with_skips(lambda ins, outs: outs),
        ),
        Mistake(
            "you keep what goes *into* each part. The skip is what comes out of it.",
            _with_skips(lambda ins, outs: ins[::-1]),
        ),
        Mistake(
            "every part of up gets the same skip, the last one. Each has a twin of its own: keep them all.",
            _with_skips(lambda ins, outs: [outs[-1]] * len(outs)),
        ),
        Mistake("you never call middle.", lambda x, down, middle, up: walk(x, down, lambda x: x, up)),
    ],
    lambda: [(_normal(2, 3), _DOWN, lambda x: x * x, _UP)],
)


def fold(x):
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def _places_last(x):
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def _by_columns(x):
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 1, 5, 3, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def _chunks(x):
    return torch.cat([quarter for rows in x.chunk(2, dim=2) for quarter in rows.chunk(2, dim=3)], dim=1)


def _quarters(x):
    b, c, h, w = x.shape
    parts = x.reshape(b, c, 2, h // 2, 2, w // 2)
    return parts.permute(0, 1, 2, 4, 3, 5).reshape(b, 4 * c, h // 2, w // 2)


FOLD = Exercise(
    "unet.fold",
    "Write fold(x): put each 2x2 patch of pixels into 4 channels, (b, c, h, w) to (b, 4c, h/2, w/2), in the order of "
    "torch's pixel_unshuffle: the four of a channel stay together, row by row.",
    "Split h into (h / 2, 2) and w into (w / 2, 2) with reshape; move the two 2s beside c with permute; reshape again.",
    fold,
    [
        Mistake(
            "reshape alone cuts the picture into runs of pixels and stacks those: neighbours in a patch are torn "
            "apart. Split height and width first, then permute.",
            lambda x: x.reshape(x.shape[0], 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2),
        ),
        Mistake(
            "you cut the picture into four quarters. Each of the four channels must hold every other pixel of the "
            "whole picture.",
            _quarters,
        ),
        Mistake(
            "chunk cuts the picture into four quarters: top left, top right and so on. Each of the four channels must "
            "hold every other pixel of the whole picture.",
            _chunks,
        ),
        Mistake(
            "right patches, but read column by column: the second channel is the right neighbour, not the one below.",
            _by_columns,
        ),
        Mistake(
            "right patches, other order: keep the four channels that come from one channel together.", _places_last
        ),
        Mistake(
            "you averaged each patch. Folding loses nothing: all four pixels must still be there.",
            lambda x: torch.nn.functional.avg_pool2d(x, 2),
        ),
    ],
    lambda: [(_normal(2, 3, 4, 6),)],
)

EXERCISES: list[Exercise] = [ATTEND, SINUSOID, FILM, RECEPTIVE_FIELD, SKIPS, FOLD]
