"""Exercises of lesson unet: the time embedding, scale and shift, how far a network sees, folding pixels."""

import math

import torch
from torch import Tensor

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
            "you multiplied the kernels. Windows add up, only strides multiply.",
            lambda kernels, strides: math.prod(kernels),
        ),
    ],
    lambda: [([3, 3, 3, 3], [1, 1, 1, 1]), ([3, 3, 3], [1, 2, 2]), ([3, 3, 5], [2, 1, 1])],
)


def fold(x):
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def _places_last(x):
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


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
            "right patches, other order: keep the four channels that come from one channel together.", _places_last
        ),
        Mistake(
            "you averaged each patch. Folding loses nothing: all four pixels must still be there.",
            lambda x: torch.nn.functional.avg_pool2d(x, 2).repeat_interleave(4, dim=1),
        ),
    ],
    lambda: [(_normal(2, 3, 4, 6),)],
)

EXERCISES: list[Exercise] = [SINUSOID, FILM, RECEPTIVE_FIELD, FOLD]
