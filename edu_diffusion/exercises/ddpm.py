"""Exercises of lesson 09: the loss, the step back, and the ways in which both go wrong."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from edu_diffusion.diffusion import linear
from edu_diffusion.exercises.core import Exercise, Mistake

SCHEDULE = linear()


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _seeded(inputs: list[tuple]) -> Iterator[tuple]:
    """The inputs, under one state of torch's own random numbers: an answer that draws noise itself is recognised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)  # no seed of the inputs: noise drawn by an answer is none of them
        yield from inputs


def toy_net(x_t: Tensor, t: Tensor) -> Tensor:
    """A network that is no network: it depends on x_t and on t, in the units it was "trained" with."""
    return torch.tanh(x_t) * (1 + t.float().reshape(-1, 1) / 1000)


def _mixed(x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    return SCHEDULE.signal(t, x0) * x0 + SCHEDULE.noise(t, x0) * eps


def _squared(error: Tensor) -> Tensor:
    return error.square().flatten(1).mean(1)


def loss(net, x0, t, eps):
    schedule = linear()
    x_t = schedule.signal(t, x0) * x0 + schedule.noise(t, x0) * eps
    return (eps - net(x_t, t.float())).square().flatten(1).mean(1)


def _loss_with_beta(net, x0, t, eps):
    beta = SCHEDULE.beta(t, t - 1, x0)
    return _squared(eps - net((1 - beta).sqrt() * x0 + beta.sqrt() * eps, t.float()))


def _loss_with_powers(signal: int, noise: int):
    """x_t mixed with other powers of the two coefficients: 2 where the square root was left out."""

    def wrong(net, x0, t, eps):
        x_t = SCHEDULE.signal(t, x0) ** signal * x0 + SCHEDULE.noise(t, x0) ** noise * eps
        return _squared(eps - net(x_t, t.float()))

    return wrong


def _loss_of_the_time_before(net, x0, t, eps):
    return _squared(eps - net(_mixed(x0, t - 1, eps), t.float()))


LOSS = Exercise(
    "ddpm.loss",
    "Write loss(net, x0, t, eps): L_simple of DDPM eq. 14, one number for each example, for the schedule linear() and "
    "a net(x_t, t) that guesses eps.",
    "Mix first: x_t = signal x0 + noise eps, with schedule.signal(t, x0) and schedule.noise(t, x0). Then compare eps "
    "with net(x_t, t), square, and take the mean over everything but the batch.",
    loss,
    [
        Mistake(
            "you mixed with one step's beta, sqrt(1 - beta) and sqrt(beta). x_t has the noise of all steps up to t: "
            "use signal = sqrt(alpha_bar) and noise = sqrt(1 - alpha_bar).",
            _loss_with_beta,
        ),
        Mistake(
            "you multiplied eps by the variance 1 - alpha_bar. Noise is multiplied by a standard deviation: its "
            "square root.",
            _loss_with_powers(1, 2),
        ),
        Mistake(
            "you multiplied x0 by alpha_bar, the share of the variance that is left. x0 itself is multiplied by its "
            "square root.",
            _loss_with_powers(2, 1),
        ),
        Mistake(
            "both square roots are missing: x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.",
            _loss_with_powers(2, 2),
        ),
        Mistake(
            "you mixed with the coefficients of t - 1. The table alpha_bar has an entry for t = 0 (clean), so that of "
            "time t is alpha_bar[t].",
            _loss_of_the_time_before,
        ),
        Mistake(
            "you told the network t - 1. It was trained on t = 1..1000, the paper's times: give it t.",
            lambda net, x0, t, eps: _squared(eps - net(_mixed(x0, t, eps), t.float() - 1)),
        ),
        Mistake(
            "you mixed with fresh noise and compared with the eps that was given. They must be the same noise: the "
            "network can only guess what is in x_t.",
            lambda net, x0, t, eps: _squared(eps - net(_mixed(x0, t, torch.randn_like(x0)), t.float())),
        ),
        Mistake(
            "you mixed with the eps that was given and compared with fresh noise. They must be the same noise: the "
            "network can only guess what is in x_t.",
            lambda net, x0, t, eps: _squared(torch.randn_like(x0) - net(_mixed(x0, t, eps), t.float())),
        ),
        Mistake(
            "you drew new noise in place of the eps that was given. Use the argument eps, so that a loss can be "
            "repeated and compared.",
            lambda net, x0, t, eps: loss(net, x0, t, torch.randn_like(x0)),
        ),
        Mistake(
            "you summed over the pixels, as the norm in the paper does. The course takes their mean, so that the size "
            "of a picture does not matter.",
            lambda net, x0, t, eps: (eps - net(_mixed(x0, t, eps), t.float())).square().flatten(1).sum(1),
        ),
        Mistake(
            "you took the root, the length of the error. L_simple has its square.",
            lambda net, x0, t, eps: loss(net, x0, t, eps).sqrt(),
        ),
        Mistake(
            "you compared the network's output with x0. This network guesses the noise: compare it with eps.",
            lambda net, x0, t, eps: _squared(x0 - net(_mixed(x0, t, eps), t.float())),
        ),
        Mistake(
            "you gave the network t / T. It was trained on t = 1..1000, so for it every t / T is about 0.",
            lambda net, x0, t, eps: _squared(eps - net(_mixed(x0, t, eps), t.float() / SCHEDULE.T)),
        ),
        Mistake(
            "you gave the network the clean x0. It must see x_t, with the noise in it.",
            lambda net, x0, t, eps: _squared(eps - net(x0, t.float())),
        ),
        Mistake(
            "you returned one number for the whole batch. Keep one for each example, the mean over all but the first "
            "axis.",
            lambda net, x0, t, eps: (eps - net(_mixed(x0, t, eps), t.float())).square().mean(),
        ),
    ],
    lambda: _seeded([(toy_net, _normal(6, 3), torch.tensor([1, 10, 100, 400, 700, 1000]), _normal(6, 3, seed=1))]),
)


def step(eps_hat, x_t, t, z):
    schedule = linear()
    beta, alpha_bar = schedule.beta(t, t - 1, x_t), schedule.alpha_bar[t].item()
    mean = (x_t - beta / math.sqrt(1 - alpha_bar) * eps_hat) / math.sqrt(1 - beta)
    sigma = math.sqrt(schedule.beta_tilde(t, t - 1, x_t))
    return mean + sigma * z if t > 1 else mean


def _step(eps_hat, x_t, t, z, *, share=None, root=True, mean=None, sigma=None, noisy_end=False):
    """One step with any of the usual mistakes.

    `share(beta, alpha_bar, before)` is what eps_hat's factor divides by, under a root if `root`. `mean(x_t, pull,
    alpha)` puts x_t and what is taken from it together. `sigma(beta, beta_tilde)` multiplies z.
    """
    alpha_bar, before = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[t - 1].item()
    beta, beta_tilde = SCHEDULE.beta(t, t - 1, x_t), SCHEDULE.beta_tilde(t, t - 1, x_t)
    spread = 1 - alpha_bar if share is None else share(beta, alpha_bar, before)
    pull = beta / (math.sqrt(spread) if root else spread) * eps_hat
    here = (x_t - pull) / math.sqrt(1 - beta) if mean is None else mean(x_t, pull, 1 - beta)
    if t == 1 and not noisy_end:
        return here
    return here + (math.sqrt(beta_tilde) if sigma is None else sigma(beta, beta_tilde)) * z


def _own_noise(eps_hat, x_t, t, z):
    return step(eps_hat, x_t, t, torch.randn_like(x_t))


def _wrong(**kinds):
    return lambda eps_hat, x_t, t, z: _step(eps_hat, x_t, t, z, **kinds)


def _step_inputs() -> list[tuple]:
    return [
        (_normal(5, 2, seed=t), _normal(5, 2, seed=t + 1), t, _normal(5, 2, seed=t + 2)) for t in (1000, 500, 100, 2, 1)
    ]


STEP = Exercise(
    "ddpm.step",
    "Write step(eps_hat, x_t, t, z): from x_t to x_(t-1), Algorithm 2 of DDPM, for the schedule linear() and the "
    "variance beta_tilde. z is standard normal.",
    "The mean is (x_t - beta / sqrt(1 - alpha_bar) eps_hat) / sqrt(1 - beta). Then add sqrt(beta_tilde) z, unless "
    "nothing comes after.",
    step,
    [
        Mistake(
            "you add noise at the last step (t = 1) as well. Nothing comes after it to remove that noise: return the "
            "mean there.",
            _wrong(noisy_end=True, sigma=lambda beta, beta_tilde: math.sqrt(beta)),
        ),
        Mistake(
            "your noise has variance beta, the paper's other choice ('fixed large'). Here beta_tilde is asked for.",
            _wrong(sigma=lambda beta, beta_tilde: math.sqrt(beta)),
        ),
        Mistake(
            "you multiply z by the variance beta_tilde. A standard deviation belongs there: its square root.",
            _wrong(sigma=lambda beta, beta_tilde: beta_tilde),
        ),
        Mistake(
            "you return the mean alone. Every step but the last adds fresh noise, sqrt(beta_tilde) z: without it the "
            "pictures come out blurred.",
            _wrong(sigma=lambda beta, beta_tilde: 0.0),
        ),
        Mistake(
            "you drew noise of your own. Use the z that was given, so that a walk can be repeated.",
            _own_noise,
        ),
        Mistake(
            "you divide by sqrt(1 - alpha_t), which is sqrt(beta). alpha_bar, the product of all alphas up to t, "
            "belongs there.",
            _wrong(share=lambda beta, alpha_bar, before: beta),
        ),
        Mistake(
            "you divide beta by 1 - alpha_bar. Its square root belongs there, the standard deviation of the noise in "
            "x_t.",
            _wrong(root=False),
        ),
        Mistake(
            "you divide beta by sqrt(alpha_bar), the signal. The noise belongs there: sqrt(1 - alpha_bar).",
            _wrong(share=lambda beta, alpha_bar, before: alpha_bar),
        ),
        Mistake(
            "you took alpha_bar of t - 1. The table has an entry for t = 0, so that of time t is alpha_bar[t].",
            # At t = 1 that divides by 0: with tensors it gives inf, as here.
            _wrong(share=lambda beta, alpha_bar, before: 1 - before or 1e-300),
        ),
        Mistake(
            "you subtract beta times eps. The factor is beta / sqrt(1 - alpha_bar).",
            _wrong(share=lambda beta, alpha_bar, before: 1.0),
        ),
        Mistake(
            "you add the noise's part to x_t. A step back takes noise away: subtract it.",
            _wrong(mean=lambda x_t, pull, alpha: (x_t + pull) / math.sqrt(alpha)),
        ),
        Mistake(
            "you forgot to divide by sqrt(1 - beta): a step forwards shrinks the data, so a step back must enlarge it.",
            _wrong(mean=lambda x_t, pull, alpha: x_t - pull),
        ),
        Mistake(
            "you divide the whole by 1 - beta. A step forwards multiplied by its square root: divide by that.",
            _wrong(mean=lambda x_t, pull, alpha: (x_t - pull) / alpha),
        ),
        Mistake(
            "you multiply by sqrt(1 - beta), as a step forwards does. A step back divides by it.",
            _wrong(mean=lambda x_t, pull, alpha: (x_t - pull) * math.sqrt(alpha)),
        ),
    ],
    lambda: _seeded(_step_inputs()),
)


def respace(alpha_bar, t, s):
    return 1 - alpha_bar[t] / alpha_bar[s]


def _product_of_one(alpha_bar, t, s):
    return 1 - alpha_bar[t] / alpha_bar[t - 1]


def _sum_of_betas(alpha_bar, t, s):
    return (1 - alpha_bar[s + 1 : t + 1] / alpha_bar[s:t]).sum()


RESPACE = Exercise(
    "ddpm.respace",
    "Write respace(alpha_bar, t, s): the variance of the noise that is added from time s to time t, for any s < t.",
    "For neighbours beta_t = 1 - alpha_bar[t] / alpha_bar[t - 1]. Which table entry is 'the time before' if steps are "
    "left out?",
    respace,
    [
        Mistake(
            "you used the beta of one step, from t - 1 to t. A sampler that jumps from t to s must remove the noise "
            "of all steps between: divide by alpha_bar[s].",
            _product_of_one,
        ),
        Mistake(
            "you subtracted instead of dividing. alpha_bar is a product, so what happened between s and t is a ratio.",
            lambda alpha_bar, t, s: alpha_bar[s] - alpha_bar[t],
        ),
        Mistake(
            "you are off by one: alpha_bar has an entry for t = 0, so alpha_bar[t] is already the entry of time t.",
            lambda alpha_bar, t, s: 1 - alpha_bar[t - 1] / alpha_bar[max(s - 1, 0)],
        ),
        Mistake(
            "you divided by alpha_bar[s - 1]. The table has an entry for t = 0, so the one of time s is alpha_bar[s].",
            lambda alpha_bar, t, s: 1 - alpha_bar[t] / alpha_bar[max(s - 1, 0)],
        ),
        Mistake(
            "you added up the betas of the steps between. Each step also shrinks what was there before, noise too: the "
            "alphas multiply, the betas do not add.",
            _sum_of_betas,
        ),
        Mistake(
            "the ratio is upside down, so your beta is negative: alpha_bar falls with time, and the later one, of t, "
            "stands above.",
            lambda alpha_bar, t, s: 1 - alpha_bar[s] / alpha_bar[t],
        ),
        Mistake(
            "that is what is left of the signal, alpha; beta is 1 minus it.",
            lambda alpha_bar, t, s: alpha_bar[t] / alpha_bar[s],
        ),
    ],
    lambda: [(SCHEDULE.alpha_bar, t, s) for t, s in ((1000, 950), (500, 250), (100, 50), (50, 0))],
)


def clip(x_t, x0, eps, alpha_bar):
    x0 = x0.clamp(-1, 1)
    return x0, (x_t - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)


def _clip_and_divide_by(x_t, x0, divisor, signal):
    x0 = x0.clamp(-1, 1)
    return x0, (x_t - signal * x0) / divisor


def _clip_inputs() -> list[tuple]:
    x0, eps = 1.5 * _normal(6, 2), _normal(6, 2, seed=1)
    return [(math.sqrt(a) * x0 + math.sqrt(1 - a) * eps, x0, eps, a) for a in (0.9, 0.5, 0.05)]


CLIP = Exercise(
    "ddpm.clip",
    "Write clip(x_t, x0, eps, alpha_bar): the predicted x0 cut to [-1, 1], and the eps that belongs to it. Return "
    "both.",
    "x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps holds before and after. Solve it for eps.",
    clip,
    [
        Mistake(
            "you clipped x0 and left eps as it was. Now the two contradict each other: x_t = signal x0 + noise eps no "
            "longer holds. Compute eps from x_t and the new x0.",
            lambda x_t, x0, eps, alpha_bar: (x0.clamp(-1, 1), eps),
        ),
        Mistake(
            "you clipped eps too. Only pixels have a range; noise may be of any size. Compute eps again, from x_t and "
            "the clipped x0.",
            lambda x_t, x0, eps, alpha_bar: (x0.clamp(-1, 1), eps.clamp(-1, 1)),
        ),
        Mistake(
            "both are right, in the other order: x0 first, then eps.",
            lambda x_t, x0, eps, alpha_bar: clip(x_t, x0, eps, alpha_bar)[::-1],
        ),
        Mistake(
            "eps is right, you computed it from the clipped x0; but you returned the x0 from before. Return the "
            "clipped one: the two belong together.",
            lambda x_t, x0, eps, a: (x0, (x_t - math.sqrt(a) * x0.clamp(-1, 1)) / math.sqrt(1 - a)),
        ),
        Mistake(
            "you divided by the variance 1 - alpha_bar. The factor of eps is its square root.",
            lambda x_t, x0, eps, a: _clip_and_divide_by(x_t, x0, 1 - a, math.sqrt(a)),
        ),
        Mistake(
            "you clipped to [0, 1]. The pictures of this course are in [-1, 1].",
            lambda x_t, x0, eps, a: (x0.clamp(0, 1), (x_t - math.sqrt(a) * x0.clamp(0, 1)) / math.sqrt(1 - a)),
        ),
    ],
    _clip_inputs,
)


def x0_weight(alpha_bar, t):
    snr = alpha_bar / (1 - alpha_bar)
    return (snr[t - 1] - snr[t]) / 2


def _of_snr(combine):
    """A weight made of the signal-to-noise ratios at t - 1 and at t."""

    def wrong(alpha_bar, t):
        before, now = (alpha_bar[s] / (1 - alpha_bar[s]) for s in (t - 1, t))
        return combine(before, now)

    return wrong


def _of_levels(combine):
    """A weight made of alpha_bar at t - 1 and at t."""
    return lambda alpha_bar, t: combine(alpha_bar[t - 1], alpha_bar[t])


X0_WEIGHT = Exercise(
    "ddpm.x0_weight",
    "Write x0_weight(alpha_bar, t): the factor that L_(t-1) puts in front of the squared error of x0, for t >= 2 and "
    "the variance beta_tilde. alpha_bar is a table with alpha_bar[0] == 1.",
    "By (9) it is the weight in (5) times SNR_t. Put in beta_tilde = beta (1 - alpha_bar[t-1]) / (1 - alpha_bar[t]) "
    "and beta = 1 - alpha_bar[t] / alpha_bar[t-1]; nearly all cancels: SNR_(t-1) and SNR_t are left.",
    x0_weight,
    [
        Mistake("the 2 of the Gaussian's exponent is missing.", _of_snr(lambda before, now: before - now)),
        Mistake(
            "your weight is negative: the signal-to-noise ratio falls with time, so that of t - 1 is the larger one.",
            _of_snr(lambda before, now: (now - before) / 2),
        ),
        Mistake(
            "that is SNR_t, the factor between the two errors in (9). The bound's own weight of (5) comes on top.",
            _of_snr(lambda before, now: now),
        ),
        Mistake(
            "that is the weight of the error of eps, as in (5). The error of x0 is another: by (9) it is multiplied by "
            "SNR_t as well.",
            _of_snr(lambda before, now: (before - now) / (2 * now)),
        ),
        Mistake(
            "you divided by SNR_t where (9) multiplies: the error of eps is SNR_t times that of x0.",
            _of_snr(lambda before, now: (before - now) / (2 * now**2)),
        ),
        Mistake(
            "you took alpha_bar itself; the ratio of signal to noise, alpha_bar / (1 - alpha_bar), belongs there.",
            _of_levels(lambda before, now: (before - now) / 2),
        ),
        Mistake(
            "that is the ratio of standard deviations. The signal-to-noise ratio is one of variances, without roots.",
            _of_snr(lambda before, now: (before**0.5 - now**0.5) / 2),
        ),
        Mistake(
            "you are off by one: that is the weight of the next time. alpha_bar has an entry for t = 0, so that of "
            "time t is alpha_bar[t].",
            lambda alpha_bar, t: x0_weight(alpha_bar, t + 1),
        ),
    ],
    lambda: [(SCHEDULE.alpha_bar, t) for t in (2, 10, 300, 999)],
)


def x0_from_v(x_t, v, alpha_bar):
    return math.sqrt(alpha_bar) * x_t - math.sqrt(1 - alpha_bar) * v


def _from_v(of_x_t, of_v):
    """A mix with other coefficients, each a function of the signal and the noise."""

    def wrong(x_t, v, alpha_bar):
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        return of_x_t(signal, noise) * x_t + of_v(signal, noise) * v

    return wrong


X0_FROM_V = Exercise(
    "ddpm.x0_from_v",
    "Write x0_from_v(x_t, v, alpha_bar): the x0 that a network means which puts out v. x_t and v are tensors, "
    "alpha_bar is a number.",
    "Two equations, x_t = signal x0 + noise eps and v = signal eps - noise x0, and two unknowns. Multiply one by "
    "signal, the other by noise, so that eps drops out; signal^2 + noise^2 = 1.",
    x0_from_v,
    [
        Mistake(
            "the sign in front of v is wrong: with it eps does not drop out.", _from_v(lambda s, n: s, lambda s, n: n)
        ),
        Mistake(
            "that is the eps it means: noise x_t + signal v. For x0 the coefficients change places, and one its sign.",
            _from_v(lambda s, n: n, lambda s, n: s),
        ),
        Mistake("that is minus x0: the sign of both terms is wrong.", _from_v(lambda s, n: -s, lambda s, n: n)),
        Mistake(
            "the coefficients are swapped: x_t is multiplied by the signal, as x0 is in it.",
            _from_v(lambda s, n: n, lambda s, n: -s),
        ),
        Mistake(
            "you treated v as if it were eps: (x_t - noise v) / signal. v is another mix of x0 and eps.",
            _from_v(lambda s, n: 1 / s, lambda s, n: -n / s),
        ),
        Mistake(
            "you divided by the signal. Nothing needs dividing: signal^2 + noise^2 = 1 stands in front of x0.",
            _from_v(lambda s, n: 1.0, lambda s, n: -n / s),
        ),
        Mistake(
            "both square roots are missing: alpha_bar is a variance, and its root multiplies.",
            _from_v(lambda s, n: s**2, lambda s, n: -(n**2)),
        ),
        Mistake(
            "the square root of alpha_bar is missing, in front of x_t.",
            _from_v(lambda s, n: s**2, lambda s, n: -n),
        ),
        Mistake(
            "the square root of 1 - alpha_bar is missing, in front of v.",
            _from_v(lambda s, n: s, lambda s, n: -(n**2)),
        ),
    ],
    lambda: [(_normal(6, 2), _normal(6, 2, seed=1), alpha_bar) for alpha_bar in (0.9, 0.3, 0.05)],
)

EXERCISES: list[Exercise] = [LOSS, STEP, RESPACE, CLIP, X0_FROM_V, X0_WEIGHT]
