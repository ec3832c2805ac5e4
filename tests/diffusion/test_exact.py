"""The exact denoiser: E[x0 | x_t] for one time or many, for points and for pictures."""

import torch

from edu_diffusion.data import Empirical, ring
from edu_diffusion.diffusion import FIXED_LARGE, exact_denoiser, linear


def test_of_points_and_of_pictures_it_is_the_posterior_mean():
    schedule, generator = linear(), torch.Generator().manual_seed(0)
    pictures = Empirical(torch.rand(30, 1, 4, 4, generator=generator) * 2 - 1)
    for known, shape in ((ring(), (3, 2)), (pictures, (3, 1, 4, 4))):
        x_t, t = torch.randn(shape, generator=generator), torch.tensor([5, 300, 900])
        guess = exact_denoiser(known, schedule)(x_t, t).x0
        for i, time in enumerate(t.tolist()):
            alone = known.posterior_mean(x_t[i : i + 1], schedule.signal(time, x_t), schedule.noise(time, x_t))
            torch.testing.assert_close(guess[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_no_guess_has_a_smaller_error():
    """The mean squared error of the exact guess grows with every change of it."""
    schedule, generator = linear(), torch.Generator().manual_seed(0)
    x0 = ring().sample(20_000, generator)
    eps = torch.randn(x0.shape, generator=generator)
    x_t = schedule.signal(400, x0) * x0 + schedule.noise(400, x0) * eps
    guess = exact_denoiser(ring(), schedule)(x_t, 400).x0
    best = (guess - x0).square().mean()
    for other in (1.05 * guess, 0.95 * guess, guess + 0.05):
        assert (other - x0).square().mean() > best


def test_its_variance_is_the_one_asked_for():
    now = exact_denoiser(ring(), linear(), FIXED_LARGE)(torch.zeros(1, 2), 500)
    assert now.variance is FIXED_LARGE
