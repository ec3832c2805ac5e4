"""What is in the zoo is what its cards say, and good enough to be there."""

import hashlib

import pytest
import torch

from edu_diffusion.zoo import ENTRIES, card, fashion_classifier, load
from edu_diffusion.zoo.store import HERE, LARGEST, card_path, weights_path

# There is no such thing as a best of these.
WITHOUT_FLOOR = (
    "accuracy",
    "time a picture",
    "time an embedding",
    "time of",
    "PSNR",  # that of bicubic and bilinear enlarging are results too
    "variational bound",
    "of it, the ",
    "cost of",
    "cosine of captions",
    "distance of the mean",
    "factor on",
)
TRAINED = [name for name in ENTRIES if card_path(name).exists()]


def test_every_entry_is_trained():
    assert list(ENTRIES) == TRAINED


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_the_card_s(name):
    made, data = card(name), weights_path(name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == made.weight_sha256 and len(data) == made.weight_bytes
    system = load(name, "cpu")
    assert made.name == name and made.system == type(system).__name__ and made.data_checksum == ENTRIES[name].content()
    assert made.parameters == sum(p.numel() for module in system.modules.values() for p in module.parameters())
    assert all(p.isfinite().all() for module in system.modules.values() for p in module.parameters())


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_says_how_it_was_trained_and_what_was_measured(name):
    made, plan = card(name), ENTRIES[name].plan
    assert made.steps == plan.steps and made.images == plan.steps * plan.batch and made.seed == plan.seed
    assert made.minutes > 0 and made.machine and made.versions["torch"]
    assert made.results, f"run `python -m edu_diffusion evaluate {name}`"
    for result in made.results.values():
        assert (result.samples >= 1000 or result.name.startswith("time")) and result.seed is not None
        assert not (result.floor is result.guess is None) or result.name.startswith(WITHOUT_FLOOR)
        assert not result.name.startswith("PSNR") or {"psnr_bicubic", "psnr_bilinear"} <= made.results.keys()


def test_the_files_are_small():
    sizes = [path.stat().st_size for path in (HERE / "weights").iterdir()]
    assert max(sizes) <= LARGEST == 8 * 2**20 and sum(sizes) < 100 * 2**20
    assert {path.stem for path in (HERE / "weights").iterdir()} == set(TRAINED)


def test_the_classifier_names_nine_in_ten():
    assert card("fashion-classifier").results["accuracy"].value >= 0.91


def test_its_features_have_a_unit():
    from edu_diffusion.data import fashion

    features = fashion_classifier().features(fashion("test").x[:500])
    assert 0.7 < features.var(dim=0).mean() < 1.4


def test_ddpm_fashion_is_far_from_noise_and_near_the_floor():
    """The course's aim is 6; the card says what has been reached."""
    fd = card("ddpm-fashion").results["fd"]
    assert fd.samples == 10_000 and fd.value <= 6 and fd.floor < 0.5


@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("ddpm")])
def test_the_network_denoises(name):
    from edu_diffusion.data import fashion
    from edu_diffusion.diffusion import q_sample

    denoiser, x0 = load(name, "cpu").denoiser, fashion("test").x[:16]
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        guess = denoiser(q_sample(denoiser.schedule, x0, 200, eps), 200)
    assert (guess.eps - eps).square().mean() < 0.15 and (guess.x0 - x0).square().mean() < 0.05


def test_the_gan_is_a_fair_rival():
    assert card("gan-fashion").results["fd"].value <= 20
