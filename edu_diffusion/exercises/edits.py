"""Exercises of lesson 20: moving embeddings by text, few components, two noises, and how near a picture came back."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.diffusion import slerp
from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(_normal(*shape, seed=seed), dim=-1)


def text_diff(z, now, wanted, theta):
    return slerp(z, F.normalize(wanted - now, dim=1), theta)


TEXT_DIFF = Exercise(
    "edits.text_diff",
    "Write text_diff(z, now, wanted, theta): image embeddings z turned, by a share theta of the way, towards the "
    "normalised difference of two captions' embeddings. All have shape (b, d) and length 1; `slerp(a, b, share)` of "
    "edu_diffusion.diffusion is yours to use.",
    "First the direction: from what the picture shows `now` to what is `wanted`, at length 1. Then slerp from z to it.",
    text_diff,
    [
        Mistake(
            "you turn towards the wanted caption itself. That also brings everything else a caption's embedding has, "
            "and takes away what the picture has: use the difference.",
            lambda z, now, wanted, theta: slerp(z, wanted, theta),
        ),
        Mistake(
            "the difference points the wrong way: from wanted to now.",
            lambda z, now, wanted, theta: slerp(z, F.normalize(now - wanted, dim=1), theta),
        ),
        Mistake(
            "the difference is not at length 1, so the result is not either: normalise it first.",
            lambda z, now, wanted, theta: slerp(z, wanted - now, theta),
        ),
        Mistake(
            "a straight line between the two, not an arc: the result is shorter than 1, and the decoder has never seen "
            "such an embedding.",
            lambda z, now, wanted, theta: torch.lerp(z, F.normalize(wanted - now, dim=1), theta),
        ),
        Mistake(
            "that is the plain addition, brought back to length 1. It works too, but theta is no angle there.",
            lambda z, now, wanted, theta: F.normalize(z + theta * (wanted - now), dim=1),
        ),
        Mistake(
            "the two ends of the arc are exchanged: at theta = 0 you should get z.",
            lambda z, now, wanted, theta: slerp(F.normalize(wanted - now, dim=1), z, theta),
        ),
    ],
    lambda: [(_unit(3, 6), _unit(3, 6, seed=1), _unit(3, 6, seed=2), theta) for theta in (0.0, 0.25, 0.5)],
)


def keep(z, mean, axes, count):
    first = axes[:count]
    return F.normalize((z - mean) @ first.T @ first + mean, dim=1)


def _no_mean(z, mean, axes, count):
    return F.normalize(z @ axes[:count].T @ axes[:count], dim=1)


KEEP = Exercise(
    "edits.keep",
    "Write keep(z, mean, axes, count): embeddings z (b, d) with only their first `count` principal components, brought "
    "back to length 1. mean (d,) is the mean of all embeddings, the rows of axes (d, d) are the components, the one "
    "with the largest variance first.",
    "Take the mean away, multiply by the first axes for the scores, and by their transpose for the way back. What must "
    "be added again?",
    keep,
    [
        Mistake(
            "the mean is not added again: with no component at all you should get the mean, not zeros.",
            lambda z, mean, axes, count: F.normalize((z - mean) @ axes[:count].T @ axes[:count], dim=1),
        ),
        Mistake(
            "the mean was never taken away: principal components are those of what is left without it.",
            _no_mean,
        ),
        Mistake(
            "you kept the last components, where the embeddings hardly differ. Keep the first.",
            lambda z, mean, axes, count: keep(z, mean, axes.flip(0), count),
        ),
        Mistake(
            "not brought back to length 1: the fewer components, the shorter the result, and the decoder has only ever "
            "seen length 1.",
            lambda z, mean, axes, count: (z - mean) @ axes[:count].T @ axes[:count] + mean,
        ),
        Mistake(
            "you kept the first *numbers* of z and not its first components. The axes are directions of their own.",
            lambda z, mean, axes, count: F.normalize(torch.cat([z[:, :count], mean.expand_as(z)[:, count:]], 1), dim=1),
        ),
        Mistake(
            "these are the scores alone, and no embeddings: multiply by the axes once more.",
            lambda z, mean, axes, count: (z - mean) @ axes[:count].T,
        ),
    ],
    lambda: [(_unit(4, 5), 0.3 * _normal(5, seed=1), torch.linalg.qr(_normal(5, 5, seed=2))[0], n) for n in (2, 4)],
)


def psnr(a, b):
    return 10 * torch.log10(4 / (a - b).square().flatten(1).mean(1))


PSNR = Exercise(
    "edits.psnr",
    "Write psnr(a, b): for each of the pictures a and b of shape (n, 3, h, w) in [-1, 1] the peak signal-to-noise "
    "ratio, 10 log10(peak^2 / mean squared error), in decibels. The peak is the width of the range.",
    "How wide is the range from -1 to 1? And one error for each picture: flatten(1), then mean(1).",
    psnr,
    [
        Mistake(
            "your peak is 1, as for pictures in [0, 1]. From -1 to 1 the range is 2, and its square 4: 6 dB are "
            "missing.",
            lambda a, b: psnr(a, b) - 10 * math.log10(4),
        ),
        Mistake(
            "your peak is 255, as for bytes. These pictures have a range of 2.",
            lambda a, b: psnr(a, b) + 20 * math.log10(127.5),
        ),
        Mistake(
            "one error for all pictures together, although one was asked for each.",
            lambda a, b: 10 * torch.log10(4 / (a - b).square().mean()),
        ),
        Mistake(
            "the natural logarithm. Decibels are ten times the logarithm to the base of ten.",
            lambda a, b: 10 * torch.log(4 / (a - b).square().flatten(1).mean(1)),
        ),
        Mistake(
            "20 instead of 10: that is right for a ratio of sizes, but this is one of squares.",
            lambda a, b: 2 * psnr(a, b),
        ),
        Mistake(
            "the sum of the squared errors, not their mean: your number depends on how many pixels there are.",
            lambda a, b: 10 * torch.log10(4 / (a - b).square().flatten(1).sum(1)),
        ),
        Mistake(
            "upside down: the better the picture, the larger the PSNR.",
            lambda a, b: -psnr(a, b),
        ),
    ],
    lambda: [(_normal(3, 3, 4, 4).tanh(), _normal(3, 3, 4, 4, seed=1).tanh())],
)


def between(z_a, z_b, x_a, x_b, share):
    return slerp(z_a, z_b, share), slerp(x_a, x_b, share)


BETWEEN = Exercise(
    "edits.between",
    "Write between(z_a, z_b, x_a, x_b, share): the embedding and the noise that lie `share` of the way from picture a "
    "to picture b. z has shape (1, d) and length 1, x (1, 3, h, w) is noise. Return both. `slerp` is yours to use.",
    "Both live on a sphere: embeddings have length 1, and noise nearly always the same length (lesson 11).",
    between,
    [
        Mistake(
            "a straight line between the noises: half-way its length is only about 0.7 of theirs (lesson 11).",
            lambda z_a, z_b, x_a, x_b, share: (slerp(z_a, z_b, share), torch.lerp(x_a, x_b, share)),
        ),
        Mistake(
            "a straight line between the embeddings: half-way its length is below 1.",
            lambda z_a, z_b, x_a, x_b, share: (torch.lerp(z_a, z_b, share), slerp(x_a, x_b, share)),
        ),
        Mistake(
            "straight lines for both: neither keeps its length.",
            lambda z_a, z_b, x_a, x_b, share: (torch.lerp(z_a, z_b, share), torch.lerp(x_a, x_b, share)),
        ),
        Mistake(
            "only the embedding moves: at share 1 you should get b, with b's noise.",
            lambda z_a, z_b, x_a, x_b, share: (slerp(z_a, z_b, share), x_a),
        ),
        Mistake(
            "the other direction: share 0 must give a.",
            lambda z_a, z_b, x_a, x_b, share: between(z_b, z_a, x_b, x_a, share),
        ),
    ],
    lambda: [
        (_unit(1, 6), _unit(1, 6, seed=1), _normal(1, 3, 4, 4), _normal(1, 3, 4, 4, seed=1), u) for u in (0.25, 0.5)
    ],
)

EXERCISES: list[Exercise] = [TEXT_DIFF, KEEP, PSNR, BETWEEN]
