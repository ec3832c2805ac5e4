"""Exercises of lesson 02: projecting, the denoiser's loss, masks, codes drawn from a Gaussian, and the score."""

from collections.abc import Iterator

import torch
from torch import Tensor

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _seeded(inputs: list[tuple]) -> Iterator[tuple]:
    """The inputs, under one state of torch's own random numbers: an answer that draws its own is recognised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        yield from inputs


def project(x, mean, components):
    code = (x - mean) @ components.T
    return mean + code @ components


def _orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(_normal(columns, rows, seed=3)).Q.T


PROJECT = Exercise(
    "codes.project",
    "Write project(x, mean, components): equation (3). x has shape (n, d), mean (d,), components (k, d), its rows "
    "orthonormal. The result has the shape of x.",
    "First the code: x - mean, times components.T, of shape (n, k). Then back: the code times components. What was "
    "taken away at first must be there at last.",
    project,
    [
        Mistake(
            "the mean was taken away and never put back: your result lies around 0.",
            lambda x, mean, components: (x - mean) @ components.T @ components,
        ),
        Mistake(
            "the mean is put back, but was never taken away: take it from x before you make the code.",
            lambda x, mean, components: mean + x @ components.T @ components,
        ),
        Mistake(
            "that is right only if the mean is 0: the plane of (3) goes through the mean. Take the mean away first, "
            "and put it back at the end.",
            lambda x, mean, components: x @ components.T @ components,
        ),
        Mistake(
            "that is the code, k numbers for each x. Go back: the code times components, and the mean.",
            lambda x, mean, components: (x - mean) @ components.T,
        ),
        Mistake(
            "that is what the code leaves out, x less its projection.",
            lambda x, mean, components: x - project(x, mean, components),
        ),
        Mistake(
            "you took the mean of this batch. A code must not depend on which other pictures are there: use `mean`.",
            lambda x, mean, components: project(x, x.mean(0), components),
        ),
    ],
    lambda: [(_normal(5, 4), _normal(4, seed=1), _orthonormal(2, 4))],
)


def score(denoised, noisy, sigma):
    return (denoised - noisy) / sigma**2


SCORE = Exercise(
    "codes.score",
    "Write score(denoised, noisy, sigma): the score of the noised data at noisy, if denoised is the best guess at the "
    "clean data.",
    "Solve equation (6) for the gradient. The arrow goes from the noisy point to the guess.",
    score,
    [
        Mistake(
            "the sign: your arrows point away from the data. They go from the noisy point to the guess: denoised - "
            "noisy.",
            lambda denoised, noisy, sigma: (noisy - denoised) / sigma**2,
        ),
        Mistake(
            "the direction is right, the length is not: divide by the variance `sigma**2`, and not by the standard "
            "deviation.",
            lambda denoised, noisy, sigma: (denoised - noisy) / sigma,
        ),
        Mistake(
            "that is the residual, which is sigma**2 times the score. Divide it.",
            lambda denoised, noisy, sigma: denoised - noisy,
        ),
        Mistake(
            "you multiplied by `sigma**2`: the residual is already sigma**2 times the score. Divide.",
            lambda denoised, noisy, sigma: (denoised - noisy) * sigma**2,
        ),
        Mistake(
            "sign and length are wrong: that is the guess at the standard noise in the point. The score is minus that, "
            "over sigma once more.",
            lambda denoised, noisy, sigma: (noisy - denoised) / sigma,
        ),
        Mistake(
            "that is the guess itself over sigma**2. A score is a direction at the noisy point: subtract that point "
            "first.",
            lambda denoised, noisy, sigma: denoised / sigma**2,
        ),
    ],
    lambda: [(_normal(5, 2), _normal(5, 2, seed=1), sigma) for sigma in (0.3, 2.0)],
)


def dae_loss(denoise, x, eps, sigma):
    return (denoise(x + sigma * eps) - x).square().mean()


LOSS = Exercise(
    "codes.dae_loss",
    "Write dae_loss(denoise, x, eps, sigma): the mean squared error of a denoising autoencoder that is shown x with "
    "noise of standard deviation sigma. denoise is a function, eps is standard normal noise of the shape of x.",
    "What goes in is x + sigma eps. What should come out?",
    dae_loss,
    [
        Mistake(
            "you compare with the noisy input. A network that copies would have no error, and would learn to copy. "
            "Compare with the clean x.",
            lambda denoise, x, eps, sigma: (denoise(x + sigma * eps) - (x + sigma * eps)).square().mean(),
        ),
        Mistake(
            "the network never saw the noise: that is the plain autoencoder's loss.",
            lambda denoise, x, eps, sigma: (denoise(x) - x).square().mean(),
        ),
        Mistake(
            "the wrong way round: the network gets the clean x, and has to put out the noisy one, which nobody can "
            "guess.",
            lambda denoise, x, eps, sigma: (denoise(x) - (x + sigma * eps)).square().mean(),
        ),
        Mistake(
            "you multiply eps by the variance. Noise of standard deviation sigma is `sigma * eps`.",
            lambda denoise, x, eps, sigma: (denoise(x + sigma**2 * eps) - x).square().mean(),
        ),
        Mistake(
            "that noise has standard deviation 1, and not sigma.",
            lambda denoise, x, eps, sigma: (denoise(x + eps) - x).square().mean(),
        ),
        Mistake(
            "you ask for the noise. One can (lesson 09 does), but this network puts out the clean x.",
            lambda denoise, x, eps, sigma: (denoise(x + sigma * eps) - eps).square().mean(),
        ),
        Mistake(
            "you summed; the mean was asked for.",
            lambda denoise, x, eps, sigma: (denoise(x + sigma * eps) - x).square().sum(),
        ),
        Mistake(
            "that is the mean absolute error. Its best answer is a median; that of squares is a mean, which (6) needs.",
            lambda denoise, x, eps, sigma: (denoise(x + sigma * eps) - x).abs().mean(),
        ),
    ],
    lambda: [(torch.tanh, _normal(3, 4), _normal(3, 4, seed=1), sigma) for sigma in (0.3, 2.0)],
)


def mask(x, chance, share):
    return torch.where(chance < share, torch.zeros_like(x), x)


MASK = Exercise(
    "codes.mask",
    "Write mask(x, chance, share): pictures x of shape (n, 1, h, w) with a share of their pixels hidden. chance has "
    "the same shape and holds a number in [0, 1) for each pixel: where it is below share, the pixel becomes 0, a "
    "middle grey.",
    "`chance < share` is true at the pixels to hide. torch.where takes one thing where it is true and another where it "
    "is not.",
    mask,
    [
        Mistake(
            "the other way round: you hide all but a share.",
            lambda x, chance, share: torch.where(chance < share, x, torch.zeros_like(x)),
        ),
        Mistake(
            "you made the hidden pixels black, -1. Black is also the ground of every picture, so nobody could tell "
            "what is hidden; 0 was asked for.",
            lambda x, chance, share: torch.where(chance < share, -torch.ones_like(x), x),
        ),
        Mistake(
            "you faded all pixels a little. A pixel is hidden, or it is as it was.",
            lambda x, chance, share: (1 - share) * x,
        ),
        Mistake(
            "you made the others brighter, as dropout does inside a network. Pixels that are seen stay as they are.",
            lambda x, chance, share: mask(x, chance, share) / (1 - share),
        ),
        Mistake(
            "you hide whole pictures: each pixel has a chance of its own.",
            lambda x, chance, share: mask(x, chance[:, :, :1, :1], share),
        ),
        Mistake(
            "you hide the same pixels in every picture of the batch.",
            lambda x, chance, share: mask(x, chance[:1], share),
        ),
        Mistake(
            "you drew random numbers of your own. Use those in chance, so that a training can be repeated.",
            lambda x, chance, share: mask(x, torch.rand_like(x), share),
        ),
    ],
    lambda: _seeded(
        [
            (_normal(3, 1, 4, 4).clamp(-1, 1), _uniform(3, 1, 4, 4, seed=seed), share)
            for seed, share in ((1, 0.3), (2, 0.6))
        ]
    ),
)


def draw(mean, cov, z):
    root = torch.linalg.cholesky(cov)
    return mean + z @ root.T


DRAW = Exercise(
    "codes.draw",
    "Write draw(mean, cov, z): codes with this mean, of shape (k,), and this covariance, (k, k), made of standard "
    "normal z, of shape (n, k). Use the lower triangular L of torch.linalg.cholesky(cov), for which L @ L.T is cov.",
    "For one z, standing upright, the code is mean + L z. The rows of z lie down: what is (L z) as a row?",
    draw,
    [
        Mistake(
            "the root is the wrong way round: `z @ L` has the covariance L.T @ L. For rows it is `z @ L.T`.",
            lambda mean, cov, z: mean + z @ torch.linalg.cholesky(cov),
        ),
        Mistake(
            "you multiplied by the covariance itself. As with a variance, it is its root that stretches the noise.",
            lambda mean, cov, z: mean + z @ cov,
        ),
        Mistake(
            "every number has its own right spread, but they know nothing of each other: what lies beside the "
            "covariance's diagonal counts as well.",
            lambda mean, cov, z: mean + z * cov.diagonal().sqrt(),
        ),
        Mistake(
            "you multiplied by the variances, and left out what lies beside the diagonal. Take the root L of the whole "
            "covariance.",
            lambda mean, cov, z: mean + z * cov.diagonal(),
        ),
        Mistake("the spread is right, and the mean is missing.", lambda mean, cov, z: draw(0 * mean, cov, z)),
        Mistake(
            "the mean is right, the spread is that of z: it must be stretched by L.", lambda mean, cov, z: mean + z
        ),
        Mistake(
            "you stretched the mean too: first z times the root, then the mean is added.",
            lambda mean, cov, z: (mean + z) @ torch.linalg.cholesky(cov).T,
        ),
    ],
    lambda: [(_normal(3), torch.tensor([[4.0, 1.0, 0.5], [1.0, 2.0, -0.8], [0.5, -0.8, 1.5]]), _normal(6, 3, seed=1))],
)


def blend(decode, z1, z2, share):
    return decode((1 - share) * z1 + share * z2)


BLEND = Exercise(
    "codes.blend",
    "Write blend(decode, z1, z2, share): the picture on the way from code z1 to code z2, a share in [0, 1] of the way "
    "along the straight line between the codes. decode is a function.",
    "Mix first, decode once.",
    blend,
    [
        Mistake(
            "you decode both and mix the pictures: that is a double exposure. Mix the codes, then decode.",
            lambda decode, z1, z2, share: (1 - share) * decode(z1) + share * decode(z2),
        ),
        Mistake(
            "the other way round: share 0 must give z1, and yours gives z2.",
            lambda decode, z1, z2, share: decode(share * z1 + (1 - share) * z2),
        ),
        Mistake(
            "the two weights must sum to 1: share and 1 - share. Yours ends at z1 + z2.",
            lambda decode, z1, z2, share: decode(z1 + share * z2),
        ),
        Mistake(
            "that is always the middle of the two. Use share.",
            lambda decode, z1, z2, share: decode((z1 + z2) / 2),
        ),
        Mistake(
            "that is the code on the way, not yet a picture: decode it.",
            lambda decode, z1, z2, share: (1 - share) * z1 + share * z2,
        ),
        Mistake(
            "brackets: you decode z1 alone and add codes to the picture.",
            lambda decode, z1, z2, share: decode(z1) + share * (z2 - z1),
        ),
    ],
    lambda: [(torch.tanh, _normal(4, 3), _normal(4, 3, seed=1), share) for share in (0.0, 0.3, 1.0)],
)

EXERCISES: list[Exercise] = [PROJECT, LOSS, MASK, DRAW, BLEND, SCORE]
