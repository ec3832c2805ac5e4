import pytest
import torch

from edu_diffusion.metrics import manifold, precision_recall


def gaussian(n: int, seed: int = 0, dims: int = 4) -> torch.Tensor:
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed))


def covered(points: torch.Tensor, support: torch.Tensor, k: int) -> float:
    """Equations 1 to 3 word for word, one vector at a time."""
    inside = 0
    for point in points:
        for i, centre in enumerate(support):
            others = torch.cat([support[:i], support[i + 1 :]])
            radius = (others - centre).norm(dim=1).sort().values[k - 1]
            if (point - centre).norm() <= radius:
                inside += 1
                break
    return inside / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_agrees_with_brute_force(k):
    generated, real = gaussian(60), 1.5 * gaussian(50, seed=1) + 0.5
    precision, recall = precision_recall(generated=generated, real=real, k=k)
    assert precision == pytest.approx(covered(generated, real, k))
    assert recall == pytest.approx(covered(real, generated, k))
    assert 0.1 < precision < 1 and 0.1 < recall < 1  # or the comparison would show nothing


def test_chunks_do_not_matter():
    real, points = gaussian(100), 2 * gaussian(50, seed=1)
    assert manifold(real, 3, chunk=7).radii.equal(manifold(real, 3).radii)
    assert manifold(real).contains(points, chunk=7).equal(manifold(real).contains(points))


def test_the_same_set_twice_is_perfect_and_far_ones_are_nothing():
    assert precision_recall(generated=gaussian(100), real=gaussian(100)) == (1, 1)
    assert precision_recall(generated=gaussian(100), real=gaussian(100, seed=1) + 100) == (0, 0)


def test_a_dropped_mode_costs_recall_only():
    left, right = gaussian(200) - 20, gaussian(200, seed=1) + 20
    precision, recall = precision_recall(generated=gaussian(400, seed=2) - 20, real=torch.cat([left, right]))
    assert precision > 0.8 and 0.35 < recall < 0.5


def test_an_invented_mode_costs_precision_only():
    left, right = gaussian(200) - 20, gaussian(200, seed=1) + 20
    precision, recall = precision_recall(generated=torch.cat([left, right]), real=gaussian(400, seed=2) - 20)
    assert 0.35 < precision <= 0.5 and recall > 0.8


def test_copies_have_a_ball_of_radius_zero_around_them():
    # Large values, where distances worked out in float32 would not be 0.
    points = (1000 * gaussian(50)).repeat(4, 1)
    assert manifold(points, 3).radii.max() < 1e-2


@pytest.mark.parametrize(("n", "m"), [(3, 50), (50, 3)])
def test_too_few_samples_are_refused(n, m):
    with pytest.raises(ValueError, match="at least 4 samples"):
        precision_recall(generated=gaussian(n), real=gaussian(m))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        precision_recall(generated=gaussian(50) / 0, real=gaussian(50))
