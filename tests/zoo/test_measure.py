from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.diffusion import FIXED_SMALL, X0, Denoiser, cosine, linear, simple_loss
from edu_diffusion.metrics import Measured, real_floor
from edu_diffusion.systems.adm import ADM
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM, improved_unet
from edu_diffusion.zoo import measure


@pytest.fixture
def few(monkeypatch):
    """Only 300 pictures of each split."""

    def part(split="train"):
        data = fashion(split)
        return LabelledImages(data.levels[:300], data.y[:300])

    monkeypatch.setattr(measure, "fashion", part)
    measure.real_features.cache_clear()
    measure.drawn_features.cache_clear()
    yield part
    measure.real_features.cache_clear()
    measure.drawn_features.cache_clear()


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


def test_the_floor_is_that_of_pictures_drawn_by_the_seed(few):
    one, other = measure.drawn_features(100), measure.drawn_features(100, seed=1)
    assert len(one) == 100 and one.equal(measure.drawn_features(100)) and not one.equal(other)
    assert real_floor(measure.real_features("train"), measure.real_features("test"), 200) == pytest.approx(
        measure.fd(few("test").x[:200], seed=0).floor, rel=1e-3
    )
    with pytest.raises(ValueError, match="as many real pictures, got 300"):
        measure.drawn_features(301)


def test_a_denoiser_s_results_name_their_floor(few):
    results = measure.measure_denoiser(SimpleNamespace(denoiser=constant(-1.0)), seed=3, samples=150)
    assert results.pop("seconds").value > 0
    assert set(results) == {"fd", "precision", "recall", "class_entropy", "nearest"}
    for result in results.values():
        assert result.samples == 150 and result.seed == 3 and result.floor is not None
    assert results["class_entropy"].value == 0 and results["class_entropy"].floor > 3
    # All samples are one black picture: nothing of what is real is made.
    assert results["recall"].value < 0.1 < results["recall"].floor
    assert results["nearest"].floor == pytest.approx(measure.nearest(few("test").x, few("train").x).distance.median())


class DrawsItsClass(torch.nn.Module):
    """Told a class, it answers with the first training picture of that class."""

    def forward(self, x_t, t, cond):
        data = fashion("train")
        pictures = torch.stack([data.x[data.y == y][0] for y in range(10)])
        return torch.einsum("bk,kchw->bchw", cond.vec, pictures)


def test_a_model_that_is_told_the_class_is_asked_for_each_as_often(few):
    system = ADM(net=DrawsItsClass(), target=X0, variance=FIXED_SMALL, loss=simple_loss)
    results = measure.measure_denoiser(system, samples=200)
    assert results["class_accuracy"].value > 0.8 and results["class_accuracy"].floor > 0.85
    assert results["class_entropy"].value > 2.5


def test_entropy_of_classes():
    assert measure.entropy(torch.arange(10)) == pytest.approx(3.3219, abs=1e-3)
    assert measure.entropy(torch.zeros(5, dtype=torch.long)) == 0
    assert measure.entropy(torch.tensor([0, 1])) == 1


def test_results_of_a_guided_model_say_so():
    plain = {"fd": Measured("Fréchet distance", 2.0, 10, 0)}
    found = measure.prefixed("guided", "guided by 2", plain)["guided_fd"]
    assert found.name == "Fréchet distance, guided by 2" and found.value == 2


def test_bits_of_an_improved_model_come_with_their_parts(few, monkeypatch):
    torch.manual_seed(0)
    system = ImprovedDDPM(improved_unet(widths=(16, 32), attention=(False, False)), schedule=cosine(20))
    plain = {"fd": Measured("Fréchet distance", 2.0, 10, 0)}
    monkeypatch.setattr(measure, "measure_sampling", lambda *_, **how: plain if how else {})
    found = measure.measure_improved(system, pictures=20)
    assert found["ancestral_fd"].name.endswith("by 50 ancestral steps")
    assert found["bits"].value > found["bits_last"].value > 0 and found["bits_prior"].value > 0
    assert found["bits"].unit == "bits/dim" and found["bits"].samples == 20
