import math

import pytest
import torch

from edu_diffusion.data import Empirical, GaussianMixture, fashion, ring


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uneven() -> GaussianMixture:
    means = torch.tensor([[1.0, 0.0, -1.0], [-0.5, 2.0, 0.0]])
    return GaussianMixture(means, torch.tensor([0.3, 0.7]), torch.tensor([3.0, 1.0]))


def one_number_each(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    angle = torch.linspace(0.1, 1.4, n)
    return angle.cos(), angle.sin()


def test_moments_are_those_of_samples():
    mixture, x = uneven(), uneven().sample(200_000, generator()).double()
    assert torch.allclose(x.mean(0), mixture.mean(), atol=0.01)
    assert torch.allclose(x.T.cov(), mixture.cov(), atol=0.015)


def test_samples_follow_the_generator():
    one, same, other = (ring().sample(5, generator(seed)) for seed in (1, 1, 2))
    assert one.equal(same) and not one.equal(other) and one.dtype == torch.float32


def test_log_prob_agrees_with_torch_distributions():
    mixture, x = uneven(), uneven().sample(50, generator())
    parts = torch.distributions.MultivariateNormal(
        mixture.means, mixture.stds[:, None, None] ** 2 * torch.eye(3, dtype=torch.float64)
    )
    oracle = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(mixture.weights), parts)
    assert torch.allclose(mixture.log_prob(x.double()), oracle.log_prob(x.double()))


def test_score_is_the_gradient_of_log_prob():
    x = uneven().sample(50, generator()).double().requires_grad_()
    (gradient,) = torch.autograd.grad(uneven().log_prob(x).sum(), x)
    assert torch.allclose(uneven().score(x.detach()), gradient)


def test_diffused_is_the_distribution_of_noised_samples():
    x0 = uneven().sample(200_000, generator())
    x_t = 0.8 * x0 + 0.6 * torch.randn(x0.shape, generator=generator(1))
    diffused = uneven().diffused(0.8, 0.6)
    assert torch.allclose(x_t.double().T.cov(), diffused.cov(), atol=0.015)
    assert torch.allclose(diffused.mean(), 0.8 * uneven().mean())


def test_posterior_mean_and_score_obey_tweedies_formula():
    # E[x0 | x_t] = (x_t + noise^2 * score of x_t) / signal
    x_t = 2 * torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    expected = (x_t + 0.6**2 * uneven().diffused(0.8, 0.6).score(x_t)) / 0.8
    assert torch.allclose(uneven().posterior_mean(x_t, 0.8, 0.6), expected)


def test_posterior_mean_agrees_with_weighting_many_samples():
    x0 = uneven().sample(400_000, generator()).double()
    x_t = torch.tensor([[0.5, 0.4, -0.3]], dtype=torch.float64)
    weights = (-(x_t - 0.8 * x0).square().sum(1) / (2 * 0.6**2)).softmax(0)
    assert torch.allclose(uneven().posterior_mean(x_t, 0.8, 0.6)[0], weights @ x0, atol=0.01)


def test_posterior_mean_takes_a_level_for_each_point():
    x_t = torch.randn(6, 3, generator=generator())
    signal, noise = one_number_each(6)
    each = [uneven().posterior_mean(x[None], s.item(), n.item()) for x, s, n in zip(x_t, signal, noise, strict=True)]
    assert torch.allclose(uneven().posterior_mean(x_t, signal, noise), torch.cat(each), atol=1e-6)


def test_ends_of_the_posterior_mean():
    x_t = torch.randn(5, 3, generator=generator())
    assert torch.allclose(uneven().posterior_mean(x_t, 1.0, 0.0), x_t, atol=1e-6)
    assert torch.allclose(uneven().posterior_mean(x_t, 0.0, 1.0), uneven().mean().float().expand(5, 3), atol=1e-6)


def test_ring_is_a_circle_of_equal_modes():
    mixture = ring(k=5, radius=3.0, std=0.2)
    assert torch.allclose(mixture.means.norm(dim=1), torch.full((5,), 3.0, dtype=torch.float64))
    assert torch.allclose(mixture.mean(), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(mixture.cov(), (9 / 2 + 0.04) * torch.eye(2, dtype=torch.float64))


def test_the_ring_and_the_eight_gaussians_are_one_distribution():
    from edu_diffusion.data import eight_gaussians

    toy, exact = eight_gaussians(100_000, generator()), ring().sample(100_000, generator(1))
    assert ring().log_prob(toy).mean().item() == pytest.approx(ring().log_prob(exact).mean().item(), abs=0.02)


@pytest.mark.parametrize("bad", [{"stds": 0.0}, {"stds": 0.1, "weights": torch.tensor([1.0, 0.0])}])
def test_empty_components_are_refused(bad):
    with pytest.raises(ValueError, match="positive"):
        GaussianMixture(torch.zeros(2, 3), **bad)


def brute_force(points: torch.Tensor, x_t: torch.Tensor, signal: float, noise: float) -> torch.Tensor:
    distance = (x_t[:, None] - signal * points).square().flatten(2).sum(2)
    return torch.einsum("nm,m...->n...", (-distance / (2 * noise**2)).softmax(1), points)


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("shape", [(2,), (1, 3, 3)])
def test_empirical_posterior_mean_agrees_with_brute_force(chunk, shape):
    points = torch.randn(30, *shape, generator=generator(), dtype=torch.float64)
    x_t = torch.randn(5, *shape, generator=generator(1), dtype=torch.float64)
    found = Empirical(points, chunk=chunk).posterior_mean(x_t, 0.8, 0.6)
    assert torch.allclose(found, brute_force(points, x_t, 0.8, 0.6))


def test_empirical_is_the_limit_of_narrow_gaussians():
    points = torch.randn(30, 2, generator=generator())
    x_t = torch.randn(5, 2, generator=generator(1))
    narrow = GaussianMixture(points, 1e-6).posterior_mean(x_t, 0.8, 0.6)
    assert torch.allclose(Empirical(points).posterior_mean(x_t, 0.8, 0.6), narrow, atol=1e-5)


def test_empirical_takes_a_level_for_each_point():
    points, x_t = torch.randn(30, 1, 3, 3, generator=generator()), torch.randn(6, 1, 3, 3, generator=generator(1))
    signal, noise = one_number_each(6)
    each = [brute_force(points, x[None], s.item(), n.item()) for x, s, n in zip(x_t, signal, noise, strict=True)]
    assert torch.allclose(Empirical(points).posterior_mean(x_t, signal, noise), torch.cat(each), atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-4, 1e-2])
def test_with_little_noise_it_gives_back_the_very_picture(noise):
    pictures = fashion("test").x[:500]
    x_t = math.sqrt(1 - noise**2) * pictures[:20] + noise * torch.randn(20, 1, 28, 28, generator=generator())
    assert Empirical(pictures, chunk=128).posterior_mean(x_t, math.sqrt(1 - noise**2), noise).equal(pictures[:20])


def test_with_no_signal_it_gives_the_mean_of_all():
    pictures = fashion("test").x[:500]
    x_t = torch.randn(3, 1, 28, 28, generator=generator())
    found = Empirical(pictures, chunk=128).posterior_mean(x_t, 0.0, 1.0)
    assert torch.allclose(found, pictures.mean(0).expand(3, 1, 28, 28), atol=1e-5)


def test_empirical_samples_are_its_points():
    points = torch.randn(4, 2, generator=generator())
    drawn = Empirical(points).sample(200, generator())
    assert drawn.unique(dim=0).equal(points.unique(dim=0))


def test_empirical_refuses_another_shape():
    with pytest.raises(ValueError, match=r"\(1, 28, 28\)"):
        Empirical(fashion("test").x[:10]).posterior_mean(torch.zeros(2, 784), 1.0, 1.0)
