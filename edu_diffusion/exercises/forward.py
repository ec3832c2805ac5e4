"""Exercises of lesson 06, forward diffusion."""

import math

import torch

from edu_diffusion.diffusion import cosine, linear
from edu_diffusion.exercises.core import Exercise, Mistake


def q_sample(schedule, x0, t, eps):
    alpha_bar = schedule.alpha_bar[t]
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps


def beta(schedule, t):
    return 1 - schedule.alpha_bar[t] / schedule.alpha_bar[t - 1]


def each_its_time(schedule, x0, t, eps):
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps


def half_time(schedule):
    below = schedule.alpha_bar < 0.5
    return int(below.int().argmax())


def enough_noise(T, signal):
    return 1 - signal ** (2 / T)


def _step(schedule, t):
    return 1 - schedule.alpha_bar[t] / schedule.alpha_bar[t - 1]


def _mix(signal, noise):
    """A q_sample with other coefficients, each a function of (schedule, t)."""
    return lambda schedule, x0, t, eps: signal(schedule, t) * x0 + noise(schedule, t) * eps


def _signal(schedule, t):
    return schedule.alpha_bar[t].sqrt()


def _noise(schedule, t):
    return (1 - schedule.alpha_bar[t]).sqrt()


def _pictures(n):
    rng = torch.Generator().manual_seed(6)
    return torch.rand(n, 1, 6, 6, generator=rng) * 2 - 1, torch.randn(n, 1, 6, 6, generator=rng)


def _one_time():
    x0, eps = _pictures(4)
    # Fresh noise drawn meanwhile is the same each time, so that an answer which ignores eps can be recognised.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        for t in (1, 300, 1000):
            yield linear(), x0, t, eps


def _many_times():
    # Six pictures six pixels wide: coefficients of the wrong shape then broadcast without an error.
    x0, eps = _pictures(6)
    return [(linear(), x0, torch.tensor([1, 100, 200, 400, 700, 1000]), eps)]


def _each(signal, noise, shape=(-1, 1, 1, 1)):
    """An each_its_time with other coefficients, each a function of alpha_bar, or with alpha_bar in another shape."""

    def wrong(schedule, x0, t, eps):
        alpha_bar = schedule.alpha_bar[t].reshape(shape)
        return signal(alpha_bar) * x0 + noise(alpha_bar) * eps

    return wrong


def _unshaped(shape):
    return _each(lambda a: a.sqrt(), lambda a: (1 - a).sqrt(), shape)


EXERCISES: list[Exercise] = [
    Exercise(
        "forward.q_sample",
        "Write q_sample(schedule, x0, t, eps): x_t in one jump from x0, for one time t. "
        "`schedule.alpha_bar[t]` is a number.",
        "Equation (4). Two coefficients, both square roots, and their squares add up to 1.",
        q_sample,
        [
            Mistake(
                "the noise is multiplied by 1 - alpha_bar, which is its variance; a standard deviation is wanted: take "
                "the square root.",
                _mix(_signal, lambda s, t: 1 - s.alpha_bar[t]),
            ),
            Mistake(
                "the picture is multiplied by alpha_bar; it is sqrt(alpha_bar) that multiplies x0.",
                _mix(lambda s, t: s.alpha_bar[t], _noise),
            ),
            Mistake(
                "both square roots are missing: alpha_bar and 1 - alpha_bar are variances.",
                _mix(lambda s, t: s.alpha_bar[t], lambda s, t: 1 - s.alpha_bar[t]),
            ),
            Mistake(
                "the noise is multiplied by 1 - sqrt(alpha_bar): first subtract, then take the root. It is the squares "
                "of the two coefficients that add up to 1.",
                _mix(_signal, lambda s, t: 1 - s.alpha_bar[t].sqrt()),
            ),
            Mistake(
                "this draws fresh noise. Use the eps that is given: the caller must know which noise is in x_t: a "
                "network will be trained to find it.",
                lambda schedule, x0, t, eps: q_sample(schedule, x0, t, torch.randn(x0.shape)),
            ),
            Mistake(
                "the noise is multiplied by sqrt(beta_t), the noise of one step; x_t holds the noise of all steps up "
                "to t, sqrt(1 - alpha_bar_t).",
                _mix(_signal, lambda s, t: _step(s, t).sqrt()),
            ),
            Mistake(
                "the noise is multiplied by beta_t: that is the variance of one step, and the standard deviation of "
                "all steps is wanted.",
                _mix(_signal, _step),
            ),
            Mistake(
                "this uses alpha_t = 1 - beta_t, one step's share; wanted is alpha_bar_t, the product of all of them.",
                _mix(lambda s, t: (1 - _step(s, t)).sqrt(), lambda s, t: _step(s, t).sqrt()),
            ),
            Mistake(
                "off by one: this is x at t - 1. The table starts at t = 0, so alpha_bar[t] is time t.",
                lambda schedule, x0, t, eps: q_sample(schedule, x0, t - 1, eps),
            ),
            Mistake(
                "the picture does not shrink: x0 needs its factor sqrt(alpha_bar), or the variance grows.",
                _mix(lambda s, t: 1.0, _noise),
            ),
            Mistake(
                "signal and noise are swapped: at t = T you would have the picture and at t = 0 the noise.",
                _mix(_noise, _signal),
            ),
        ],
        _one_time,
    ),
    Exercise(
        "forward.beta",
        "Write beta(schedule, t): the variance of the noise that the step from t - 1 to t adds, from the table "
        "schedule.alpha_bar alone.",
        "alpha_bar_t is alpha_bar_{t-1} times (1 - beta_t). Solve for beta_t.",
        beta,
        [
            Mistake(
                "that is alpha_t = 1 - beta_t, the share that is kept; subtract it from 1.",
                lambda schedule, t: schedule.alpha_bar[t] / schedule.alpha_bar[t - 1],
            ),
            Mistake(
                "the ratio is upside down: alpha_bar falls, so alpha_bar_t / alpha_bar_{t-1} is the one below 1.",
                lambda schedule, t: 1 - schedule.alpha_bar[t - 1] / schedule.alpha_bar[t],
            ),
            Mistake(
                "that is the noise of all steps up to t, 1 - alpha_bar_t; one step is wanted.",
                lambda schedule, t: 1 - schedule.alpha_bar[t],
            ),
            Mistake(
                "off by one: that is the step from t to t + 1.",
                lambda schedule, t: beta(schedule, t + 1),
            ),
            Mistake(
                "a difference of alpha_bars is not the step's variance: the step also shrinks what was there. Divide.",
                lambda schedule, t: schedule.alpha_bar[t - 1] - schedule.alpha_bar[t],
            ),
            Mistake(
                "that is sqrt(beta_t), a standard deviation; the variance is its square.",
                lambda schedule, t: beta(schedule, t).sqrt(),
            ),
        ],
        lambda: [(cosine(100), t) for t in (1, 50, 98)],
    ),
    Exercise(
        "forward.each_its_time",
        "Write each_its_time(schedule, x0, t, eps): q_sample where t is a tensor that holds one time for each picture. "
        "x0 has shape (b, 1, h, w), t has shape (b,).",
        "alpha_bar[t] has shape (b,). Give it three more axes of length 1, so that it lines up with the batch axis.",
        each_its_time,
        [
            Mistake(
                "alpha_bar[t] of shape (b,) lines up with the last axis: every column of pixels got its own time. It "
                "went through without an error only because these pictures are as wide as the batch is long. Reshape "
                "it to (b, 1, 1, 1).",
                _unshaped((-1,)),
            ),
            Mistake(
                "a shape of (b, 1) lines up with the rows of each picture. All of (b, 1, 1, 1) is needed.",
                _unshaped((-1, 1)),
            ),
            Mistake(
                "the shapes are right, but the noise is multiplied by a variance: take the root of 1 - alpha_bar.",
                _each(lambda a: a.sqrt(), lambda a: 1 - a),
            ),
            Mistake(
                "the shapes are right, but the picture is multiplied by alpha_bar: take its root.",
                _each(lambda a: a, lambda a: (1 - a).sqrt()),
            ),
            Mistake(
                "the shapes are right, but both roots are missing: alpha_bar and 1 - alpha_bar are variances.",
                _each(lambda a: a, lambda a: 1 - a),
            ),
            Mistake(
                "every picture got the first picture's time.",
                lambda schedule, x0, t, eps: q_sample(schedule, x0, int(t[0]), eps),
            ),
        ],
        _many_times,
    ),
    Exercise(
        "forward.half_time",
        "Write half_time(schedule): the first t at which there is more noise than signal, SNR < 1. "
        "Return a whole number.",
        "SNR = alpha_bar / (1 - alpha_bar). For which alpha_bar is it 1? For the first place where a comparison of "
        "tensors holds, turn it into whole numbers: (a < b).int().argmax().",
        half_time,
        [
            Mistake(
                "off by one: that is the last t with more signal than noise, or an index into a table without t = 0.",
                lambda schedule: half_time(schedule) - 1,
            ),
            Mistake(
                "that is where the coefficient sqrt(alpha_bar) falls below 1/2. The SNR compares variances: look for "
                "alpha_bar below 1/2.",
                lambda schedule: int((schedule.alpha_bar.sqrt() < 0.5).int().argmax()),
            ),
            Mistake(
                "half of T is not where half of the variance is left; that depends on the schedule.",
                lambda schedule: schedule.T // 2,
            ),
        ],
        lambda: [(linear(),), (cosine(),), (linear(100, 1e-3, 0.2),)],
    ),
    Exercise(
        "forward.enough_noise",
        "Write enough_noise(T, signal): the constant beta with which sqrt(alpha_bar_T) comes down to `signal` after "
        "T steps.",
        "With a constant beta, alpha_bar_T = (1 - beta) to the power T. And sqrt(alpha_bar_T) is to be `signal`.",
        enough_noise,
        [
            Mistake(
                "that brings alpha_bar_T down to `signal`; it is the square root of alpha_bar_T that should get there.",
                lambda T, signal: 1 - signal ** (1 / T),
            ),
            Mistake("that is 1 - beta.", lambda T, signal: signal ** (2 / T)),
            Mistake(
                "the square root went the wrong way, and that is 1 - beta: alpha_bar_T is `signal` squared.",
                lambda T, signal: signal ** (1 / (2 * T)),
            ),
            Mistake(
                "the square root went the wrong way: alpha_bar_T is `signal` squared.",
                lambda T, signal: 1 - signal ** (1 / (2 * T)),
            ),
            Mistake(
                "that is the approximation for small betas, alpha_bar_T = exp(-T beta); with few steps it is far off. "
                "Solve (1 - beta) to the power T = alpha_bar_T.",
                lambda T, signal: -2 * math.log(signal) / T,
            ),
            Mistake(
                "steps multiply: dividing the whole variance by T leaves far too much signal.",
                lambda T, signal: (1 - signal**2) / T,
            ),
        ],
        lambda: [(10, 0.01), (100, 0.01), (1000, 0.006)],
    ),
]
