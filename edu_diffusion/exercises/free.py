"""Exercises of lesson 13: the formula of guidance, leaving conditions out, and what is easily mixed up about both."""

from collections.abc import Iterator

import torch
from torch import Tensor

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _seeded(inputs: list[tuple]) -> Iterator[tuple]:
    """The inputs, under one state of torch's own random numbers: an answer that draws its own is recognised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        yield from inputs


def guide(eps_cond, eps_null, scale):
    return eps_null + scale * (eps_cond - eps_null)


GUIDE = Exercise(
    "free.guide",
    "Write guide(eps_cond, eps_null, scale): the guided noise of equation (3). scale 0 gives eps_null, scale 1 gives "
    "eps_cond, and a larger one goes on in the same direction.",
    "Start at eps_null and walk towards eps_cond. What must you get at scale 0, and what at scale 1?",
    guide,
    [
        Mistake(
            "you start at eps_cond. That is the paper's formula, whose w = scale - 1: with it 1 is already guidance, "
            "and 0 is off. Here 1 is off: start at eps_null.",
            lambda eps_cond, eps_null, scale: eps_cond + scale * (eps_cond - eps_null),
        ),
        Mistake(
            "off by one the other way: you subtracted 1 from the scale, and your 1 ignores the condition. In this "
            "course scale 1 gives eps_cond.",
            lambda eps_cond, eps_null, scale: eps_null + (scale - 1) * (eps_cond - eps_null),
        ),
        Mistake(
            "the sign: you walk away from the condition. The direction is eps_cond - eps_null.",
            lambda eps_cond, eps_null, scale: eps_null - scale * (eps_cond - eps_null),
        ),
        Mistake(
            "the two are swapped: at scale 0 you should get eps_null, and you get eps_cond.",
            lambda eps_cond, eps_null, scale: eps_cond + scale * (eps_null - eps_cond),
        ),
        Mistake(
            "only the push is there. It must be added to eps_null.",
            lambda eps_cond, eps_null, scale: scale * (eps_cond - eps_null),
        ),
        Mistake(
            "you subtract scale times eps_null from eps_cond. The two weights must sum to 1, or the result is no guess "
            "of the noise: scale and 1 - scale.",
            lambda eps_cond, eps_null, scale: eps_cond - scale * eps_null,
        ),
        Mistake(
            "you weight eps_cond by scale and subtract eps_null once. The two weights must sum to 1: scale and "
            "1 - scale.",
            lambda eps_cond, eps_null, scale: scale * eps_cond - eps_null,
        ),
        Mistake(
            "brackets: the scale multiplies eps_cond only. It belongs to the whole difference.",
            lambda eps_cond, eps_null, scale: eps_null + scale * eps_cond - eps_null,
        ),
    ],
    lambda: [(_normal(3, 2), _normal(3, 2, seed=1), scale) for scale in (0.0, 1.0, 3.0)],
)


def drop(vec, null, share, chance):
    return torch.where(chance[:, None] < share, null, vec)


def _per_batch(vec, null, share, chance):
    return null.expand_as(vec) if chance[0] < share else vec


def _the_first(vec, null, share, chance):
    count = int(share * len(vec))
    return torch.cat([null.expand(count, -1), vec[count:]])


DROP = Exercise(
    "free.drop",
    "Write drop(vec, null, share, chance): the conditions vec of shape (b, k), where each example's is replaced by "
    "null, of shape (1, k), if its number in chance, of shape (b,), is below share.",
    "chance[:, None] < share is a column with one answer for each example. torch.where takes null where it is true.",
    drop,
    [
        Mistake(
            "one coin for the whole batch: the network then sees batches with no null at all, and now and then one of "
            "nothing else. Each example has a coin of its own, its number in chance.",
            _per_batch,
        ),
        Mistake(
            "the other way round: you keep the condition in a share of the examples, and leave it out in all others.",
            lambda vec, null, share, chance: torch.where(chance[:, None] < share, vec, null),
        ),
        Mistake(
            "you put zeros in the place of null. Null is whatever stands for 'none': zeros for the course's labels, "
            "but a learned vector or an empty sentence elsewhere.",
            lambda vec, null, share, chance: vec * (chance >= share)[:, None],
        ),
        Mistake(
            "you mixed every condition with null. A condition is left out or it is not.",
            lambda vec, null, share, chance: share * null + (1 - share) * vec,
        ),
        Mistake(
            "you always leave out the first ones of the batch. Which ones is for chance to say.",
            _the_first,
        ),
        Mistake(
            "you left out the examples themselves. Only what the network is told of them is left out: the shape stays.",
            lambda vec, null, share, chance: vec[chance >= share],
        ),
        Mistake(
            "you drew random numbers of your own. Use those in chance, so that a training can be repeated.",
            lambda vec, null, share, chance: drop(vec, null, share, torch.rand(len(vec))),
        ),
    ],
    lambda: _seeded(
        [
            (_normal(6, 4), _normal(1, 4, seed=1), 0.3, torch.tensor([0.1, 0.5, 0.29, 0.9, 0.31, 0.7])),
            (_normal(6, 4, seed=2), _normal(1, 4, seed=3), 0.5, torch.tensor([0.8, 0.2, 0.6, 0.05, 0.4, 0.9])),
        ]
    ),
)


def convert(value, where):
    return value + 1 if where in ("ho", "classifier") else value


CONVERT = Exercise(
    "free.convert",
    "Write convert(value, where): this course's scale for a value given elsewhere. where is 'ho' (Ho and Salimans' w), "
    "'imagen' (its w), 'glide' (its s), or 'classifier' (the scale of classifier guidance on top of a model that is "
    "told the class).",
    "Ask of each where it is off. Ours is off at 1.",
    convert,
    [
        Mistake(
            "you add 1 to all. The w of Imagen and the s of GLIDE are off at 1, as ours is: leave them alone.",
            lambda value, where: value + 1,
        ),
        Mistake(
            "you take every value as it is. The w of Ho and Salimans is off at 0, and so is classifier guidance: "
            "add 1 to these.",
            lambda value, where: value,
        ),
        Mistake(
            "you subtract 1 where it must be added: w = scale - 1, so scale = w + 1.",
            lambda value, where: value - 1 if where in ("ho", "classifier") else value,
        ),
        Mistake(
            "right but for 'classifier': on top of a model that is told the class, classifier guidance is off at 0 "
            "too. Its scale is what the paper calls w.",
            lambda value, where: value + 1 if where == "ho" else value,
        ),
        Mistake(
            "right but for 'ho': the paper's w is off at 0.",
            lambda value, where: value + 1 if where == "classifier" else value,
        ),
        Mistake(
            "the other way round: 'ho' and 'classifier' are off at 0, 'imagen' and 'glide' at 1, as ours is.",
            lambda value, where: value if where in ("ho", "classifier") else value + 1,
        ),
        Mistake(
            "that is the paper's w and not our scale: ours is off at 1.",
            lambda value, where: value if where in ("ho", "classifier") else value - 1,
        ),
    ],
    lambda: [(0.1, "ho"), (3.0, "imagen"), (2.5, "glide"), (1.0, "classifier")],
)


def gradient(eps_cond, eps_null, noise):
    return (eps_null - eps_cond) / noise


GRADIENT = Exercise(
    "free.gradient",
    "Write gradient(eps_cond, eps_null, noise): the gradient of log p(y | x_t) of the implicit classifier; noise is "
    "sqrt(1 - alpha_bar_t).",
    "Solve equation (2) for the gradient.",
    gradient,
    [
        Mistake(
            "the sign: eps points away from the data, the score towards it. The gradient is minus the difference, "
            "divided by the noise.",
            lambda eps_cond, eps_null, noise: (eps_cond - eps_null) / noise,
        ),
        Mistake(
            "you divide by the variance. In (2) stands the standard deviation sqrt(1 - alpha_bar).",
            lambda eps_cond, eps_null, noise: (eps_null - eps_cond) / noise**2,
        ),
        Mistake(
            "you multiply by the noise. In (2) the gradient is multiplied by it: to get it alone, divide.",
            lambda eps_cond, eps_null, noise: (eps_null - eps_cond) * noise,
        ),
        Mistake(
            "the direction is right, the length is not: divide by the noise.",
            lambda eps_cond, eps_null, noise: eps_null - eps_cond,
        ),
        Mistake(
            "that is the difference as it stands in (2), with the other sign and the noise still in it.",
            lambda eps_cond, eps_null, noise: eps_cond - eps_null,
        ),
        Mistake(
            "that is the score of the conditional model, the gradient of log p(x_t | y). Take that of log p(x_t) from "
            "it.",
            lambda eps_cond, eps_null, noise: -eps_cond / noise,
        ),
    ],
    lambda: [(_normal(4, 2), _normal(4, 2, seed=1), noise) for noise in (0.3, 0.9)],
)


def spread(var_class, var_all, scale):
    return 1 / (scale / var_class + (1 - scale) / var_all)


SPREAD = Exercise(
    "free.spread",
    "Write spread(var_class, var_all, scale): the variance of the distribution proportional to p(x) p(y | x)^scale, "
    "where p(x) = N(0, var_all) and p(x | y) = N(0, var_class), with var_class < var_all.",
    "p(y | x) is proportional to p(x | y) / p(x). Where densities are multiplied, their precisions, 1 / variance, add "
    "up; a power multiplies a precision.",
    spread,
    [
        Mistake(
            "that is where DDIM ends, the variances multiplied with powers scale and 1 - scale. The tilted "
            "distribution adds precisions.",
            lambda var_class, var_all, scale: var_class**scale * var_all ** (1 - scale),
        ),
        Mistake(
            "you averaged the variances. Multiply two Gaussians, and their precisions, 1 / variance, add up.",
            lambda var_class, var_all, scale: scale * var_class + (1 - scale) * var_all,
        ),
        Mistake(
            "that is p(x | y)^scale, with p(x) left out: p(x) p(y | x)^scale has p(x) to the power 1 - scale.",
            lambda var_class, var_all, scale: var_class / scale,
        ),
        Mistake(
            "you took p(x | y) for p(y | x): by Bayes' rule, p(y | x) is p(x | y) divided by p(x).",
            lambda var_class, var_all, scale: 1 / (scale / var_class + 1 / var_all),
        ),
        Mistake(
            "off by one: that is p(x | y) p(y | x)^scale, the paper's form with w = scale. Here scale 1 is off.",
            lambda var_class, var_all, scale: 1 / ((1 + scale) / var_class - scale / var_all),
        ),
        Mistake(
            "that is the precision. The variance is 1 divided by it.",
            lambda var_class, var_all, scale: scale / var_class + (1 - scale) / var_all,
        ),
        Mistake(
            "that is the standard deviation, and the variance was asked for.",
            lambda var_class, var_all, scale: spread(var_class, var_all, scale) ** 0.5,
        ),
    ],
    lambda: [(1.0, 2.0, 3.0), (0.5, 2.0, 1.5), (0.3, 1.2, 1.0)],
)


def threshold(x0, share):
    size = x0.abs().quantile(share, dim=1, keepdim=True).clamp(min=1)
    return x0.clamp(-size, size) / size


def _size(x0, share):
    return x0.abs().quantile(share, dim=1, keepdim=True)


def _clip_and_divide(x0, size):
    return x0.clamp(-size, size) / size


def _three_sizes() -> Tensor:
    """One example well inside [-1, 1], two that leave it."""
    return _normal(3, 40) * torch.tensor([[0.3], [1.5], [4.0]])


THRESHOLD = Exercise(
    "free.threshold",
    "Write threshold(x0, share): dynamic thresholding of examples x0 of shape (b, n). For each example, r is the "
    "quantile `share` of its |x0|, but at least 1; clip to [-r, r], then divide by r.",
    "x0.abs().quantile(share, dim=1, keepdim=True) gives one number for each example, shaped to broadcast.",
    threshold,
    [
        Mistake(
            "that cuts at -1 and 1, as ClipX0 does: all that is outside becomes -1 or 1. Cut at r, then divide by it.",
            lambda x0, share: x0.clamp(-1, 1),
        ),
        Mistake(
            "r may fall below 1 in your version. An example that lies inside is then blown up: r is at least 1.",
            lambda x0, share: _clip_and_divide(x0, _size(x0, share)),
        ),
        Mistake(
            "one r for the whole batch: a sample then depends on the others drawn along with it. Each example has its "
            "own.",
            lambda x0, share: _clip_and_divide(x0, x0.abs().quantile(share).clamp(min=1)),
        ),
        Mistake(
            "the quantile is that of x0, not of |x0|: it does not see how far the dark side goes.",
            lambda x0, share: _clip_and_divide(x0, x0.quantile(share, dim=1, keepdim=True).clamp(min=1)),
        ),
        Mistake(
            "clipped to [-r, r], but not divided by r: the result still leaves [-1, 1].",
            lambda x0, share: x0.clamp(-_size(x0, share).clamp(min=1), _size(x0, share).clamp(min=1)),
        ),
        Mistake(
            "divided by r, but not clipped to [-r, r] first: the few values beyond the quantile still leave [-1, 1].",
            lambda x0, share: x0 / _size(x0, share).clamp(min=1),
        ),
        Mistake(
            "you divide by the largest value. A single bright pixel would then darken the whole picture: take the "
            "quantile `share`.",
            lambda x0, share: threshold(x0, 1.0),
        ),
        Mistake(
            "the quantile runs over the examples (axis 0), so each pixel has its own r. Each example has: axis 1.",
            lambda x0, share: _clip_and_divide(x0, x0.abs().quantile(share, dim=0, keepdim=True).clamp(min=1)),
        ),
    ],
    lambda: [(_three_sizes(), share) for share in (0.9, 0.75)],
)

EXERCISES: list[Exercise] = [GUIDE, DROP, CONVERT, GRADIENT, SPREAD, THRESHOLD]
