"""Exercises of lesson 12: the two algorithms of classifier guidance, what they need, how samples are judged."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.diffusion import cosine
from edu_diffusion.exercises.core import Exercise, Mistake

SCHEDULE = cosine()


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mean_shift(mean, variance, gradient, scale):
    return mean + scale * variance * gradient


def _mean_shift_inputs() -> list[tuple]:
    mean, gradient = _normal(5, 2), _normal(5, 2, seed=1)
    each_its_own = 0.1 + _normal(5, 2, seed=2).square()
    return [
        (mean, torch.tensor(0.04), gradient, 3.0),
        (mean, torch.tensor(0.3), gradient, 0.5),
        (mean, each_its_own, gradient, 2.0),
    ]


MEAN_SHIFT = Exercise(
    "guided.mean_shift",
    "Write mean_shift(mean, variance, gradient, scale): the mean of the guided step, ADM Algorithm 1. `variance` is "
    "that of the step, `gradient` that of log p(y | x_t), and scale 0 is off.",
    "A Gaussian times exp(g x) is the same Gaussian with its mean moved by its variance times g. The scale multiplies "
    "the gradient.",
    mean_shift,
    [
        Mistake(
            "you move by the standard deviation times the gradient. A Gaussian times exp(g x) has its mean moved by "
            "the variance times g, with no root.",
            lambda mean, variance, gradient, scale: mean + scale * variance**0.5 * gradient,
        ),
        Mistake(
            "the variance is missing: you move as far in a step that is almost certain as in one that is wide open.",
            lambda mean, variance, gradient, scale: mean + scale * gradient,
        ),
        Mistake(
            "you divide by the variance. The wider the step, the more it can be moved: multiply.",
            lambda mean, variance, gradient, scale: mean + scale * gradient / variance,
        ),
        Mistake(
            "the scale is missing: it multiplies the gradient.",
            lambda mean, variance, gradient, scale: mean + variance * gradient,
        ),
        Mistake(
            "the sign: you walk to where the class is less probable. Add the gradient.",
            lambda mean, variance, gradient, scale: mean - scale * variance * gradient,
        ),
        Mistake(
            "you treat scale 1 as off. That is the convention of classifier-free guidance; here 0 is off, and 1 is "
            "Bayes' rule.",
            lambda mean, variance, gradient, scale: mean + (scale - 1) * variance * gradient,
        ),
        Mistake(
            "you scale the mean as well. The scale multiplies the gradient alone.",
            lambda mean, variance, gradient, scale: scale * (mean + variance * gradient),
        ),
        Mistake(
            "that is how far the mean moves, and not where it ends: add the mean.",
            lambda mean, variance, gradient, scale: scale * variance * gradient,
        ),
        Mistake(
            "you multiply by the variance squared; take it as it is.",
            lambda mean, variance, gradient, scale: mean + scale * variance**2 * gradient,
        ),
    ],
    _mean_shift_inputs,
)


def eps_hat(eps, alpha_bar, gradient, scale):
    return eps - scale * (1 - alpha_bar) ** 0.5 * gradient


def _eps_hat_inputs() -> list[tuple]:
    eps, gradient = _normal(5, 2), _normal(5, 2, seed=1)
    return [(eps, SCHEDULE.alpha_bar[t], gradient, scale) for t, scale in ((150, 3.0), (700, 0.5))]


EPS_HAT = Exercise(
    "guided.eps_hat",
    "Write eps_hat(eps, alpha_bar, gradient, scale): the guided guess of the noise, ADM eq. 14 with a scale. "
    "`gradient` is that of log p(y | x_t), and scale 0 is off.",
    "The score is -eps / sqrt(1 - alpha_bar). Add scale times the gradient to it, and solve for eps.",
    eps_hat,
    [
        Mistake(
            "you multiply by the variance 1 - alpha_bar. From a score to the noise it is the standard deviation: its "
            "square root.",
            lambda eps, alpha_bar, gradient, scale: eps - scale * (1 - alpha_bar) * gradient,
        ),
        Mistake(
            "the sign: eps points away from the data, against the score. What is added to the score is subtracted "
            "from eps.",
            lambda eps, alpha_bar, gradient, scale: eps + scale * (1 - alpha_bar) ** 0.5 * gradient,
        ),
        Mistake(
            "the gradient is subtracted as it is. It is a piece of a score; in units of eps it must be multiplied by "
            "sqrt(1 - alpha_bar).",
            lambda eps, alpha_bar, gradient, scale: eps - scale * gradient,
        ),
        Mistake(
            "you divide by sqrt(1 - alpha_bar), the way from eps to a score. Here you go back to eps: multiply.",
            lambda eps, alpha_bar, gradient, scale: eps - scale * gradient / (1 - alpha_bar) ** 0.5,
        ),
        Mistake(
            "you multiply by the signal sqrt(alpha_bar). The noise belongs there: sqrt(1 - alpha_bar).",
            lambda eps, alpha_bar, gradient, scale: eps - scale * alpha_bar**0.5 * gradient,
        ),
        Mistake(
            "the scale is missing: it multiplies the gradient.",
            lambda eps, alpha_bar, gradient, scale: eps - (1 - alpha_bar) ** 0.5 * gradient,
        ),
        Mistake(
            "you treat scale 1 as off. That is the convention of classifier-free guidance; here 0 is off, and 1 is "
            "Bayes' rule.",
            lambda eps, alpha_bar, gradient, scale: eps - (scale - 1) * (1 - alpha_bar) ** 0.5 * gradient,
        ),
        Mistake(
            "you scale the model's own guess too. The scale multiplies the gradient alone.",
            lambda eps, alpha_bar, gradient, scale: scale * (eps - (1 - alpha_bar) ** 0.5 * gradient),
        ),
        Mistake(
            "that is the guided score. Multiply it by -sqrt(1 - alpha_bar), and it is eps again.",
            lambda eps, alpha_bar, gradient, scale: -eps / (1 - alpha_bar) ** 0.5 + scale * gradient,
        ),
    ],
    _eps_hat_inputs,
)


def gradient(classify, x_t, y):
    x = x_t.detach().requires_grad_(True)
    log_prob = classify(x).log_softmax(1)[torch.arange(len(y)), y]
    return torch.autograd.grad(log_prob.sum(), x)[0]


_IN, _OUT = _normal(4, 6, seed=3), _normal(6, 3, seed=4)


def toy_classifier(x: Tensor) -> Tensor:
    """Logits of three classes for points of four numbers: no network, but bent like one."""
    return torch.tanh(x @ _IN) @ _OUT


def _gradient_of(number):
    """The gradient of the sum of number(logits, y) with respect to x_t."""

    def wrong(classify, x_t, y):
        x = x_t.detach().requires_grad_(True)
        return torch.autograd.grad(number(classify(x), y).sum(), x)[0]

    return wrong


def _of_class(values: Tensor, y: Tensor) -> Tensor:
    return values[torch.arange(len(y)), y]


def _gradient_inputs() -> list[tuple]:
    # The same points with other classes: what is right for the likeliest class alone is wrong in one of the two.
    x_t = _normal(5, 4, seed=5)
    return [(toy_classifier, x_t.clone(), torch.tensor(y)) for y in ([0, 1, 2, 0, 1], [2, 0, 1, 1, 0])]


GRADIENT = Exercise(
    "guided.gradient",
    "Write gradient(classify, x_t, y): for each example the gradient of log p(y | x_t) with respect to x_t. "
    "classify(x_t) gives logits (n, classes), y the class wanted of each example.",
    "Let x_t require a gradient, take log_softmax of the logits, pick the entry of y in each row. One call of "
    "torch.autograd.grad does all examples: each depends on its own row alone, so the sum of the rows has the gradient "
    "of each.",
    gradient,
    [
        Mistake(
            "you took the mean over the batch. Each example's push would shrink with the number of its neighbours: "
            "take the sum.",
            _gradient_of(lambda logits, y: _of_class(logits.log_softmax(1), y) / len(y)),
        ),
        Mistake(
            "you took the logit itself. It is no log-probability: the logits of the other classes belong in it too, by "
            "log_softmax.",
            _gradient_of(_of_class),
        ),
        Mistake(
            "you took the probability, and not its logarithm. Bayes' rule for scores has the logarithm; where the "
            "class is improbable, the probability is flat, and hardly pushes.",
            _gradient_of(lambda logits, y: _of_class(logits.softmax(1), y)),
        ),
        Mistake(
            "the sign: cross-entropy is minus log p, so its gradient leads away from the class.",
            _gradient_of(lambda logits, y: F.cross_entropy(logits, y, reduction="sum")),
        ),
        Mistake(
            "that is the gradient of cross-entropy as it is used in training: minus log p, and the mean over the "
            "batch. Change the sign, and take the sum.",
            _gradient_of(F.cross_entropy),
        ),
        Mistake(
            "you push to the class that is the likeliest already, and not to the one that is wanted: pick the entry of "
            "y.",
            _gradient_of(lambda logits, y: logits.log_softmax(1).max(1).values),
        ),
        Mistake(
            "you summed over all classes. Pick the entry of y in each row.",
            _gradient_of(lambda logits, y: logits.log_softmax(1)),
        ),
    ],
    _gradient_inputs,
)


def told(time_embedding, weight, bias, y):
    return time_embedding + weight.T[y] + bias


TOLD = Exercise(
    "guided.told",
    "Write told(time_embedding, weight, bias, y): what the blocks of a network hear of each example when its classes y "
    "go through a linear layer as one-hot vectors and are added to the time embedding. `weight` is the layer's, of "
    "shape (embedding, classes).",
    "A linear layer computes weight @ one_hot + bias. A matrix times a one-hot vector is one of its columns.",
    told,
    [
        Mistake(
            "you took rows of the weight. It has a row for each number of the embedding; a class is a column.",
            lambda time_embedding, weight, bias, y: time_embedding + weight[y] + bias,
        ),
        Mistake(
            "the layer's bias is missing. (It is what a network hears when no class is given.)",
            lambda time_embedding, weight, bias, y: time_embedding + weight.T[y],
        ),
        Mistake(
            "the time is missing: add it. The blocks must hear both.",
            lambda time_embedding, weight, bias, y: weight.T[y] + bias,
        ),
        Mistake(
            "you multiplied. Time and class are added; scale and shift are made of the sum later, in each block.",
            lambda time_embedding, weight, bias, y: time_embedding * (weight.T[y] + bias),
        ),
        Mistake(
            "you added the number of the class itself. Class 9 is not nine times class 1: each has its own vector.",
            lambda time_embedding, weight, bias, y: time_embedding + y[:, None].float(),
        ),
        Mistake(
            "all examples got the class of the first one.",
            lambda time_embedding, weight, bias, y: time_embedding + weight.T[y[0]] + bias,
        ),
        Mistake(
            "you added the columns of all classes. The one-hot vector keeps one.",
            lambda time_embedding, weight, bias, y: time_embedding + weight.sum(1) + bias,
        ),
    ],
    # As many numbers in the embedding as classes, so that a row taken for a column fits and is recognised.
    lambda: [(_normal(5, 6), _normal(6, 6, seed=1), _normal(6, seed=2), torch.tensor([3, 0, 5, 3, 1]))],
)


def implicit(eps_told, eps_free, alpha_bar):
    return (eps_free - eps_told) / (1 - alpha_bar) ** 0.5


def _implicit_inputs() -> list[tuple]:
    return [(_normal(5, 2), _normal(5, 2, seed=1), SCHEDULE.alpha_bar[t]) for t in (150, 700)]


IMPLICIT = Exercise(
    "guided.implicit",
    "Write implicit(eps_told, eps_free, alpha_bar): the gradient of log p(y | x_t), with no classifier, from the noise "
    "that a model told y sees in x_t and the noise that a model told nothing sees.",
    "By (2) with s = 1 the gradient is the difference of two scores, and a score is -eps / sqrt(1 - alpha_bar).",
    implicit,
    [
        Mistake(
            "the sign: a score is minus eps, so the difference of the scores is eps_free - eps_told.",
            lambda eps_told, eps_free, alpha_bar: (eps_told - eps_free) / (1 - alpha_bar) ** 0.5,
        ),
        Mistake(
            "that is the difference of the noises. Divide by sqrt(1 - alpha_bar) to make it one of scores.",
            lambda eps_told, eps_free, alpha_bar: eps_free - eps_told,
        ),
        Mistake(
            "you subtracted the other way round, and did not divide by sqrt(1 - alpha_bar): a score is "
            "-eps / sqrt(1 - alpha_bar).",
            lambda eps_told, eps_free, alpha_bar: eps_told - eps_free,
        ),
        Mistake(
            "you divide by the variance 1 - alpha_bar; take its square root.",
            lambda eps_told, eps_free, alpha_bar: (eps_free - eps_told) / (1 - alpha_bar),
        ),
        Mistake(
            "you multiply by sqrt(1 - alpha_bar), the way from a score to the noise. Here you go back: divide.",
            lambda eps_told, eps_free, alpha_bar: (eps_free - eps_told) * (1 - alpha_bar) ** 0.5,
        ),
        Mistake(
            "you divide by the signal sqrt(alpha_bar). The noise belongs there: sqrt(1 - alpha_bar).",
            lambda eps_told, eps_free, alpha_bar: (eps_free - eps_told) / alpha_bar**0.5,
        ),
        Mistake(
            "that is the score of the model that is told the class. Subtract the score of the one that is not.",
            lambda eps_told, eps_free, alpha_bar: -eps_told / (1 - alpha_bar) ** 0.5,
        ),
    ],
    _implicit_inputs,
)


def either(log_probs, a, b):
    return log_probs[:, [a, b]].logsumexp(1)


EITHER = Exercise(
    "guided.either",
    "Write either(log_probs, a, b): log p(class a or class b | x_t) for each example, to ask for 'a boot or a bag'. "
    "log_probs (n, classes) are log p(y | x_t).",
    "A picture has one class, so the probabilities of two classes add. The logarithms do not: logsumexp.",
    either,
    [
        Mistake(
            "you added the logarithms, which multiplies the probabilities: that asks for both at once.",
            lambda log_probs, a, b: log_probs[:, a] + log_probs[:, b],
        ),
        Mistake(
            "you took the mean of the logarithms. Probabilities add: logsumexp.",
            lambda log_probs, a, b: (log_probs[:, a] + log_probs[:, b]) / 2,
        ),
        Mistake(
            "that is the likelier of the two alone. Both count: logsumexp.",
            lambda log_probs, a, b: torch.maximum(log_probs[:, a], log_probs[:, b]),
        ),
        Mistake(
            "that is the probability; guidance wants its logarithm.",
            lambda log_probs, a, b: log_probs[:, [a, b]].exp().sum(1),
        ),
        Mistake(
            "that is the logarithm of the mean of the two. It would push in the same way, but the probability of one "
            "or the other is the sum.",
            lambda log_probs, a, b: log_probs[:, [a, b]].exp().mean(1).log(),
        ),
        Mistake(
            "that is the first class alone.",
            lambda log_probs, a, b: log_probs[:, a],
        ),
        Mistake(
            "that is the second class alone.",
            lambda log_probs, a, b: log_probs[:, b],
        ),
        Mistake(
            "your logsumexp runs over all classes: that is log 1 = 0 for every picture, and pushes nowhere.",
            lambda log_probs, a, b: log_probs.logsumexp(1),
        ),
    ],
    lambda: [(_normal(6, 5, seed=seed).log_softmax(1), a, b) for seed, a, b in ((0, 0, 3), (1, 4, 1))],
)


def _reach(points: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th nearest in the set, itself counted as the 0-th."""
    return torch.cdist(points, points).topk(k + 1, dim=1, largest=False).values[:, k]


def precision(generated, real, k):
    radius = torch.cdist(real, real).topk(k + 1, dim=1, largest=False).values[:, k]
    inside = torch.cdist(generated, real) <= radius
    return inside.any(1).double().mean().item()


def _share(inside: Tensor) -> float:
    return inside.double().mean().item()


def _precision_inputs() -> list[tuple]:
    generated, real = 0.5 + 0.8 * _normal(60, 2).double(), _normal(85, 2, seed=1).double()
    return [(generated, real, k) for k in (1, 3, 5)]


PRECISION = Exercise(
    "guided.precision",
    "Write precision(generated, real, k): the share of the generated points (n, d) that lie in at least one ball "
    "around a real point (m, d). The ball of a real point reaches to its k-th nearest other real point.",
    "torch.cdist gives all distances. The nearest point of a set to one of its own points is that point itself, at "
    "distance 0, so the k-th nearest *other* one is number k + 1.",
    precision,
    [
        Mistake(
            "that is recall: the share of real points in balls around generated ones. Precision asks of each generated "
            "point whether it lies where real ones do.",
            lambda generated, real, k: precision(real, generated, k),
        ),
        Mistake(
            "your balls are too small by one: the nearest point of the set is the point itself, at distance 0. Take "
            "number k + 1.",
            lambda generated, real, k: _share((torch.cdist(generated, real) <= _reach(real, k - 1)).any(1)),
        ),
        Mistake(
            "your balls are too large by one: the point itself is the 0-th in the sorted list, so the k-th nearest "
            "other one stands at index k.",
            lambda generated, real, k: _share((torch.cdist(generated, real) <= _reach(real, k + 1)).any(1)),
        ),
        Mistake(
            "you ask for points that lie in all balls at once. One is enough: `any`.",
            lambda generated, real, k: _share((torch.cdist(generated, real) <= _reach(real, k)).all(1)),
        ),
        Mistake(
            "you took the share of all pairs. First ask for each generated point whether it lies in any ball; then "
            "take the share of points.",
            lambda generated, real, k: _share(torch.cdist(generated, real) <= _reach(real, k)),
        ),
        Mistake(
            "you gave the balls of the generated points to the question. For precision the balls stand around the "
            "real ones.",
            lambda generated, real, k: _share((torch.cdist(generated, real) <= _reach(generated, k)[:, None]).any(1)),
        ),
        Mistake(
            "that is the share of the real points whose ball holds a generated one. Ask the other way: for each "
            "generated point, whether some ball holds it.",
            lambda generated, real, k: _share((torch.cdist(generated, real) <= _reach(real, k)).any(0)),
        ),
        Mistake(
            "you counted the points. Precision is their share, between 0 and 1.",
            lambda generated, real, k: precision(generated, real, k) * len(generated),
        ),
    ],
    _precision_inputs,
)

EXERCISES: list[Exercise] = [MEAN_SHIFT, EPS_HAT, GRADIENT, TOLD, IMPLICIT, EITHER, PRECISION]
