"""Exercises of lesson 00: the range of pictures."""

import torch

from edu_diffusion.exercises.core import Exercise, Mistake


def to_range(levels):
    return levels / 127.5 - 1


RANGE = Exercise(
    "start.range",
    "Write to_range(levels): pixel levels 0..255 as floats in [-1, 1], where 0 becomes -1 and 255 becomes 1.",
    "What must 255 be divided by to become 2? Then shift, so that 0 becomes -1.",
    to_range,
    [
        Mistake(
            "that is [0, 1]: black is 0 and not -1. A model of [-1, 1] would see grey. Stretch to twice the range, "
            "then shift.",
            lambda levels: levels / 255,
        ),
        Mistake("that is [0, 2]: the right length. Now shift it, so that black is -1.", lambda levels: levels / 127.5),
        Mistake(
            "almost: white comes out a little below 1. Divide by 127.5, half of 255, and not by 128.",
            lambda levels: levels / 128 - 1,
        ),
        Mistake("that is centred but not scaled: values still reach 127.5.", lambda levels: levels - 127.5),
        Mistake(
            "you scaled by the mean and standard deviation of these pictures. Then the range depends on what is in the "
            "batch; the course's range is fixed.",
            lambda levels: (levels - levels.float().mean()) / levels.float().std(),
        ),
        Mistake("that is [-1, 0]: divide by 127.5 and not by 255.", lambda levels: levels / 255 - 1),
        Mistake("those are still 0 to 255. Scale them: divide first, then shift.", lambda levels: levels),
        Mistake(
            "you shifted and did not scale: values still reach 254. Divide first, then shift.",
            lambda levels: levels.float() - 1,
        ),
        Mistake(
            "you shifted bytes and did not scale: in bytes 0 - 1 is 255. Divide first, then shift.",
            lambda levels: levels - 1,
        ),
        Mistake(
            "that would be right for [0, 1]. These are 0 to 255: divide them by 255 first.",
            lambda levels: 2 * levels.float() - 1,
        ),
        Mistake(
            "that would be right for [0, 1]. These are bytes, 0 to 255, and twice a byte wraps at 256: divide them "
            "by 255 first.",
            lambda levels: 2 * levels - 1,
        ),
    ],
    lambda: [(torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16),), (torch.tensor([0, 1, 128, 255]),)],
    tolerance=1e-5,
)

EXERCISES: list[Exercise] = [RANGE]
