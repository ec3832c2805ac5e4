"""Exercises of lesson 07, reverse diffusion."""

import torch

from edu_diffusion.diffusion import linear
from edu_diffusion.exercises.core import Exercise, Mistake


def posterior(schedule, x0, x_t, t):
    alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    alpha = alpha_bar / before
    beta = 1 - alpha
    mean = (before.sqrt() * beta * x0 + alpha.sqrt() * (1 - before) * x_t) / (1 - alpha_bar)
    return mean, (1 - before) / (1 - alpha_bar) * beta


def best_guess(x_t, signal, noise):
    return torch.tanh(signal * x_t / noise**2)


def x0_from_eps(schedule, x_t, t, eps):
    alpha_bar = schedule.alpha_bar[t]
    return (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()


def score(schedule, t, eps):
    return -eps / (1 - schedule.alpha_bar[t]).sqrt()


def noise_back(schedule, t):
    alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    return ((1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)).sqrt()


def _table(schedule, t):
    """alpha_bar_t, alpha_bar_{t-1}, alpha_t, beta_t."""
    alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    return alpha_bar, before, alpha_bar / before, 1 - alpha_bar / before


def _swapped(schedule, x0, x_t, t):
    return posterior(schedule, x_t, x0, t)


def _forward_variance(schedule, x0, x_t, t):
    return posterior(schedule, x0, x_t, t)[0], _table(schedule, t)[3]


def _std(schedule, x0, x_t, t):
    mean, variance = posterior(schedule, x0, x_t, t)
    return mean, variance.sqrt()


def _late_signal(schedule, x0, x_t, t):
    alpha_bar, before, alpha, beta = _table(schedule, t)
    mean = (alpha_bar.sqrt() * beta * x0 + alpha.sqrt() * (1 - before) * x_t) / (1 - alpha_bar)
    return mean, posterior(schedule, x0, x_t, t)[1]


def _bar_for_alpha(schedule, x0, x_t, t):
    alpha_bar, before, _, beta = _table(schedule, t)
    mean = (before.sqrt() * beta * x0 + alpha_bar.sqrt() * (1 - before) * x_t) / (1 - alpha_bar)
    return mean, posterior(schedule, x0, x_t, t)[1]


def _no_roots(schedule, x0, x_t, t):
    alpha_bar, before, alpha, beta = _table(schedule, t)
    mean = (before * beta * x0 + alpha * (1 - before) * x_t) / (1 - alpha_bar)
    return mean, posterior(schedule, x0, x_t, t)[1]


def _literal(schedule, x0, x_t, t):
    _, before, alpha, beta = _table(schedule, t)
    variance = 1 / (1 / (1 - before) + alpha / beta)
    return variance * (before.sqrt() / (1 - before) * x0 + alpha.sqrt() / beta * x_t), variance


def _all_noise_for_beta(schedule, x0, x_t, t):
    alpha_bar, before, _, _ = _table(schedule, t)
    mean = (before.sqrt() * (1 - alpha_bar) * x0 + alpha_bar.sqrt() * (1 - before) * x_t) / (1 - alpha_bar)
    return mean, 1 - before


# Few and big steps, so that neighbouring times differ well beyond the tolerance.
BIG_STEPS = linear(20, 0.02, 0.5)


def _pictures(schedule, times):
    rng = torch.Generator().manual_seed(7)
    first, second = torch.randn(2, 3, 1, 5, 5, generator=rng)
    return [(schedule, first, second, t) for t in times]


EXERCISES: list[Exercise] = [
    Exercise(
        "reverse.posterior",
        "Write `posterior(schedule, x0, x_t, t)`: mean and variance of x at `t - 1`, when `x0` and `x_t` are known.",
        "Equation (6). Look up `alpha_bar` at t and at `t - 1`; `alpha_t` is their ratio and `beta_t` is `1 - "
        "alpha_t`. At `t = 1` the mean must be `x0` itself and the variance 0; (4) and (5) as they stand would "
        "divide by 0 there.",
        posterior,
        [
            Mistake(
                "the two coefficients of the mean are swapped: at `t = 1` you should get `x0` back, and you get `x_t`.",
                _swapped,
            ),
            Mistake(
                "the mean is right, but the variance is `beta_t`, that of the step forward. Knowing `x0` makes it "
                "smaller: `beta_tilde_t`, which is 0 at `t = 1`.",
                _forward_variance,
            ),
            Mistake("the mean is right, but you give the standard deviation, and the variance was asked for.", _std),
            Mistake(
                "the mean is right, but in place of the variance you give `sqrt(beta_t)`, the standard deviation of "
                "the step forward; wanted is `beta_tilde_t`, with no root.",
                lambda s, x0, x_t, t: (posterior(s, x0, x_t, t)[0], _table(s, t)[3].sqrt()),
            ),
            Mistake(
                "both are right, but in the wrong order: first the mean, then the variance.",
                lambda *arguments: posterior(*arguments)[::-1],
            ),
            Mistake(
                "that is (4) and (5) as they stand: at `t = 1` they divide by 0 and give NaN. (6) does not.", _literal
            ),
            Mistake(
                "`x0` is multiplied by `sqrt(alpha_bar_t)`; its factor is that of the earlier time, "
                "`sqrt(alpha_bar_{t-1})`.",
                _late_signal,
            ),
            Mistake(
                "`x_t` is multiplied by `sqrt(alpha_bar_t)`; it should be one step's `sqrt(alpha_t)`.",
                _bar_for_alpha,
            ),
            Mistake(
                "you take `alpha_bar_t` for `alpha_t`, and so `1 - alpha_bar_t`, the noise of all steps, for `beta_t`. "
                "One step's `alpha_t` is the ratio of `alpha_bar` at t and at `t - 1`.",
                _all_noise_for_beta,
            ),
            Mistake(
                "the square roots are missing in the mean: `sqrt(alpha_bar_{t-1})` and `sqrt(alpha_t)`.", _no_roots
            ),
        ],
        lambda: _pictures(BIG_STEPS, (1, 2, 8, 20)),
    ),
    Exercise(
        "reverse.best_guess",
        "Write `best_guess(x_t, signal, noise)`: the mean of `x0` given `x_t`, when `x0` is -1 or +1, equally often, "
        "and `x_t = signal x0 + noise eps`. `x_t` is a tensor, `signal` and `noise` are numbers.",
        "By Bayes, the odds of +1 against -1 are `exp(2 signal x_t / noise**2)`. The mean is `P(+1) - P(-1)`.",
        best_guess,
        [
            Mistake(
                "that is the likelier of the two values, not their mean: with the noise so strong that nothing can be "
                "told, the best guess is near 0.",
                lambda x_t, signal, noise: torch.sign(x_t),
            ),
            Mistake(
                "`x_t` is divided by the standard deviation; the exponent of a Gaussian has its variance, `noise**2`.",
                lambda x_t, signal, noise: torch.tanh(signal * x_t / noise),
            ),
            Mistake(
                "`x_t / signal` undoes the shrinking only; the noise is still in it, and the guess can leave [-1, 1].",
                lambda x_t, signal, noise: x_t / signal,
            ),
            Mistake(
                "the factor `signal` is missing: the two humps stand at +signal and -signal, not at +1 and -1.",
                lambda x_t, signal, noise: torch.tanh(x_t / noise**2),
            ),
            Mistake(
                "the argument is twice too large: `tanh(z)` is `(exp(z) - exp(-z)) / (exp(z) + exp(-z))`, so the odds "
                "`exp(2 z)` belong to `tanh(z)`.",
                lambda x_t, signal, noise: torch.tanh(2 * signal * x_t / noise**2),
            ),
            Mistake(
                "that is the probability of +1, between 0 and 1; the mean is `P(+1) - P(-1)`.",
                lambda x_t, signal, noise: torch.sigmoid(2 * signal * x_t / noise**2),
            ),
        ],
        lambda: [(torch.linspace(-2, 2, 9), 0.8, 0.6), (torch.linspace(-2, 2, 9), 0.28, 0.96)],
    ),
    Exercise(
        "reverse.x0_from_eps",
        "Write `x0_from_eps(schedule, x_t, t, eps)`: the clean picture, if `eps` is the noise in `x_t`.",
        "Solve equation (4) of lesson 06, `x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps`, for `x0`.",
        x0_from_eps,
        [
            Mistake(
                "the noise is taken away, but the picture is still faded: divide by `sqrt(alpha_bar_t)`.",
                lambda schedule, x_t, t, eps: x_t - (1 - schedule.alpha_bar[t]).sqrt() * eps,
            ),
            Mistake(
                "`eps` is multiplied by the variance `1 - alpha_bar_t`; take its square root.",
                lambda s, x_t, t, eps: (x_t - (1 - s.alpha_bar[t]) * eps) / s.alpha_bar[t].sqrt(),
            ),
            Mistake(
                "the division is by `alpha_bar_t`; `x0` was multiplied by its square root.",
                lambda s, x_t, t, eps: (x_t - (1 - s.alpha_bar[t]).sqrt() * eps) / s.alpha_bar[t],
            ),
            Mistake(
                "both square roots are missing: `x0` has the factor `sqrt(alpha_bar_t)`, and `eps` has "
                "`sqrt(1 - alpha_bar_t)`.",
                lambda s, x_t, t, eps: (x_t - (1 - s.alpha_bar[t]) * eps) / s.alpha_bar[t],
            ),
            Mistake(
                "only `x_t` is divided by `sqrt(alpha_bar_t)`: take the noise away first, then divide all that is "
                "left.",
                lambda s, x_t, t, eps: x_t / s.alpha_bar[t].sqrt() - (1 - s.alpha_bar[t]).sqrt() * eps,
            ),
            Mistake(
                "that takes away the noise of one step only, `sqrt(beta_t) eps`; `x_t` holds that of all steps up to "
                "t.",
                lambda s, x_t, t, eps: (x_t - _table(s, t)[3].sqrt() * eps) / _table(s, t)[2].sqrt(),
            ),
            Mistake(
                "off by one: those are the coefficients of `t - 1`.",
                lambda s, x_t, t, eps: x0_from_eps(s, x_t, t - 1, eps),
            ),
        ],
        lambda: [(schedule, x_t, t, eps) for schedule, x_t, eps, t in _pictures(BIG_STEPS, (1, 8, 20))],
    ),
    Exercise(
        "reverse.score",
        "Write `score(schedule, t, eps)`: the score of `x_t`, if `eps` is the mean of the noise given `x_t`.",
        "The score points away from the noise, and is the larger the less noise there is.",
        score,
        [
            Mistake(
                "the sign: the score points towards more probable places, against the noise.",
                lambda schedule, t, eps: eps / (1 - schedule.alpha_bar[t]).sqrt(),
            ),
            Mistake(
                "the division is by the variance; `eps` has variance 1 already, so divide by the standard deviation.",
                lambda schedule, t, eps: -eps / (1 - schedule.alpha_bar[t]),
            ),
            Mistake(
                "direction right, length wrong: divide by the standard deviation of the noise.",
                lambda schedule, t, eps: -eps,
            ),
            Mistake(
                "sign and length are wrong: the score points against the noise, and `eps` must be divided by the "
                "standard deviation of the noise.",
                lambda schedule, t, eps: eps,
            ),
            Mistake(
                "you multiplied by the standard deviation of the noise; divide by it.",
                lambda schedule, t, eps: -eps * (1 - schedule.alpha_bar[t]).sqrt(),
            ),
        ],
        lambda: [(schedule, t, eps) for schedule, _, eps, t in _pictures(linear(), (10, 300, 900))],
    ),
    Exercise(
        "reverse.noise_back",
        "Write `noise_back(schedule, t)`: what fresh standard noise is multiplied by in DDPM's step back from t to "
        "`t - 1`, with the smaller of its two fixed variances.",
        "A standard deviation: the square root of `beta_tilde_t`. What must it be at the last step, `t = 1`?",
        noise_back,
        [
            Mistake(
                "that is the variance `beta_tilde_t`; noise is multiplied by its square root.",
                lambda schedule, t: noise_back(schedule, t) ** 2,
            ),
            Mistake(
                "that is `sqrt(beta_t)`, the larger of the two choices; at `t = 1` it adds noise to the finished "
                "picture.",
                lambda schedule, t: _table(schedule, t)[3].sqrt(),
            ),
            Mistake(
                "that is `sqrt(1 - alpha_bar_{t-1})`, all the noise in x at `t - 1`: `beta_tilde_t` has one step's "
                "`beta_t`, `1 - alpha_bar_t / alpha_bar_{t-1}`, and not `1 - alpha_bar_t`.",
                lambda schedule, t: (1 - schedule.alpha_bar[t - 1]).sqrt(),
            ),
            Mistake(
                "that is `beta_t`: the variance of the step forward.",
                lambda schedule, t: _table(schedule, t)[3],
            ),
            Mistake(
                "off by one: that is the step from `t + 1` to t. Yours adds noise at the last step, `t = 1`, where "
                "there must be none.",
                lambda schedule, t: noise_back(schedule, t + 1),
            ),
        ],
        lambda: [(BIG_STEPS, t) for t in (1, 2, 8, 19)],
    ),
]
