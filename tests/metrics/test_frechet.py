import inspect

import pytest
import torch

from edu_diffusion.metrics import frechet_distance, real_floor


def features(n: int, dims: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dims, generator=generator) @ torch.randn(dims, dims, generator=generator)


def by_eigenvalues(a: torch.Tensor, b: torch.Tensor) -> float:
    """The same distance another way: tr (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2)."""
    a, b = a.double(), b.double()
    roots = []
    for cov in (a.T.cov(), b.T.cov()):
        values, vectors = torch.linalg.eigh(cov)
        roots.append(vectors * values.clamp(min=0).sqrt() @ vectors.T)
    cross = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * cross).item()


def test_agrees_with_another_derivation():
    a, b = features(500), features(300, seed=1) + 0.5
    assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-8)


def test_agrees_at_the_size_in_use():
    a, b = features(2000, 128).relu(), features(2000, 128, seed=1).relu()
    assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-6)


def test_equal_sets_are_at_zero_and_order_does_not_matter():
    a, b = features(500), features(400, seed=1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_known_case_of_two_gaussians():
    # Sets made to have exactly these moments: means 3 apart, standard deviations 1 and 2 along each of 4 axes.
    x = features(200, 4).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T
    shift = torch.tensor([3.0, 0, 0, 0], dtype=torch.float64)
    assert frechet_distance(white, 2 * white + shift) == pytest.approx(9 + 4, rel=1e-9)


def test_a_dead_feature_does_no_harm():
    a, b = features(300), features(300, seed=1)
    dead = torch.zeros(300, 1)
    both = frechet_distance(torch.cat([a, dead], 1), torch.cat([b, dead], 1))
    assert both == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_large_means_do_not_spoil_it():
    a, b = features(500), features(500, seed=1)
    assert frechet_distance(a + 1000, b + 1000) == pytest.approx(frechet_distance(a, b), rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(8, 500), (500, 8), (2, 2)])
def test_too_few_samples_are_refused(n, m):
    with pytest.raises(ValueError, match=rf"more than 8 samples in each set, got {n} and {m}"):
        frechet_distance(features(n), features(m))


def test_features_of_two_lengths_are_refused():
    unchecked = inspect.unwrap(frechet_distance)  # without the shape check that only the tests have
    with pytest.raises(ValueError, match=r"\(50, 8\) and \(50, 7\)"):
        unchecked(features(50, 8), features(50, 7))


def test_features_that_are_not_finite_are_refused():
    broken = features(50)
    broken[3, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(features(50), broken)


def test_the_floor_shrinks_as_samples_grow_and_follows_its_seed():
    real, reference = features(4000), features(4000)[torch.randperm(4000)]
    few, many = real_floor(real, reference, 100), real_floor(real, reference, 2000)
    assert few > 3 * many > 0
    assert real_floor(real, reference, 100) == few != real_floor(real, reference, 100, seed=1)


def test_a_floor_cannot_use_more_than_there_is():
    with pytest.raises(ValueError, match="got 50"):
        real_floor(features(50), features(50), 51)
