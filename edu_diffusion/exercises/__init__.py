"""Exercises: what a learner fills in, and how it is checked.

exercise("forward.q_sample").check(my_function)
exercise("forward.q_sample").hint()
exercise("forward.q_sample").solution()
"""

import difflib

from edu_diffusion.exercises import (
    clip,
    codebook,
    codes,
    ddpm,
    decoder,
    edits,
    forward,
    free,
    gan,
    glide,
    guided,
    improved,
    latent,
    masked,
    prior,
    reverse,
    sampling,
    start,
    unet,
)
from edu_diffusion.exercises.core import Exercise, Mistake, Reply

LESSONS = (
    start,
    *(gan, codes, masked, latent, codebook),
    *(forward, reverse, unet, ddpm, improved, sampling, guided, free),
    *(clip, glide, prior, decoder, edits),
)
ALL: dict[str, Exercise] = {one.name: one for lesson in LESSONS for one in lesson.EXERCISES}


def exercise(name: str) -> Exercise:
    """The exercise of this name, as the lesson gives it: "forward.q_sample".

    Raises: ValueError, naming the nearest names, if there is none.
    """
    if name not in ALL:
        near = difflib.get_close_matches(name, ALL, n=3) or sorted(ALL)[:3]
        raise ValueError(f"no exercise {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return ALL[name]


__all__ = ["ALL", "Exercise", "Mistake", "Reply", "exercise"]
