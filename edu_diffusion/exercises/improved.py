"""Exercises of lesson 10: the learned variance, the probability of a level, bits, and how times are drawn."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from edu_diffusion.diffusion import cosine, linear
from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def log_var(var_frac, beta, beta_tilde):
    return var_frac * math.log(beta) + (1 - var_frac) * math.log(beta_tilde)


def _straight(var_frac, beta, beta_tilde):
    return var_frac * beta + (1 - var_frac) * beta_tilde


LOG_VAR = Exercise(
    "improved.log_var",
    "Write log_var(var_frac, beta, beta_tilde): the logarithm of the learned variance, improved DDPM eq. 15. var_frac "
    "is a tensor, the other two are numbers.",
    "At var_frac 0 you must get log beta_tilde, at 1 log beta, and between them the logarithm walks on a straight "
    "line. Both limits are plain numbers: use math.log.",
    log_var,
    [
        Mistake(
            "you mixed the variances and then took the logarithm. The paper mixes their logarithms: take log beta and "
            "log beta_tilde first.",
            lambda f, beta, beta_tilde: _straight(f, beta, beta_tilde).log(),
        ),
        Mistake(
            "you mixed the variances themselves, on a straight line, and there is no logarithm at all.",
            _straight,
        ),
        Mistake(
            "the two limits are swapped: var_frac 0 must give beta_tilde, the small one, and 1 beta.",
            lambda f, beta, beta_tilde: log_var(f, beta_tilde, beta),
        ),
        Mistake(
            "that is the variance. Its logarithm is asked for: leave out exp.",
            lambda f, beta, beta_tilde: log_var(f, beta, beta_tilde).exp(),
        ),
        Mistake(
            "that is the logarithm of the standard deviation, half of what is asked for.",
            lambda f, beta, beta_tilde: 0.5 * log_var(f, beta, beta_tilde),
        ),
        Mistake(
            "you moved var_frac from [-1, 1] to [0, 1] once more. The denoiser has done that already: var_frac is in "
            "[0, 1].",
            lambda f, beta, beta_tilde: log_var((f + 1) / 2, beta, beta_tilde),
        ),
        Mistake(
            "log beta_tilde counts in full, whatever var_frac says. The two weights must sum to 1: var_frac and "
            "1 - var_frac.",
            lambda f, beta, beta_tilde: f * math.log(beta) + math.log(beta_tilde),
        ),
    ],
    lambda: [(torch.linspace(-0.1, 1.1, 7), *limits) for limits in ((0.02, 0.005), (0.004, 0.0036), (0.3, 0.1))],
)


def level(x0, mean, std):
    bell = Normal(mean, std)
    above, below = bell.cdf(x0 + 1 / 255), bell.cdf(x0 - 1 / 255)
    above = torch.where(x0 > 1 - 1 / 255, 1.0, above)
    below = torch.where(x0 < -1 + 1 / 255, 0.0, below)
    return above - below


def _level(half=1 / 255, ends=True, spread=lambda std: std):
    """The probability of a level with another half width, with closed ends, or with another standard deviation."""

    def wrong(x0, mean, std):
        bell = Normal(mean, spread(std))
        above, below = bell.cdf(x0 + half), bell.cdf(x0 - half)
        if ends:
            above = torch.where(x0 > 1 - 1 / 255, 1.0, above)
            below = torch.where(x0 < -1 + 1 / 255, 0.0, below)
        return above - below

    return wrong


def _density(x0, mean, std):
    return Normal(mean, std).log_prob(x0).exp()


def _level_inputs() -> list[tuple]:
    x0 = torch.tensor([0, 0, 1, 100, 128, 254, 255, 255], dtype=torch.float64) / 127.5 - 1
    mean = x0 + torch.tensor([0.0, 0.004, -0.006, 0.01, -0.003, 0.002, 0.0, -0.01], dtype=torch.float64)
    return [(x0, mean, 0.01), (x0, mean, 0.05)]


LEVEL = Exercise(
    "improved.level",
    "Write level(x0, mean, std): the probability that a Gaussian puts on each pixel's own level, DDPM eq. 13. x0 holds "
    "levels in [-1, 1], which are 2/255 apart; mean is a tensor, std a number.",
    "Normal(mean, std).cdf(z) is the probability of all values below z. A level reaches from x0 - 1/255 to x0 + 1/255; "
    "the lowest level has no lower end, and the highest no upper one. torch.where(x0 > 1 - 1/255, 1.0, above) opens an "
    "end.",
    level,
    [
        Mistake(
            "the two levels at the ends have closed ends. Nothing is darker than black, so all that lies below -1 "
            "counts as black too, and all above 1 as white. Your 256 probabilities do not sum to 1.",
            _level(ends=False),
        ),
        Mistake(
            "your levels are twice too wide: they are 2/255 apart, so each reaches 1/255 to either side.",
            _level(half=2 / 255),
        ),
        Mistake(
            "half a level is 1/255, not 1/256: between 256 levels there are 255 gaps.",
            _level(half=1 / 256),
        ),
        Mistake(
            "that is the density at x0. A density is no probability: it can be above 1. Take the area over the level.",
            _density,
        ),
        Mistake(
            "that is the density times the level's width, which is near the area only where std is much larger than a "
            "level. Take the difference of two cdf.",
            lambda x0, mean, std: _density(x0, mean, std) * 2 / 255,
        ),
        Mistake(
            "that is the probability of this level and all below it. Subtract the cdf at x0 - 1/255.",
            lambda x0, mean, std: torch.where(x0 > 1 - 1 / 255, 1.0, Normal(mean, std).cdf(x0 + 1 / 255)),
        ),
        Mistake(
            "you squared std. Normal wants a standard deviation, and it is one.",
            _level(spread=lambda std: std**2),
        ),
        Mistake(
            "you took the root of std. Normal wants a standard deviation, and it is one already.",
            _level(spread=lambda std: std**0.5),
        ),
        Mistake(
            "that is the logarithm of the probability. The probability itself is asked for.",
            lambda x0, mean, std: level(x0, mean, std).log(),
        ),
        Mistake(
            "those are bits, minus log2 of the probability. The probability itself is asked for.",
            lambda x0, mean, std: -level(x0, mean, std).log2(),
        ),
    ],
    _level_inputs,
)


def last_variance(schedule, t):
    t = max(t, 2)
    alpha_bar, before = schedule.alpha_bar[t].item(), schedule.alpha_bar[t - 1].item()
    return math.log((1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before))


def _beta_tilde(schedule, t: int) -> Tensor:
    alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    return (1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)


def _beta(schedule, t: int) -> Tensor:
    return 1 - schedule.alpha_bar[t] / schedule.alpha_bar[t - 1]


LAST_VARIANCE = Exercise(
    "improved.last_variance",
    "Write last_variance(schedule, t): log beta_tilde_t of one step, from the table schedule.alpha_bar. At t = 1, "
    "where beta_tilde is 0, it takes the value of t = 2.",
    "beta_tilde is (1 - before) / (1 - alpha_bar) times beta, where before is alpha_bar at t - 1. For which t does it "
    "not work, and which t stands in for it?",
    last_variance,
    [
        Mistake(
            "at t = 1 you get minus infinity: beta_tilde is 0 there. Take the value of t = 2 for it.",
            lambda schedule, t: _beta_tilde(schedule, t).log(),
        ),
        Mistake(
            "at t = 1 you replace the 0 by a tiny number. A variance that small makes every pixel that is not hit "
            "exactly cost about a hundred bits. Take the value of t = 2.",
            lambda schedule, t: _beta_tilde(schedule, t).clamp(min=1e-20).log(),
        ),
        Mistake(
            "at t = 1 you take log beta_1, the large variance. The small one of t = 2 is asked for.",
            lambda schedule, t: (_beta_tilde(schedule, t) if t > 1 else _beta(schedule, 1)).log(),
        ),
        Mistake(
            "you moved all times by one. Only t = 1 takes its neighbour's value.",
            lambda schedule, t: _beta_tilde(schedule, t + 1).log(),
        ),
        Mistake(
            "that is log beta, the variance of the step forwards.",
            lambda schedule, t: _beta(schedule, t).log(),
        ),
        Mistake(
            "that is the variance. Its logarithm is asked for.",
            lambda schedule, t: _beta_tilde(schedule, max(t, 2)),
        ),
        Mistake(
            "that is the logarithm of the standard deviation, half of what is asked for.",
            lambda schedule, t: 0.5 * _beta_tilde(schedule, max(t, 2)).log(),
        ),
    ],
    lambda: [(schedule, t) for schedule in (linear(), cosine()) for t in (1, 2, 3, 100, 500)],
)


def hybrid(guess, var_frac, eps, bound):
    simple = (eps - guess).square().mean()
    return simple + 0.001 * bound(guess.detach(), var_frac)


def telltale_bound(guess, var_frac):
    """A bound that is none: its value says through which of its two arguments a gradient could flow."""
    open_to = 1 + guess.requires_grad + 2 * var_frac.requires_grad
    return 100 * open_to * (guess.square().mean() + var_frac.mean())


def _simple(eps, guess):
    return (eps - guess).square().mean()


def _hybrid_inputs() -> list[tuple]:
    guess, var_frac = _normal(6, 2).requires_grad_(), torch.full((6, 2), 0.3).requires_grad_()
    return [(guess, var_frac, _normal(6, 2, seed=1), telltale_bound)]


HYBRID = Exercise(
    "improved.hybrid",
    "Write hybrid(guess, var_frac, eps, bound): L_hybrid of improved DDPM eq. 16, one number. guess is the network's "
    "eps and var_frac its variance; bound(guess, var_frac) gives L_vlb, which may teach var_frac alone.",
    "The mean squared error, plus 0.001 times the bound. tensor.detach() is the same numbers, through which no "
    "gradient flows: which of the bound's two arguments needs it?",
    hybrid,
    [
        Mistake(
            "the bound's gradient reaches guess. Then it pulls at eps as well, with the weights that L_simple was "
            "meant to drop: detach guess inside the bound.",
            lambda guess, f, eps, bound: _simple(eps, guess) + 0.001 * bound(guess, f),
        ),
        Mistake(
            "you detached the wrong one: now the bound teaches eps, and nothing teaches the variance.",
            lambda guess, f, eps, bound: _simple(eps, guess) + 0.001 * bound(guess, f.detach()),
        ),
        Mistake(
            "you detached both: now the bound teaches nothing at all. var_frac must stay as it is.",
            lambda guess, f, eps, bound: _simple(eps, guess) + 0.001 * bound(guess.detach(), f.detach()),
        ),
        Mistake(
            "the bound counts in full. It is the sum of a thousand terms: its weight is 0.001.",
            lambda guess, f, eps, bound: _simple(eps, guess) + bound(guess.detach(), f),
        ),
        Mistake(
            "you gave L_simple the weight 0.999. It keeps its weight of 1.",
            lambda guess, f, eps, bound: 0.999 * _simple(eps, guess) + 0.001 * bound(guess.detach(), f),
        ),
        Mistake(
            "the bound is missing: L_simple alone says nothing about the variance.",
            lambda guess, f, eps, bound: _simple(eps, guess),
        ),
        Mistake(
            "L_simple is missing: nothing teaches eps.",
            lambda guess, f, eps, bound: 0.001 * bound(guess.detach(), f),
        ),
        Mistake(
            "you summed the squared errors. The course takes their mean.",
            lambda guess, f, eps, bound: (eps - guess).square().sum() + 0.001 * bound(guess.detach(), f),
        ),
    ],
    _hybrid_inputs,
)


def bits(nats, T, pixels):
    return T * nats.mean() / (pixels * math.log(2))


BITS = Exercise(
    "improved.bits",
    "Write bits(nats, T, pixels): an estimate of the bound in bits per pixel. nats holds one term for each example, at "
    "a time drawn uniformly from 1..T, in nats and summed over the picture's pixels.",
    "The bound is a sum of T terms, and you have the mean of a few of them. Then share it among the pixels. A nat is "
    "1 / ln 2 bits.",
    bits,
    [
        Mistake(
            "that is the mean of a term. The bound is the sum of T terms: multiply by T.",
            lambda nats, T, pixels: nats.mean() / (pixels * math.log(2)),
        ),
        Mistake(
            "those are the bits of a whole picture. Divide by the number of pixels.",
            lambda nats, T, pixels: T * nats.mean() / math.log(2),
        ),
        Mistake(
            "those are nats. A nat is 1 / ln 2 = 1.44 bits: divide by math.log(2).",
            lambda nats, T, pixels: T * nats.mean() / pixels,
        ),
        Mistake(
            "you multiplied by ln 2. A nat is more than a bit, so the number must grow: divide.",
            lambda nats, T, pixels: T * nats.mean() * math.log(2) / pixels,
        ),
        Mistake(
            "you summed over the examples. Take their mean: each estimates the same bound.",
            lambda nats, T, pixels: T * nats.sum() / (pixels * math.log(2)),
        ),
        Mistake(
            "you summed the examples' terms and left T out. Take the mean of a term, times T.",
            lambda nats, T, pixels: nats.sum() / (pixels * math.log(2)),
        ),
        Mistake(
            "you divided by 8. A byte has 8 bits, but the number is asked in bits.",
            lambda nats, T, pixels: bits(nats, T, pixels) / 8,
        ),
    ],
    lambda: [(torch.tensor([0.4, 2.5, 1.1, 0.2, 3.0]), 1000, 784), (torch.tensor([0.5, 0.9, 1.6]), 4000, 3072)],
)


def importance(losses):
    size = losses.square().mean(1).sqrt()
    p = size / size.sum()
    return p, 1 / (len(p) * p)


def _weighted(size, weight=lambda p: 1 / (len(p) * p), normal=True):
    """Chances in proportion to another size, or other weights."""

    def wrong(losses):
        p = size(losses)
        p = p / p.sum() if normal else p
        return p, weight(p)

    return wrong


def _rms(losses):
    return losses.square().mean(1).sqrt()


def _losses(T: int, history: int, seed: int) -> Tensor:
    scale = torch.logspace(1, -1, T)[:, None]
    return scale * torch.rand(T, history, generator=torch.Generator().manual_seed(seed))


IMPORTANCE = Exercise(
    "improved.importance",
    "Write importance(losses): the chance of each time and the weight of its loss, improved DDPM eq. 18. losses, of "
    "shape (T, k), holds the last k losses of each time; the weighted loss must have the mean of the uniform one.",
    "The chances are in proportion to the root of the mean square of a time's losses, and sum to 1. A time that is "
    "drawn twice as often as the uniform 1 / T must count half.",
    importance,
    [
        Mistake(
            "you left out the root: large terms are then drawn far too often. In proportion to the root of the mean "
            "square.",
            _weighted(lambda losses: losses.square().mean(1)),
        ),
        Mistake(
            "you took the mean of the losses. A time whose losses vary must be drawn more often than its mean says: "
            "the root of the mean square.",
            _weighted(lambda losses: losses.mean(1)),
        ),
        Mistake(
            "you took the last loss alone. It is one draw: use the mean square of all that are remembered.",
            _weighted(lambda losses: losses[:, -1]),
        ),
        Mistake("you took the spread of the losses. Their size is asked for.", _weighted(lambda losses: losses.std(1))),
        Mistake("the chances do not sum to 1.", _weighted(_rms, normal=False)),
        Mistake("that is softmax. In proportion means: divided by the sum.", _weighted(lambda x: _rms(x).softmax(0))),
        Mistake(
            "the chances are right, but the weight should be 1 / (T p): with p = 1 / T for all times it must be 1.",
            _weighted(_rms, lambda p: 1 / p),
        ),
        Mistake(
            "the chances are right, but the weights are upside down: what is drawn more often must count less.",
            _weighted(_rms, lambda p: len(p) * p),
        ),
        Mistake(
            "the chances are right, but with weights of 1 the mean is another one: frequent times count too much.",
            _weighted(_rms, torch.ones_like),
        ),
        Mistake("both are right, in the other order: first the chances.", lambda losses: importance(losses)[::-1]),
    ],
    lambda: [(_losses(6, 4, 0),), (_losses(9, 3, 1),)],
)


def noise_scale(gradients, batch):
    mean = gradients.mean(0)
    spread = batch * gradients.var(0).sum()
    return spread / (mean.square().sum() - spread / (batch * len(gradients)))


def _scale(spread, own=True):
    """The noise scale with another spread of one example, and with or without taking off the mean's own noise."""

    def wrong(gradients, batch):
        one, square = spread(gradients, batch), gradients.mean(0).square().sum()
        return one / (square - one / (batch * len(gradients))) if own else one / square

    return wrong


def _of_a_batch(gradients, batch):
    spread = gradients.var(0).sum()
    return spread / (gradients.mean(0).square().sum() - spread / len(gradients))


NOISE_SCALE = Exercise(
    "improved.noise_scale",
    "Write noise_scale(gradients, batch): tr(covariance of one example's gradient) / |mean gradient|^2. Each row of "
    "gradients, of shape (k, d), is the mean gradient of a batch of `batch` examples.",
    "gradients.var(0).sum() is the trace for a batch; a batch's mean varies `batch` times less than one example. The "
    "mean of k rows still holds noise of its own, which adds trace / (batch k) to its square: take that off.",
    noise_scale,
    [
        Mistake(
            "that is the noise of a batch's gradient. One example's varies `batch` times as much.",
            _of_a_batch,
        ),
        Mistake(
            "that is the noise of a batch's gradient, and the mean's own noise is still in its square. One example's "
            "varies `batch` times as much; and take off the trace divided by batch times k.",
            lambda gradients, batch: gradients.var(0).sum() / gradients.mean(0).square().sum(),
        ),
        Mistake(
            "you divided by batch. A mean varies less than what it is the mean of: multiply.",
            _scale(lambda gradients, batch: gradients.var(0).sum() / batch),
        ),
        Mistake(
            "the mean's own noise is still in its square: take off the trace divided by batch times k.",
            _scale(lambda gradients, batch: batch * gradients.var(0).sum(), own=False),
        ),
        Mistake(
            "you summed standard deviations. The trace of a covariance sums variances.",
            _scale(lambda gradients, batch: batch * gradients.std(0).sum()),
        ),
        Mistake(
            "you took the mean over the weights in place of the sum: a trace is a sum.",
            _scale(lambda gradients, batch: batch * gradients.var(0).mean()),
        ),
        Mistake(
            "you measured how the lengths of the gradients vary. Gradients of one length can still point anywhere.",
            _scale(lambda gradients, batch: batch * gradients.norm(dim=1).var()),
        ),
        Mistake(
            "your variance divides by k. The mean is estimated from the same rows, so divide by k - 1, as var does.",
            _scale(lambda gradients, batch: batch * gradients.var(0, correction=0).sum()),
        ),
        Mistake(
            "upside down: noise above, signal below. A large scale is to mean much noise.",
            lambda gradients, batch: 1 / noise_scale(gradients, batch),
        ),
    ],
    lambda: [
        (2 * _normal(1, 30, seed=seed) + _normal(k, 30, seed=seed + 10), batch)
        for seed, k, batch in ((0, 20, 8), (1, 12, 4))
    ],
)

EXERCISES: list[Exercise] = [LOG_VAR, LEVEL, LAST_VARIANCE, HYBRID, BITS, IMPORTANCE, NOISE_SCALE]
