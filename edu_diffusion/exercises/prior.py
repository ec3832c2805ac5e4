"""Exercises of lesson 18: the two priors of unCLIP, what they see, and what a cosine says of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(_normal(*shape, seed=seed), dim=-1)


def loss(net, x0, signal, noise, eps):
    x_t = signal[:, None] * x0 + noise[:, None] * eps
    return (net(x_t) - x0).square().mean(1)


def _net(x):
    return torch.sin(2 * x) + 0.3


def _loss_inputs() -> list[tuple]:
    alpha_bar = torch.tensor([0.9, 0.5, 0.1])
    return [(_net, _normal(3, 5), alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), _normal(3, 5, seed=1))]


LOSS = Exercise(
    "prior.loss",
    "Write loss(net, x0, signal, noise, eps): the prior's loss of each example, as in the paper's section 2.2. x0 "
    "and eps have shape (b, d), signal and noise (b,); net(x_t) is its guess, of shape (b, d). Take the mean over d.",
    "Noise x0 first: signal x0 + noise eps. This network does not guess the noise. What it puts out is compared with "
    "x0 itself.",
    loss,
    [
        Mistake(
            "you compare the guess with eps. That is DDPM's target; this network guesses the clean embedding.",
            lambda net, x0, signal, noise, eps: (net(_noised(x0, signal, noise, eps)) - eps).square().mean(1),
        ),
        Mistake(
            "you show the network the clean embedding. It would only have to copy it; show it the noised one.",
            lambda net, x0, signal, noise, eps: (net(x0) - x0).square().mean(1),
        ),
        Mistake(
            "you compare the guess with what went in, x_t. Compare it with x0.",
            lambda net, x0, signal, noise, eps: (
                (net(_noised(x0, signal, noise, eps)) - _noised(x0, signal, noise, eps)).square().mean(1)
            ),
        ),
        Mistake(
            "you summed over the numbers of the embedding: take their mean.",
            lambda net, x0, signal, noise, eps: (net(_noised(x0, signal, noise, eps)) - x0).square().sum(1),
        ),
        Mistake(
            "you averaged over the batch, and kept the numbers of the embedding apart. Each example has a loss of "
            "its own.",
            lambda net, x0, signal, noise, eps: (net(_noised(x0, signal, noise, eps)) - x0).square().mean(0),
        ),
        Mistake(
            "that is the absolute error. Its best answer is a median, and only the squared error's is the mean.",
            lambda net, x0, signal, noise, eps: (net(_noised(x0, signal, noise, eps)) - x0).abs().mean(1),
        ),
        Mistake(
            "signal and noise are swapped: x_t is signal x0 + noise eps.",
            lambda net, x0, signal, noise, eps: loss(net, x0, noise, signal, eps),
        ),
        Mistake(
            "you forgot the noise: x_t is signal x0 + noise eps. Without eps the network sees the answer, only "
            "smaller, and has nothing to guess.",
            lambda net, x0, signal, noise, eps: loss(net, x0, signal, 0 * noise, eps),
        ),
    ],
    _loss_inputs,
)


def _noised(x0, signal, noise, eps):
    return signal[:, None] * x0 + noise[:, None] * eps


def scale(train, z):
    return (z - train.mean(0)) / train.std(0)


SCALE = Exercise(
    "prior.scale",
    "Write scale(train, z): the embeddings z, of shape (n, d), with each of their d numbers scaled so that over the "
    "embeddings `train`, of shape (m, d), it has mean 0 and standard deviation 1.",
    "train.mean(0) and train.std(0) have shape (d,). Subtract one, divide by the other.",
    scale,
    [
        Mistake(
            "you divide by the variance. The standard deviation is its square root.",
            lambda train, z: (z - train.mean(0)) / train.var(0),
        ),
        Mistake(
            "one mean and one deviation for all numbers: each of the d numbers has its own.",
            lambda train, z: (z - train.mean()) / train.std(),
        ),
        Mistake(
            "you scale each embedding by its own numbers. The statistics of one number are over many embeddings: dim "
            "0.",
            lambda train, z: (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True),
        ),
        Mistake(
            "you took the statistics of z. When one embedding is drawn there is nothing to take them of: use `train`.",
            lambda train, z: (z - z.mean(0)) / z.std(0),
        ),
        Mistake(
            "the mean is not subtracted. Noise has mean 0, and so should the data.",
            lambda train, z: z / train.std(0),
        ),
        Mistake(
            "the mean is subtracted, and the spread is as small as before: divide by the standard deviation.",
            lambda train, z: z - train.mean(0),
        ),
        Mistake(
            "that is the way back: there you multiply by the deviation and add the mean.",
            lambda train, z: z * train.std(0) + train.mean(0),
        ),
        Mistake(
            "you put each embedding to length 1. They have that length already; it is their spread that is small.",
            lambda train, z: F.normalize(z, dim=1),
        ),
    ],
    lambda: [(0.5 + 0.2 * _normal(40, 3) * torch.tensor([1.0, 2.0, 4.0]), _normal(6, 3, seed=1))],
)


def seen(real):
    b, n = real.shape
    before = torch.ones(n + 4, n + 4, dtype=torch.bool).tril()
    there = torch.cat([real, real.new_ones(b, 4)], 1)
    return before & (there[:, None, :] | torch.eye(n + 4, dtype=torch.bool))


def _there(real):
    return torch.cat([real, real.new_ones(len(real), 4)], 1)


def _before(real):
    n = real.shape[1] + 4
    return torch.ones(n, n, dtype=torch.bool).tril()


SEEN = Exercise(
    "prior.seen",
    "Write seen(real): which token of the prior's sequence may look at which. real, of shape (b, n), is True at the "
    "real words of each caption; after the n words come four tokens that are always there. The result has shape "
    "(b, n + 4, n + 4): row i is what token i looks at. Each may look at itself and at what came before it, but "
    "never at padding; only padding may look at itself.",
    "torch.ones(m, m, dtype=torch.bool).tril() is True where the column is not later than the row. Columns of padding "
    "become False, but for the diagonal.",
    seen,
    [
        Mistake(
            "nobody looks at padding, but everybody looks ahead. This transformer is causal.",
            lambda real: (_there(real)[:, None, :] | torch.eye(real.shape[1] + 4, dtype=torch.bool)).expand(
                -1, real.shape[1] + 4, -1
            ),
        ),
        Mistake(
            "padding is looked at. What stands there is no word.",
            lambda real: _before(real).expand(len(real), -1, -1),
        ),
        Mistake(
            "rows and columns are swapped: row i is what token i looks at, so the earlier ones are to the left.",
            lambda real: seen(real).transpose(1, 2),
        ),
        Mistake(
            "a token does not look at itself. One that sees nothing at all becomes NaN.",
            lambda real: seen(real) & ~torch.eye(real.shape[1] + 4, dtype=torch.bool),
        ),
        Mistake(
            "padding does not even look at itself: its softmax is over nothing, and NaN spreads from there.",
            lambda real: _before(real) & _there(real)[:, None, :],
        ),
        Mistake(
            "you struck out the rows of padding. It is the columns: what others must not look at.",
            lambda real: _before(real) & (_there(real)[:, :, None] | torch.eye(real.shape[1] + 4, dtype=torch.bool)),
        ),
        Mistake(
            "the four tokens after the caption are missing.",
            lambda real: (
                torch.ones(real.shape[1], real.shape[1], dtype=torch.bool).tril()
                & (real[:, None, :] | torch.eye(real.shape[1], dtype=torch.bool))
            ),
        ),
    ],
    lambda: [(torch.tensor([[True, True, True, False], [True, True, False, False]]),)],
)


def best(drawn, text):
    index = torch.einsum("nkd,nd->nk", drawn, text).argmax(1)
    return drawn[torch.arange(len(drawn)), index]


BEST = Exercise(
    "prior.best",
    "Write best(drawn, text): for each caption, of the k embeddings drawn for it, the one with the largest dot product "
    "with its text embedding. drawn has shape (n, k, d), text (n, d), the result (n, d).",
    'torch.einsum("nkd,nd->nk", drawn, text) has all dot products. Take the argmax over k, then choose from each row.',
    best,
    [
        Mistake(
            "you kept the ones with the smallest dot product.",
            lambda drawn, text: best(drawn, -text),
        ),
        Mistake(
            "you chose the same draw for all captions. Each has a best one of its own.",
            lambda drawn, text: drawn[:, torch.einsum("nkd,nd->k", drawn, text).argmax()],
        ),
        Mistake(
            "you averaged the draws. The mean of two embeddings is the embedding of neither.",
            lambda drawn, text: drawn.mean(1),
        ),
        Mistake(
            "you kept the first draw of each.",
            lambda drawn, text: drawn[:, 0],
        ),
        Mistake(
            "that is the dot product. What is wanted is the embedding.",
            lambda drawn, text: torch.einsum("nkd,nd->nk", drawn, text).amax(1),
        ),
        Mistake(
            "you compared with the text of another caption: row n of `drawn` belongs to row n of `text`.",
            lambda drawn, text: best(drawn, text.roll(1, 0)),
        ),
        Mistake(
            "you took the largest number of each place, from different draws. Take one draw whole.",
            lambda drawn, text: drawn.amax(1),
        ),
        Mistake(
            "you kept the draw that is most like the other draws. Compare with the text.",
            lambda drawn, text: best(drawn, drawn.mean(1)),
        ),
    ],
    lambda: [(_unit(6, 3, 4), _unit(6, 4, seed=1)), (_unit(7, 4, 5, seed=2), _unit(7, 5, seed=3))],
)


def scores(z):
    m = z.mean(0)
    return m.norm(), m.norm() ** 2


SCORES = Exercise(
    "prior.scores",
    "All that fits a caption are the n embeddings z, of shape (n, d) and length 1, each equally likely. Write "
    "scores(z): the mean cosine with the true embedding of (a) the mean of z, put to length 1; (b) a perfect prior, "
    "which draws one of the n by chance. Return both.",
    "Write m for the mean. For (a) it is m / |m| dotted with each z, averaged: what is m . m / |m|? For (b) the draw "
    "and the truth are two independent draws, and the mean of a product is the product of the means.",
    scores,
    [
        Mistake(
            "the two are swapped. The mean scores more than the perfect prior: that is the point.",
            lambda z: scores(z)[::-1],
        ),
        Mistake(
            "the mean was not put to length 1: it is shorter than what it is the mean of.",
            lambda z: (z.mean(0).norm() ** 2, z.mean(0).norm() ** 2),
        ),
        Mistake(
            "a perfect prior does not score 1: it draws one that fits, and the true one is another that fits.",
            lambda z: (z.mean(0).norm(), torch.tensor(1.0)),
        ),
        Mistake(
            "both score alike in your answer. For the perfect prior, draw and truth are both random: the lengths "
            "multiply.",
            lambda z: (z.mean(0).norm(), z.mean(0).norm()),
        ),
        Mistake(
            "you left out the pairs of an embedding with itself. One draw in n hits the true one.",
            lambda z: (z.mean(0).norm(), (z.sum(0).square().sum() - len(z)) / (len(z) * (len(z) - 1))),
        ),
        Mistake(
            "you took the mean of the lengths, which are all 1. It is the length of the mean.",
            lambda z: (z.norm(dim=1).mean(), z.norm(dim=1).mean() ** 2),
        ),
        Mistake(
            "the perfect prior's is the square of the other, not its root.",
            lambda z: (z.mean(0).norm(), z.mean(0).norm() ** 0.5),
        ),
        Mistake(
            "you averaged over the numbers of each embedding. The mean of the embeddings is over dim 0.",
            lambda z: (z.mean(1).norm(), z.mean(1).norm() ** 2),
        ),
    ],
    lambda: [(F.normalize(torch.tensor([2.0, 0, 1]) + _normal(7, 3), dim=1),)],
)


def codes(values, edges):
    return (values[:, :, None] >= edges[None]).sum(2)


CODES = Exercise(
    "prior.codes",
    "Write codes(values, edges): in which bucket each principal component lies. values has shape (n, k), edges (k, e), "
    "rising in each row. Bucket 0 is below the first edge, bucket e at or above the last; a value that equals an "
    "edge lies above it. The result has shape (n, k) and holds whole numbers.",
    "The bucket's number is how many edges of its component a value has reached.",
    codes,
    [
        Mistake(
            "that is how many edges are still above: the numbers run backwards.",
            lambda values, edges: (values[:, :, None] < edges[None]).sum(2),
        ),
        Mistake(
            "off by one: below the first edge is bucket 0.",
            lambda values, edges: codes(values, edges) + 1,
        ),
        Mistake(
            "you used the edges of the first component for all. Each has its own: the first spreads far more than "
            "the last.",
            lambda values, edges: codes(values, edges[:1].expand_as(edges)),
        ),
        Mistake(
            "a value that equals an edge lies above it: >= and not >.",
            lambda values, edges: (values[:, :, None] > edges[None]).sum(2),
        ),
        Mistake(
            "that is the nearest edge. An edge lies between two buckets, and there is one bucket more than edges.",
            lambda values, edges: (values[:, :, None] - edges[None]).abs().argmin(2),
        ),
        Mistake(
            "those buckets are equally wide, and not equally full: the edges say where they end.",
            lambda values, edges: _wide(values, edges),
        ),
    ],
    lambda: [
        (
            torch.tensor([[-2.0, -0.1], [0.0, 0.03], [0.4, 0.2], [3.0, -0.3]]),
            torch.tensor([[-1.0, 0.0, 2.0], [-0.2, 0.0, 0.05]]),
        )
    ],
)


def _wide(values, edges):
    low, high = edges[:, 0], edges[:, -1]
    return ((values - low) / (high - low) * edges.shape[1]).floor().clamp(0, edges.shape[1]).long()


def upper(levels, chance):
    first = levels // 2
    return first + (chance * (levels - first)).long()


UPPER = Exercise(
    "prior.upper",
    "The dot product of text and picture is told to the autoregressive prior as one of `levels` levels, 0 for the "
    "smallest. Write upper(levels, chance): a level of the upper half for each number of `chance`, which are even in "
    "[0, 1). Every level of the upper half is to be equally likely; levels is even.",
    "The upper half begins at levels // 2 and has as many levels as the lower one.",
    upper,
    [
        Mistake(
            "that is the lower half: pictures that hardly fit their caption.",
            lambda levels, chance: (chance * (levels // 2)).long(),
        ),
        Mistake(
            "that is any level, as in the data. The paper asks for the better half.",
            lambda levels, chance: (chance * levels).long(),
        ),
        Mistake(
            "always the highest level. It is rare in the data; the paper draws from the whole upper half.",
            lambda levels, chance: torch.full_like(chance, levels - 1).long(),
        ),
        Mistake(
            "one level too high: the highest is levels - 1.",
            lambda levels, chance: upper(levels, chance) + 1,
        ),
        Mistake(
            "you rounded: the first and the last level then come half as often, or a level comes that does not exist.",
            lambda levels, chance: levels // 2 + (chance * (levels - levels // 2)).round().long(),
        ),
        Mistake(
            "you mirrored the lower half onto the upper one: all levels of the upper half occur, but not equally "
            "often.",
            lambda levels, chance: (chance * levels).long().clamp(min=levels // 2),
        ),
    ],
    lambda: [(8, torch.tensor([0.0, 0.1, 0.3, 0.45, 0.6, 0.8, 0.95]))],
)

EXERCISES: list[Exercise] = [LOSS, SCALE, SEEN, BEST, SCORES, CODES, UPPER]
