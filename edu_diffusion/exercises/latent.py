"""Exercises of lesson 04, the VAE: a draw that passes gradients, the two terms of the bound, and what is mixed up."""

import math
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


def draw(mean, log_var, eps):
    return mean + (0.5 * log_var).exp() * eps


DRAW = Exercise(
    "latent.draw",
    "Write draw(mean, log_var, eps): a draw from N(mean, var), made of the standard normal eps. log_var is the "
    "logarithm of the variance; all three have the shape (b, d).",
    "Noise is multiplied by a standard deviation. What is half of the logarithm of a variance?",
    draw,
    [
        Mistake(
            "eps is multiplied by the variance, exp(log_var). The standard deviation is its root: exp(log_var / 2).",
            lambda mean, log_var, eps: mean + log_var.exp() * eps,
        ),
        Mistake(
            "log_var is a logarithm, and often negative: take exp(log_var / 2) before you multiply.",
            lambda mean, log_var, eps: mean + log_var * eps,
        ),
        Mistake(
            "that is half of the logarithm, and not yet a standard deviation: the exp is missing.",
            lambda mean, log_var, eps: mean + 0.5 * log_var * eps,
        ),
        Mistake(
            "that takes the root of the logarithm, which does not even exist where log_var is negative. exp(log_var / "
            "2) is the root of the variance.",
            lambda mean, log_var, eps: mean + log_var.sqrt() * eps,
        ),
        Mistake(
            "the sign in the exponent: exp(-log_var / 2) is one over the standard deviation.",
            lambda mean, log_var, eps: mean + (-0.5 * log_var).exp() * eps,
        ),
        Mistake("that is the mean, with no noise: an autoencoder's code.", lambda mean, log_var, eps: mean),
        Mistake(
            "the mean is missing: that draws from N(0, var).",
            lambda mean, log_var, eps: (0.5 * log_var).exp() * eps,
        ),
        Mistake(
            "you drew random numbers of your own. Use eps, so that a training can be repeated.",
            lambda mean, log_var, eps: draw(mean, log_var, torch.randn(mean.shape)),
        ),
        Mistake(
            "every example gets the noise of the first. Each needs its own, or the draws of a batch hang together.",
            lambda mean, log_var, eps: draw(mean, log_var, eps[:1]),
        ),
    ],
    lambda: _seeded([(_normal(4, 3), _normal(4, 3, seed=1), _normal(4, 3, seed=2))]),
)


def elbo(x, x_mean, mean, log_var, log_std):
    error = ((x - x_mean) / log_std.exp()).square()
    log_px = (-0.5 * error - log_std - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
    return log_px - kl


def _pixels(x, x_mean, log_std):
    """log p of each pixel."""
    return (-0.5 * ((x - x_mean) / log_std.exp()).square() - log_std - 0.5 * math.log(2 * math.pi)).flatten(1)


def _units(mean, log_var):
    """The KL of each number of the code."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def _by_std(x, x_mean, mean, log_var, log_std):
    each = -0.5 * (x - x_mean).square() / log_std.exp() - log_std - 0.5 * math.log(2 * math.pi)
    return each.flatten(1).sum(1) - _units(mean, log_var).sum(1)


def _one_constant(x, x_mean, mean, log_var, log_std):
    error = -0.5 * ((x - x_mean) / log_std.exp()).square().flatten(1).sum(1)
    return error - log_std - 0.5 * math.log(2 * math.pi) - _units(mean, log_var).sum(1)


def _plus_log_var(x, x_mean, mean, log_var, log_std):
    kl = 0.5 * (mean.square() + log_var.exp() - 1 + log_var).sum(1)
    return _pixels(x, x_mean, log_std).sum(1) - kl


def _no_constant(x, x_mean, mean, log_var, log_std):
    error = -0.5 * ((x - x_mean) / log_std.exp()).square().flatten(1).sum(1)
    return error - _units(mean, log_var).sum(1)


def _no_two_pi(x, x_mean, mean, log_var, log_std):
    each = -0.5 * ((x - x_mean) / log_std.exp()).square() - log_std
    return each.flatten(1).sum(1) - _units(mean, log_var).sum(1)


ELBO = Exercise(
    "latent.elbo",
    "Write elbo(x, x_mean, mean, log_var, log_std): one number for each picture, log N(x; x_mean, std^2) less the KL "
    "of N(mean, var) from N(0, I), both in nats. x has the shape (b, 1, h, w), mean and log_var have (b, d), log_std "
    "is one number.",
    "Both terms are sums: the first over all pixels of a picture, the second over all numbers of its code. Write the "
    "logarithm of a Gaussian with all that stands in front of the exponential.",
    elbo,
    [
        Mistake(
            "the first term is averaged over the pixels and the KL summed over the code: so the KL counts too much, as "
            "many times as there are pixels. Sum both, or divide both by the same number.",
            lambda x, x_mean, mean, log_var, log_std: (
                _pixels(x, x_mean, log_std).mean(1) - _units(mean, log_var).sum(1)
            ),
        ),
        Mistake(
            "the KL is averaged over the code and the first term summed: the KL counts too little, by the length of "
            "the code.",
            lambda x, x_mean, mean, log_var, log_std: (
                _pixels(x, x_mean, log_std).sum(1) - _units(mean, log_var).mean(1)
            ),
        ),
        Mistake(
            "both terms are averages, one over the pixels, one over the code: two different divisors, so the KL has "
            "another weight than 1. Sum both.",
            lambda x, x_mean, mean, log_var, log_std: (
                _pixels(x, x_mean, log_std).mean(1) - _units(mean, log_var).mean(1)
            ),
        ),
        Mistake(
            "the KL is added. It is what the code costs: take it from the first term.",
            lambda x, x_mean, mean, log_var, log_std: _pixels(x, x_mean, log_std).sum(1) + _units(mean, log_var).sum(1),
        ),
        Mistake(
            "that is minus the bound: a loss to make small. The bound was asked for.",
            lambda *arguments: -elbo(*arguments),
        ),
        Mistake(
            "the half in front of the KL is missing.",
            lambda x, x_mean, mean, log_var, log_std: (
                _pixels(x, x_mean, log_std).sum(1) - 2 * _units(mean, log_var).sum(1)
            ),
        ),
        Mistake("the sign of log_var in the KL: it is mean^2 + var - 1 - log var.", _plus_log_var),
        Mistake(
            "the squared error is divided by the standard deviation; in a Gaussian's exponent stands the variance.",
            _by_std,
        ),
        Mistake(
            "that is the exponent alone. Without - log std, a decoder whose std is learned would make it larger and "
            "larger, and every error free.",
            _no_constant,
        ),
        Mistake(
            "log std and log(2 pi) / 2 are counted once for a picture. They belong to every pixel: put them in before "
            "you sum.",
            _one_constant,
        ),
        Mistake(
            "log(2 pi) / 2 is missing at every pixel. No gradient would notice, but the bound is too high.", _no_two_pi
        ),
        Mistake(
            "that is the mean over the batch. One number for each picture was asked for.",
            lambda *arguments: elbo(*arguments).mean(),
        ),
    ],
    lambda: [
        (_normal(3, 1, 4, 4), _normal(3, 1, 4, 4, seed=1), _normal(3, 2, seed=2), _normal(3, 2, seed=3), log_std)
        for log_std in (torch.tensor(-0.7), torch.tensor(0.3))
    ],
)


def importance(log_w):
    return log_w.logsumexp(0) - math.log(len(log_w))


IMPORTANCE = Exercise(
    "latent.importance",
    "Write importance(log_w): the importance-weighted bound of each picture. log_w has the shape (k, b): the "
    "logarithms of the k weights p(x, z) / q(z | x) of each of b pictures.",
    "The logarithm of a mean of k weights. torch.logsumexp adds up what is given as logarithms, without overflow.",
    importance,
    [
        Mistake(
            "that is the mean of the logarithms: the ELBO, from k draws. It does not get tighter with k. The mean "
            "comes before the logarithm.",
            lambda log_w: log_w.mean(0),
        ),
        Mistake(
            "that is the logarithm of a sum, and k is still to be divided by: take log k off. As it stands it grows "
            "with k without end.",
            lambda log_w: log_w.logsumexp(0),
        ),
        Mistake(
            "you divided the logarithm by k. To divide the sum by k, subtract log k from its logarithm.",
            lambda log_w: log_w.logsumexp(0) / len(log_w),
        ),
        Mistake(
            "you mixed up the axes: that is a mean over the pictures, for each draw. The draws are axis 0.",
            lambda log_w: log_w.logsumexp(1) - math.log(log_w.shape[1]),
        ),
        Mistake("that is the largest weight alone.", lambda log_w: log_w.amax(0)),
        Mistake("that is the mean weight; its logarithm was asked for.", lambda log_w: log_w.exp().mean(0)),
        Mistake(
            "right as a formula, but exp(-1000) is 0 in float32, and its logarithm is minus infinity: log p(x, z) of a "
            "picture is a sum over all its pixels. logsumexp takes the largest one out first.",
            lambda log_w: log_w.exp().mean(0).log(),
        ),
        Mistake(
            "log k has the wrong sign: a mean is the sum divided by k.",
            lambda log_w: log_w.logsumexp(0) + math.log(len(log_w)),
        ),
    ],
    lambda: [(2 * _normal(5, 3) + 1,), (2 * _normal(2, 4, seed=1) - 1000,)],
)


def active(mean, log_var):
    return int((mean.var(0) > 0.01).sum())


def _codes(seed: int) -> tuple[Tensor, Tensor]:
    """Means and log-variances of a code of six: three in use, one nearly, one that hardly moves, one that stands."""
    centred = _normal(400, 6, seed=seed)
    centred = centred - centred.mean(0)
    spread = torch.tensor([1.0, 0.5, 0.15, 0.07, 0.005, 0.0])
    mean = centred * spread + torch.tensor([0.0, 0.0, 0.0, 0.2, 0.0, 0.3])
    return mean, torch.tensor([0.05, 0.4, 0.9, 0.995, 1.0, 1.0]).log().expand(400, 6)


ACTIVE = Exercise(
    "latent.active",
    "Write active(mean, log_var): how many numbers of the code are in use by Burda's criterion. Both have the shape "
    "(n, d), one row for each picture; the variance over pictures of the code's mean must exceed 0.01.",
    "For each of the d columns: how much does its mean vary from picture to picture? Count the columns.",
    active,
    [
        Mistake(
            "that is the standard deviation of the means; the criterion is about their variance.",
            lambda mean, log_var: int((mean.std(0) > 0.01).sum()),
        ),
        Mistake(
            "that is the mean square. A number that is 0.3 for every picture says nothing: take its variance.",
            lambda mean, log_var: int((mean.square().mean(0) > 0.01).sum()),
        ),
        Mistake(
            "that asks where the means lie, and not whether they move.",
            lambda mean, log_var: int((mean.mean(0).abs() > 0.01).sum()),
        ),
        Mistake(
            "that is the variance of the whole code, noise and all. A number that is pure noise has variance 1, and "
            "says nothing: take the variance of the means alone.",
            lambda mean, log_var: int((mean.var(0) + log_var.exp().mean(0) > 0.01).sum()),
        ),
        Mistake(
            "the variance runs over the code, for each picture. It must run over the pictures: axis 0.",
            lambda mean, log_var: int((mean.var(1) > 0.01).sum()),
        ),
        Mistake(
            "that is how many are *not* in use.",
            lambda mean, log_var: mean.shape[1] - active(mean, log_var),
        ),
    ],
    lambda: [_codes(0), (_codes(1)[0][:, :5], _codes(1)[1][:, :5])],
)


def weight(pixels, std):
    return pixels / (2 * std**2)


WEIGHT = Exercise(
    "latent.weight",
    "Write weight(pixels, std). Somebody's loss is the squared error, averaged over the pixels of a picture, plus the "
    "KL, summed over the code. Which beta is that, for a decoder with this standard deviation?",
    "The bound with weight beta: (sum of squares) / (2 std^2) + beta KL. Multiply it by what makes its first term the "
    "mean of squares. What stands before the KL then must be 1.",
    weight,
    [
        Mistake(
            "only the averaging is counted. The Gaussian divides the squares by 2 std^2 as well.",
            lambda pixels, std: pixels,
        ),
        Mistake(
            "upside down: that is the factor by which you multiply, and beta times that factor is 1.",
            lambda pixels, std: 2 * std**2 / pixels,
        ),
        Mistake("the 2 of 2 std^2 is missing.", lambda pixels, std: pixels / std**2),
        Mistake(
            "in a Gaussian's exponent stands the variance, std^2, and not std.", lambda pixels, std: pixels / (2 * std)
        ),
        Mistake(
            "that is the weight of a loss that sums the squares. Theirs averages them: the KL counts that many times "
            "more.",
            lambda pixels, std: 1 / (2 * std**2),
        ),
        Mistake(
            "2 std^2 divides the squares; so beta is divided by it, and not multiplied.",
            lambda pixels, std: 2 * std**2 * pixels,
        ),
    ],
    lambda: [(784, 0.2), (784, 1.5), (12, 0.5)],
)


def best_std(x, x_mean):
    return (x - x_mean).square().mean().sqrt()


STD = Exercise(
    "latent.std",
    "Write best_std(x, x_mean): the one standard deviation, for all pixels of all pictures, with which the sum of "
    "log N(x; x_mean, std^2) is largest. Both have the shape (b, 1, h, w).",
    "Write the sum of the logarithms as a function of std, and set its derivative to 0: the number of pixels over std "
    "must equal the sum of squares over std^3.",
    best_std,
    [
        Mistake(
            "that is the variance. Take the root.",
            lambda x, x_mean: (x - x_mean).square().mean(),
        ),
        Mistake(
            "that is one for each picture. One for all was asked for.",
            lambda x, x_mean: (x - x_mean).square().flatten(1).mean(1).sqrt(),
        ),
        Mistake(
            "that is one for each pixel. One for all was asked for.",
            lambda x, x_mean: (x - x_mean).square().mean(0).sqrt(),
        ),
        Mistake(
            "that takes the mean of the errors off first. An error that is the same everywhere is an error too: take "
            "the root of the mean square.",
            lambda x, x_mean: (x - x_mean).std(),
        ),
        Mistake(
            "that is the mean size of the errors. A Gaussian counts squares.",
            lambda x, x_mean: (x - x_mean).abs().mean(),
        ),
        Mistake(
            "that is the spread of the pictures, before anything was predicted.",
            lambda x, x_mean: x.std(),
        ),
        Mistake(
            "the sum of squares must be divided by their number.",
            lambda x, x_mean: (x - x_mean).square().sum().sqrt(),
        ),
    ],
    lambda: [(_normal(3, 1, 4, 4) + 0.5, 0.3 * _normal(3, 1, 4, 4, seed=1))],
)


def score(f, z, mean, std):
    return (f * (z - mean) / std**2).mean()


SCORE = Exercise(
    "latent.score",
    "Write score(f, z, mean, std): the score-function estimate of the derivative of E[f(z)] with respect to the mean, "
    "from draws z of N(mean, std^2) and the values f of the function there. f and z have the shape (n,).",
    "Each draw gives f(z) times the derivative of log N(z; mean, std^2) with respect to the mean. Then average.",
    score,
    [
        Mistake(
            "the division is by the standard deviation; the derivative of the exponent has the variance.",
            lambda f, z, mean, std: (f * (z - mean) / std).mean(),
        ),
        Mistake(
            "the sign: where z lies above the mean, raising the mean makes z likelier.",
            lambda f, z, mean, std: (f * (mean - z) / std**2).mean(),
        ),
        Mistake(
            "f is missing: the mean of the derivative alone is 0, but for chance.",
            lambda f, z, mean, std: ((z - mean) / std**2).mean(),
        ),
        Mistake(
            "you multiplied two means. The product belongs to each draw, and the mean comes last.",
            lambda f, z, mean, std: f.mean() * ((z - mean) / std**2).mean(),
        ),
        Mistake(
            "(z - mean) must be divided by the variance.",
            lambda f, z, mean, std: (f * (z - mean)).mean(),
        ),
        Mistake(
            "that is a value for each draw; their mean is the estimate.",
            lambda f, z, mean, std: f * (z - mean) / std**2,
        ),
        Mistake(
            "that is a sum over the draws, and not their mean.",
            lambda f, z, mean, std: (f * (z - mean) / std**2).sum(),
        ),
    ],
    lambda: [(_normal(6) + 1, 0.5 * _normal(6, seed=1) + 2, 2.2, 0.5), (_normal(4, seed=3), _normal(4), -0.3, 2.0)],
)

EXERCISES: list[Exercise] = [DRAW, ELBO, IMPORTANCE, ACTIVE, WEIGHT, STD, SCORE]
