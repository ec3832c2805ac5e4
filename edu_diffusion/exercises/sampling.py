"""Exercises of lesson 11: DDIM, eta, the line through two guesses, spacing, inversion, slerp, order."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from edu_diffusion.diffusion import linear, q_posterior, q_step
from edu_diffusion.exercises.core import Exercise, Mistake

SCHEDULE = linear()


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _seeded(inputs: list[tuple]) -> Iterator[tuple]:
    """The inputs, under one state of torch's own random numbers: an answer that draws noise itself is recognised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)  # no seed of the inputs: noise drawn by an answer is none of them
        yield from inputs


def _signal(t: int) -> float:
    return math.sqrt(SCHEDULE.alpha_bar[t].item())


def _noise(t: int) -> float:
    return math.sqrt(1 - SCHEDULE.alpha_bar[t].item())


def _x0(x_t: Tensor, eps: Tensor, t: int) -> Tensor:
    return (x_t - _noise(t) * eps) / _signal(t)


def ddim(x_t, eps, t, s):
    schedule = linear()
    x0 = (x_t - schedule.noise(t, x_t) * eps) / schedule.signal(t, x_t)
    return schedule.signal(s, x_t) * x0 + schedule.noise(s, x_t) * eps


DDIM = Exercise(
    "sampling.ddim",
    "Write ddim(x_t, eps, t, s): the step from x_t to an earlier time s, DDIM eq. 12 with sigma = 0, for the schedule "
    "linear(). eps is the predicted noise.",
    "First the predicted x0: solve x_t = signal_t x0 + noise_t eps. Then mix x0 and the same eps again, as they are "
    "mixed at time s. schedule.signal(t, x_t) and schedule.noise(t, x_t) are the two coefficients.",
    ddim,
    [
        Mistake(
            "you kept eps at the strength that it has at t. At s there is less noise: multiply eps by noise(s).",
            lambda x_t, eps, t, s: _signal(s) * _x0(x_t, eps, t) + _noise(t) * eps,
        ),
        Mistake(
            "you multiplied x0 by the signal of t. The new mixture is that of s: signal(s) and noise(s).",
            lambda x_t, eps, t, s: _signal(t) * _x0(x_t, eps, t) + _noise(s) * eps,
        ),
        Mistake(
            "you put x_t where the predicted x0 belongs, so the old noise is still in it. Solve for x0 first.",
            lambda x_t, eps, t, s: _signal(s) * x_t + _noise(s) * eps,
        ),
        Mistake(
            "your x0 is not divided by signal(t): the noise is taken away, but the picture is still faded.",
            lambda x_t, eps, t, s: _signal(s) * (x_t - _noise(t) * eps) + _noise(s) * eps,
        ),
        Mistake(
            "you multiplied eps by the variance 1 - alpha_bar_s. A standard deviation belongs there: its square root.",
            lambda x_t, eps, t, s: _signal(s) * _x0(x_t, eps, t) + _noise(s) ** 2 * eps,
        ),
        Mistake(
            "you multiplied x0 by alpha_bar_s. Its square root belongs there.",
            lambda x_t, eps, t, s: _signal(s) ** 2 * _x0(x_t, eps, t) + _noise(s) * eps,
        ),
        Mistake(
            "both square roots are missing: x_s = sqrt(alpha_bar_s) x0 + sqrt(1 - alpha_bar_s) eps.",
            lambda x_t, eps, t, s: _signal(s) ** 2 * _x0(x_t, eps, t) + _noise(s) ** 2 * eps,
        ),
        Mistake(
            "you drew fresh noise. DDIM's point is to keep the noise that was predicted, eps.",
            lambda x_t, eps, t, s: _signal(s) * _x0(x_t, eps, t) + _noise(s) * torch.randn_like(x_t),
        ),
        Mistake(
            "the noise is missing. At time s there is still some: add noise(s) eps.",
            lambda x_t, eps, t, s: _signal(s) * _x0(x_t, eps, t),
        ),
        Mistake(
            "that is the predicted x0 itself, a jump to the end. Mix it with eps again, as at time s.",
            lambda x_t, eps, t, s: _x0(x_t, eps, t),
        ),
        Mistake(
            "you went to t - 1. The step goes to s, which may be far below t.",
            lambda x_t, eps, t, s: ddim(x_t, eps, t, t - 1),
        ),
        Mistake(
            "t and s are swapped: x_t is at time t, and the new mixture is that of s.",
            lambda x_t, eps, t, s: ddim(x_t, eps, s, t),
        ),
        Mistake(
            "that is the mean of the ancestral step. Without its fresh noise there is too little noise in it for time "
            "s; DDIM keeps the full noise(s), as predicted noise.",
            lambda x_t, eps, t, s: q_posterior(SCHEDULE, _x0(x_t, eps, t), x_t, t, s)[0],
        ),
    ],
    lambda: _seeded(
        [
            (_normal(5, 2, seed=t), _normal(5, 2, seed=t + 1), t, s)
            for t, s in ((1000, 900), (600, 300), (300, 100), (50, 0))
        ]
    ),
)


def eta_step(x_t, eps, t, s, eta, z):
    schedule = linear()
    sigma = eta * math.sqrt(schedule.beta_tilde(t, s, x_t))
    kept = math.sqrt(schedule.noise(s, x_t) ** 2 - sigma**2)
    x0 = (x_t - schedule.noise(t, x_t) * eps) / schedule.signal(t, x_t)
    return schedule.signal(s, x_t) * x0 + kept * eps + sigma * z


def _mixed(sigma: Callable, kept: Callable | None = None, fresh: Callable | None = None) -> Callable:
    """A step with other coefficients: `sigma(eta, t, s)`, `kept(noise_s, sigma)` of eps, `fresh(sigma)` of z."""

    def wrong(x_t, eps, t, s, eta, z):
        std = sigma(eta, t, s)
        of_eps = math.sqrt(max(_noise(s) ** 2 - std**2, 0.0)) if kept is None else kept(_noise(s), std)
        of_z = std if fresh is None else fresh(std)
        return _signal(s) * _x0(x_t, eps, t) + of_eps * eps + of_z * z

    return wrong


def _beta_tilde(t: int, s: int) -> float:
    return SCHEDULE.beta_tilde(t, s, torch.zeros(1))


def _right_sigma(eta: float, t: int, s: int) -> float:
    return eta * math.sqrt(_beta_tilde(t, s))


ETA = Exercise(
    "sampling.eta",
    "Write eta_step(x_t, eps, t, s, eta, z): DDIM's step with some fresh noise z, eq. 12 and 16, for the schedule "
    "linear(). eta = 0 adds none, eta = 1 as much as ancestral sampling.",
    "sigma = eta sqrt(beta_tilde), with schedule.beta_tilde(t, s, x_t). The noise at s has the variance noise(s)**2 in "
    "all: sigma**2 of it is fresh, the rest is eps.",
    eta_step,
    [
        Mistake(
            "you added fresh noise and kept all of eps too, so there is too much noise for time s. Of the variance "
            "noise(s)**2 only noise(s)**2 - sigma**2 is left for eps.",
            _mixed(_right_sigma, kept=lambda noise, sigma: noise),
        ),
        Mistake(
            "you subtracted the standard deviations. Variances add: eps gets sqrt(noise(s)**2 - sigma**2).",
            _mixed(_right_sigma, kept=lambda noise, sigma: noise - sigma),
        ),
        Mistake(
            "sigma is a standard deviation: eta times the square root of beta_tilde.",
            _mixed(lambda eta, t, s: eta * _beta_tilde(t, s)),
        ),
        Mistake(
            "eta stands outside the root in eq. 16: sigma = eta sqrt(beta_tilde).",
            _mixed(lambda eta, t, s: math.sqrt(eta * _beta_tilde(t, s))),
        ),
        Mistake(
            "you took beta, DDPM's larger variance. In eq. 16 eta = 1 is beta_tilde, the smaller one.",
            _mixed(lambda eta, t, s: eta * math.sqrt(SCHEDULE.beta(t, s, torch.zeros(1)))),
        ),
        Mistake(
            "you multiplied z by sigma squared, a variance. Noise is multiplied by a standard deviation.",
            _mixed(_right_sigma, fresh=lambda sigma: sigma**2),
        ),
        Mistake(
            "you made eta the share of all the noise at s. At eta = 1 the step must be the ancestral one, which renews "
            "beta_tilde only: sigma = eta sqrt(beta_tilde).",
            _mixed(lambda eta, t, s: eta * _noise(s)),
        ),
        Mistake(
            "you faded from eps to z on a straight line. Two independent noises add in their variances, and at eta = 1 "
            "a part of eps must still be there.",
            lambda x_t, eps, t, s, eta, z: _signal(s) * _x0(x_t, eps, t) + _noise(s) * ((1 - eta) * eps + eta * z),
        ),
        Mistake(
            "you left z out, so eta takes noise away and puts none back. Add sigma z.",
            _mixed(_right_sigma, fresh=lambda sigma: 0.0),
        ),
        Mistake(
            "you ignored eta: that is the step with eta = 0.",
            lambda x_t, eps, t, s, eta, z: ddim(x_t, eps, t, s),
        ),
        Mistake(
            "you ignored eta: that is the step with eta = 1.",
            lambda x_t, eps, t, s, eta, z: eta_step(x_t, eps, t, s, 1.0, z),
        ),
        Mistake(
            "you drew noise of your own. Use the z that was given, so that a walk can be repeated.",
            lambda x_t, eps, t, s, eta, z: eta_step(x_t, eps, t, s, eta, torch.randn_like(x_t)),
        ),
    ],
    lambda: _seeded(
        [
            (_normal(5, 2, seed=t), _normal(5, 2, seed=t + 1), t, s, eta, _normal(5, 2, seed=t + 2))
            for t, s, eta in ((1000, 900, 0.5), (600, 300, 0.5), (300, 200, 0.8), (500, 250, 0.0), (400, 300, 1.0))
        ]
    ),
)


def aim(x0, x0_before, times):
    before, t, s = (linear().log_snr(time) / 2 for time in times)
    ahead = (s - t) / (2 * (t - before))
    return x0 + ahead * (x0 - x0_before)


def _aim_on(clock: Callable[[int], float]) -> Callable:
    """The same line, drawn over another clock."""

    def wrong(x0, x0_before, times):
        before, t, s = (clock(time) for time in times)
        return x0 + (s - t) / (2 * (t - before)) * (x0 - x0_before)

    return wrong


def _ahead(times: tuple[int, int, int]) -> float:
    before, t, s = (SCHEDULE.log_snr(time) / 2 for time in times)
    return (s - t) / (2 * (t - before))


AIM = Exercise(
    "sampling.aim",
    "Write aim(x0, x0_before, times): the straight line through the last two predicted x0, taken at the middle of the "
    "coming step, on the clock lambda = half the log-SNR of the schedule linear(). times = (before, t, s): x0_before "
    "was predicted at the first, x0 at the second, and the step goes from t to s.",
    "linear().log_snr(t) / 2 is the clock. The line rises by x0 - x0_before over the last step; from t to the middle "
    "of the coming step it is half of that step's length on the clock.",
    aim,
    [
        Mistake(
            "you took the line at the end of the step. What counts is about its mean over the step, so take it at the "
            "middle: half as far.",
            lambda x0, x0_before, times: x0 + 2 * _ahead(times) * (x0 - x0_before),
        ),
        Mistake(
            "your ratio is upside down: the coming step's length stands above, the last step's below.",
            lambda x0, x0_before, times: x0 + 1 / (4 * _ahead(times)) * (x0 - x0_before),
        ),
        Mistake(
            "you went back along the line. The step goes on: add the difference x0 - x0_before, do not subtract it.",
            lambda x0, x0_before, times: x0 - _ahead(times) * (x0 - x0_before),
        ),
        Mistake(
            "the two guesses are swapped: the line goes on from x0, the newer one.",
            lambda x0, x0_before, times: x0_before + _ahead(times) * (x0_before - x0),
        ),
        Mistake(
            "you started from the older guess. The line goes on from x0.",
            lambda x0, x0_before, times: x0_before + _ahead(times) * (x0 - x0_before),
        ),
        Mistake(
            "you drew the line over t. The solver's clock is lambda, half the log-SNR: steps that are equal in t are "
            "not equal there.",
            _aim_on(float),
        ),
        Mistake(
            "you drew the line over alpha_bar. The solver's clock is lambda, half the log-SNR.",
            _aim_on(lambda t: SCHEDULE.alpha_bar[t].item()),
        ),
        Mistake(
            "you drew the line over noise / signal. The solver's clock is its logarithm, with a minus: lambda.",
            _aim_on(lambda t: _noise(t) / _signal(t)),
        ),
        Mistake(
            "you drew the line over the signal-to-noise ratio. Its logarithm is the clock.",
            _aim_on(lambda t: (_signal(t) / _noise(t)) ** 2),
        ),
        Mistake(
            "you took half of the rise and left the lengths of the two steps out. They differ on the clock: multiply "
            "by their ratio.",
            lambda x0, x0_before, times: x0 + 0.5 * (x0 - x0_before),
        ),
        Mistake(
            "you took the mean of the two guesses. That lies behind x0; the step goes on from it.",
            lambda x0, x0_before, times: (x0 + x0_before) / 2,
        ),
        Mistake("you returned x0 unchanged: that is the method of first order, DDIM.", lambda x0, x0_before, times: x0),
    ],
    lambda: [
        (_normal(5, 2, seed=i), _normal(5, 2, seed=i + 10), times)
        for i, times in enumerate([(1000, 930, 800), (600, 400, 150), (300, 120, 50)])
    ],
)


def spacing(T, n):
    return [round(T * (n - i) / n) for i in range(n + 1)]


SPACING = Exercise(
    "sampling.spacing",
    "Write spacing(T, n): the times that a sampler of n evenly spaced steps visits, as a list of whole numbers from T "
    "down to 0.",
    "n steps have n + 1 stops. The i-th is T (n - i) / n, rounded to the nearest whole number.",
    spacing,
    [
        Mistake(
            "your list begins below T ('leading'). The sampler starts from pure noise, so its first time must be T.",
            lambda T, n: [1 + T // n * i for i in reversed(range(n))] + [0],
        ),
        Mistake(
            "your list begins below T and has only n stops: multiples of T // n, without T itself.",
            lambda T, n: [T // n * i for i in reversed(range(n))],
        ),
        Mistake("your times rise. Sampling walks from T down to 0.", lambda T, n: spacing(T, n)[::-1]),
        Mistake(
            "the last stop is missing: the list must end at 0, the clean data.",
            lambda T, n: spacing(T, n)[:-1],
        ),
        Mistake(
            "you spread n times from T to 1 and then added 0: the last step, from 1 to 0, does almost nothing. Spread "
            "n + 1 stops from T to 0.",
            lambda T, n: [round(T - i * (T - 1) / (n - 1)) for i in range(n)] + [0],
        ),
        Mistake(
            "those are n stops, so n - 1 steps. n steps have n + 1 stops.",
            lambda T, n: [round(T - i * T / (n - 1)) for i in range(n)],
        ),
        Mistake(
            "you walk in strides of T // n. Where n does not divide T, they do not end at 0.",
            lambda T, n: [T - T // n * i for i in range(n + 1)],
        ),
        Mistake(
            "you cut the fractions off. Any sampler would work with these times, but here the nearest whole number is "
            "asked for: round.",
            lambda T, n: [T * (n - i) // n for i in range(n + 1)],
        ),
        Mistake(
            "your times are not whole numbers. The network was trained on whole t: round.",
            lambda T, n: [T * (n - i) / n for i in range(n + 1)],
        ),
    ],
    lambda: [(1000, 10), (1000, 3), (1000, 7), (100, 4)],
)


def invert(x_s, eps, s, t):
    schedule = linear()
    x0 = (x_s - schedule.noise(s, x_s) * eps) / schedule.signal(s, x_s)
    return schedule.signal(t, x_s) * x0 + schedule.noise(t, x_s) * eps


INVERT = Exercise(
    "sampling.invert",
    "Write invert(x_s, eps, s, t): one step of DDIM backwards, from x_s to a later time t, for the schedule linear(). "
    "eps is what the network predicted from x_s.",
    "The same two lines as DDIM's step: which x0 belongs to x_s and eps at time s? Mix it with eps as at time t.",
    invert,
    [
        Mistake(
            "you took a forward step of lesson 06, with eps for the fresh noise. But eps is already in x_s, it is not "
            "independent of it: take it out first, then mix again as at time t.",
            lambda x_s, eps, s, t: q_step(SCHEDULE, x_s, t, s, eps),
        ),
        Mistake(
            "you left the noise that is in x_s where it is and added that of t. Solve for x0 first.",
            lambda x_s, eps, s, t: _signal(t) * x_s + _noise(t) * eps,
        ),
        Mistake(
            "your x0 is not divided by signal(s): the noise is taken away, but the picture is still faded.",
            lambda x_s, eps, s, t: _signal(t) * (x_s - _noise(s) * eps) + _noise(t) * eps,
        ),
        Mistake(
            "you kept eps at the strength that it has at s. At t there is more noise: noise(t).",
            lambda x_s, eps, s, t: _signal(t) * _x0(x_s, eps, s) + _noise(s) * eps,
        ),
        Mistake(
            "you multiplied x0 by the signal of s. The new mixture is that of t.",
            lambda x_s, eps, s, t: _signal(s) * _x0(x_s, eps, s) + _noise(t) * eps,
        ),
        Mistake(
            "s and t are swapped: that is a step down, towards the data.",
            lambda x_s, eps, s, t: invert(x_s, eps, t, s),
        ),
        Mistake(
            "you multiplied eps by the variance 1 - alpha_bar_t. A standard deviation belongs there: its square root.",
            lambda x_s, eps, s, t: _signal(t) * _x0(x_s, eps, s) + _noise(t) ** 2 * eps,
        ),
        Mistake(
            "you added fresh noise. Then the way down cannot find the way back: use the eps that was predicted.",
            lambda x_s, eps, s, t: _signal(t) * _x0(x_s, eps, s) + _noise(t) * torch.randn_like(x_s),
        ),
    ],
    lambda: _seeded(
        [
            (_normal(5, 2, seed=t), _normal(5, 2, seed=t + 1), s, t)
            for s, t in ((0, 100), (100, 400), (400, 700), (700, 1000))
        ]
    ),
)


def slerp(a, b, share):
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)
    angle = cosine.acos().reshape(-1, *[1] * (a.ndim - 1))
    weight_a, weight_b = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return (weight_a * a + weight_b * b) / torch.sin(angle)


def _straight(a: Tensor, b: Tensor, share: float) -> Tensor:
    return (1 - share) * a + share * b


def _stretched(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The straight line, each point moved out to the length that lies the same share of the way between the ends'."""
    line = _straight(a, b, share)
    length = [x.flatten(1).norm(dim=1).reshape(-1, *[1] * (a.ndim - 1)) for x in (a, b, line)]
    return line * _straight(length[0], length[1], share) / length[2]


def _one_angle(a: Tensor, b: Tensor, share: float) -> Tensor:
    angle = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).acos()
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def _undivided(a: Tensor, b: Tensor, share: float) -> Tensor:
    angle = torch.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).acos()
    return slerp(a, b, share) * torch.sin(angle).reshape(-1, *[1] * (a.ndim - 1))


SLERP = Exercise(
    "sampling.slerp",
    "Write slerp(a, b, share): the point `share` of the way from a to b along the great circle, for batches of noise "
    "(n, ...); each example is one vector, whatever its shape.",
    "The angle between two vectors is the arc cosine of their cosine_similarity, over all axes but the first. The "
    "weights are sin((1 - share) angle) / sin(angle) and sin(share angle) / sin(angle).",
    slerp,
    [
        Mistake(
            "that is the straight line. It passes nearer to the origin than noise ever lies: weigh with sines.",
            _straight,
        ),
        Mistake(
            "that is the straight line, stretched to the right length. It lies on the circle, but does not move along "
            "it at an even pace: at a quarter of the way it is not a quarter of the angle.",
            _stretched,
        ),
        Mistake(
            "a and b are swapped: at share 0 the result must be a.",
            lambda a, b, share: slerp(b, a, share),
        ),
        Mistake("the division by sin(angle) is missing.", _undivided),
        Mistake(
            "you took the angle for a right one. For two long vectors of noise it nearly is, but not for any two.",
            lambda a, b, share: math.cos(share * math.pi / 2) * a + math.sin(share * math.pi / 2) * b,
        ),
        Mistake(
            "those weights keep the variance of two independent noises, but the pace along the arc is not even. Weigh "
            "with sines of the angle.",
            lambda a, b, share: math.sqrt(1 - share) * a + math.sqrt(share) * b,
        ),
        Mistake(
            "you took one angle for the whole batch. Each example has its own: cosine_similarity over all axes but the "
            "first.",
            _one_angle,
        ),
    ],
    lambda: [(_normal(3, 1, 2, 2, seed=1), _normal(3, 1, 2, 2, seed=2), share) for share in (0.0, 0.2, 0.5, 0.7)],
)


def order(coarse, fine):
    return math.log2(coarse / fine)


ORDER = Exercise(
    "sampling.order",
    "A solver has the error `coarse` with n steps and `fine` with 2n. Write order(coarse, fine): its order of "
    "convergence p, if the error is C / n**p.",
    "coarse / fine = 2**p.",
    order,
    [
        Mistake(
            "you took the natural logarithm. The number of steps was doubled: the logarithm to base 2 says how many "
            "halvings of the error that brought.",
            lambda coarse, fine: math.log(coarse / fine),
        ),
        Mistake(
            "you took the logarithm to base 10. The number of steps was doubled: take base 2.",
            lambda coarse, fine: math.log10(coarse / fine),
        ),
        Mistake(
            "the ratio is upside down, so your order is negative: a larger p must mean a smaller fine error.",
            lambda coarse, fine: math.log2(fine / coarse),
        ),
        Mistake("that is 2**p. Take its logarithm.", lambda coarse, fine: coarse / fine),
        Mistake(
            "half the ratio is p for first and second order only. In general 2**p is the ratio: take its logarithm.",
            lambda coarse, fine: coarse / fine / 2,
        ),
        Mistake(
            "you subtracted the errors. C is not known; in their ratio it cancels.",
            lambda coarse, fine: coarse - fine,
        ),
    ],
    lambda: [(0.08, 0.04), (0.08, 0.02), (0.5, 0.03)],
)

EXERCISES: list[Exercise] = [DDIM, ETA, AIM, SPACING, INVERT, SLERP, ORDER]
