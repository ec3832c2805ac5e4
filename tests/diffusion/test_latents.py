"""DDIM backwards, and the way between two noises."""

import math

import pytest
import torch

from edu_diffusion.data import ring
from edu_diffusion.diffusion import Denoiser, cosine, ddim, exact_denoiser, generate, invert, linear, slerp


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestInvert:
    def test_up_and_down_again_comes_back_the_nearer_the_more_steps(self):
        distribution = ring(std=0.3)
        denoiser, x0 = exact_denoiser(distribution, cosine()), distribution.sample(200, seeded())
        errors = []
        for steps in (25, 100, 400):
            *_, last = invert(denoiser, x0, steps=steps)
            again = generate(denoiser, x0.shape, steps=steps, rule=ddim(), x_init=last.x)
            errors.append((again - x0).square().mean().sqrt().item())
        assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.05

    def test_what_it_finds_looks_like_noise(self):
        distribution = ring(std=0.3)
        *_, last = invert(exact_denoiser(distribution, cosine()), distribution.sample(5000, seeded()), steps=200)
        assert last.t == 1000
        torch.testing.assert_close(last.x.mean(0), torch.zeros(2), atol=0.06, rtol=0)
        torch.testing.assert_close(last.x.T.cov(), torch.eye(2), atol=0.08, rtol=0)

    def test_with_a_constant_eps_it_is_exact_in_any_number_of_steps(self):
        x0, eps = torch.randn(2, 3, 1, 4, 4, generator=seeded())
        denoiser = Denoiser(lambda x, t, cond: eps, linear())
        *_, last = invert(denoiser, x0, steps=3)
        torch.testing.assert_close(last.x, linear().signal(1000, x0) * x0 + linear().noise(1000, x0) * eps)
        torch.testing.assert_close(
            generate(denoiser, x0.shape, steps=7, rule=ddim(), x_init=last.x), x0, atol=1e-3, rtol=0
        )

    def test_steps_rise_and_may_be_given(self):
        denoiser = Denoiser(lambda x, t, cond: 0 * x, linear())
        assert [step.t for step in invert(denoiser, torch.zeros(1, 2), steps=[900, 300, 0])] == [300, 900]
        with pytest.raises(ValueError, match="fall strictly"):
            list(invert(denoiser, torch.zeros(1, 2), steps=[0, 300, 900]))


class TestSlerp:
    def test_the_ends_and_the_middle(self):
        a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        torch.testing.assert_close(slerp(a, b, 0.0), a)
        torch.testing.assert_close(slerp(a, b, 1.0), b, atol=1e-6, rtol=0)
        torch.testing.assert_close(slerp(a, b, 0.5), torch.full((1, 2), math.sqrt(0.5)))

    def test_it_keeps_the_length_of_noise(self):
        a, b = torch.randn(2, 4, 1, 28, 28, generator=seeded())
        half = slerp(a, b, 0.5).flatten(1).norm(dim=1)
        assert ((half / a.flatten(1).norm(dim=1) - 1).abs() < 0.05).all()
        assert (((a + b) / 2).flatten(1).norm(dim=1) < 0.75 * half).all()

    def test_the_same_vector_twice(self):
        a = torch.randn(2, 5, generator=seeded())
        torch.testing.assert_close(slerp(a, a, 0.3), a)

    def test_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="one shape"):
            slerp(torch.zeros(1, 2), torch.zeros(1, 3), 0.5)
