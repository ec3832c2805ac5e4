import pytest
import torch

from edu_diffusion.data import fashion
from edu_diffusion.metrics import nearest


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("shape", [(5,), (1, 4, 4)])
def test_agrees_with_brute_force(shape, chunk):
    queries, references = random(20, *shape), random(30, *shape, seed=1)
    square = (queries[:, None] - references).square().flatten(2).mean(2)
    found = nearest(queries, references, chunk=chunk)
    assert found.index.equal(square.argmin(1))
    assert torch.allclose(found.distance, square.amin(1).sqrt())


def test_a_copy_is_found_at_distance_zero():
    pictures = fashion("test").x[:2000]
    found = nearest(pictures[150:160], pictures, chunk=300)
    assert found.index.tolist() == list(range(150, 160)) and found.distance.tolist() == [0.0] * 10


def test_black_against_white_is_the_largest_distance():
    assert nearest(torch.ones(1, 1, 28, 28), -torch.ones(3, 1, 28, 28)).distance.item() == pytest.approx(2)


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        nearest(random(3, 1, 28, 28), random(3, 784))
    with pytest.raises(ValueError, match="at least one reference"):
        nearest(random(3, 4), random(0, 4))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        nearest(random(3, 4) / 0, random(3, 4))
    with pytest.raises(ValueError, match="finite"):
        nearest(random(3, 4), random(3, 4) / 0)
