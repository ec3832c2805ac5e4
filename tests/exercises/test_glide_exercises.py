"""The exercises of lesson 17: every mistake is told by its name, and the solutions are what the package does."""

import torch

from edu_diffusion.conditioning.lowres import LowRes
from edu_diffusion.conditioning.masks import with_hole
from edu_diffusion.diffusion import cosine, q_sample
from edu_diffusion.diffusion.editing import shortened
from edu_diffusion.exercises import glide


def test_they_are_what_the_package_does():
    x0 = torch.rand(2, 3, 8, 8) * 2 - 1
    mask = torch.rand(2, 1, 8, 8) < 0.5
    assert torch.equal(glide.hole(x0, mask), with_hole(x0, mask))
    for strength, steps in ((0.6, 25), (1.0, 10), (0.1, 20)):
        assert glide.begin(1000, strength, steps) == shortened(1000, strength, steps)
    schedule, eps = cosine(), torch.randn(x0.shape)
    worse = LowRes()(q_sample(schedule, x0, 50, eps), torch.full((2,), 50)).spatial
    torch.testing.assert_close(glide.worsen(x0, schedule.signal(50, x0), schedule.noise(50, x0), eps), worse)
