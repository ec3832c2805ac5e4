from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.diffusion import X0, Denoiser, linear
from edu_diffusion.zoo import measure


@pytest.fixture
def few(monkeypatch):
    """Only 300 pictures of each split."""

    def part(split="train"):
        data = fashion(split)
        return LabelledImages(data.levels[:300], data.y[:300])

    monkeypatch.setattr(measure, "fashion", part)
    measure.real_features.cache_clear()
    yield part
    measure.real_features.cache_clear()


def constant(value: float) -> Denoiser:
    return Denoiser(lambda x_t, t, cond=None: x_t * 0 + value, linear(), X0)


def follows_noise() -> Denoiser:
    return Denoiser(lambda x_t, t, cond=None: x_t, linear(), X0)


def test_samples_are_the_same_whatever_the_count():
    few, more = (measure.draw(follows_noise(), count, steps=2, batch=4) for count in (3, 10))
    assert len(few) == 3 and len(more) == 10 and more[:3].equal(few)
    assert not more[4:8].equal(more[:4])
    assert not measure.draw(follows_noise(), 3, seed=1, steps=2, batch=4).equal(few)


def test_samples_stay_in_the_range_of_pictures():
    assert measure.draw(constant(3.0), 2, steps=2, batch=2).max() == 1


def test_fd_of_real_pictures_is_the_floor(few):
    train = measure.fd(few("train").x, seed=0)
    assert train.samples == 300 and train.value == pytest.approx(train.floor, rel=1e-4)
    grey = measure.fd(torch.zeros(200, 1, 28, 28) - 0.5, seed=0)
    assert grey.value > 5 * grey.floor


def test_a_denoiser_s_results_name_their_floor(few):
    results = measure.measure_denoiser(SimpleNamespace(denoiser=constant(-1.0)), seed=3, samples=150)
    assert set(results) == {"fd", "precision", "recall", "nearest"}
    for result in results.values():
        assert result.samples == 150 and result.seed == 3 and result.floor is not None
    # All samples are one black picture: nothing of what is real is made.
    assert results["recall"].value < 0.1 < results["recall"].floor
    assert results["nearest"].floor == pytest.approx(measure.nearest(few("test").x, few("train").x).distance.median())
