import math

import pytest
import torch

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.nets.vit import ViT
from edu_diffusion.systems.autoencoder import (
    Autoencoder,
    DenoisingAutoencoder,
    conv_autoencoder,
    conv_denoiser,
    grey_error,
    linear_autoencoder,
)
from edu_diffusion.systems.code_prior import CodePrior, CodeTransformer
from edu_diffusion.systems.mae import MAE, MAENet, untrained
from edu_diffusion.systems.vae import VAE, vae_net
from edu_diffusion.systems.vqvae import VQVAE, VQNet
from edu_diffusion.types import Batch, Rng
from edu_diffusion.zoo import measure, measure_families

SAMPLES = 150


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Only 300 pictures of each split."""

    def part(split="train"):
        data = fashion(split)
        return LabelledImages(data.levels[:300], data.y[:300])

    for room in (measure, measure_families):
        monkeypatch.setattr(room, "fashion", part)
    measure.real_features.cache_clear()
    measure.drawn_features.cache_clear()
    yield part
    measure.real_features.cache_clear()
    measure.drawn_features.cache_clear()


@pytest.fixture
def codec():
    torch.manual_seed(0)
    system = VQVAE(VQNet(size=16, width=16))
    [_] = system.losses(Batch(fashion("train").x[:64]), Rng(0))  # its codes go where the encoder's vectors are
    system.modules["net"].eval()
    return system


def test_principal_components_score_as_principal_components(few):
    """A linear autoencoder whose weights are the components is off by as much as they are."""
    train, k = few("train").x, 5
    mean, components, _ = measure_families.principal_components(train, k)
    ae = Autoencoder(linear_autoencoder(k))
    encode, decode = ae.net.encoder[1], ae.net.decoder[0]
    with torch.no_grad():
        encode.weight.copy_(components)
        encode.bias.copy_(-components @ mean)
        decode.weight.copy_(components.T)
        decode.bias.copy_(mean)
    ae.fit(train)
    found = measure_families.measure_autoencoder(ae, seed=1, samples=SAMPLES)
    assert found["error"].value == pytest.approx(found["pca_error"].value, rel=1e-4)
    assert found["error"].floor == 0 and found["fd"].samples == SAMPLES and found["fd"].seed == 1


def test_an_autoencoder_must_know_where_its_codes_lie():
    with pytest.raises(ValueError, match="call fit"):
        measure_families.measure_autoencoder(Autoencoder(conv_autoencoder(2, widths=(16, 16))), samples=SAMPLES)


def test_a_denoiser_is_measured_beside_the_noise(few):
    found = measure_families.measure_denoising(DenoisingAutoencoder(conv_denoiser(widths=(16, 16))))
    assert found["noisy_error"].value == pytest.approx(0.5 * 127.5, rel=0.02)
    assert found["error"].samples == 300 and found["error"].value != found["noisy_error"].value


def test_a_masked_autoencoder_s_probe_stands_beside_the_pixels(few, monkeypatch):
    monkeypatch.setattr(measure_families, "PROBE", 300)
    mae = MAE(untrained(MAENet(ViT(width=32, depth=1), width=32, depth=1)))
    found = measure_families.measure_mae(mae, seed=2)
    assert 0.4 < found["pixel_accuracy"].value < 1 and 0.1 < found["accuracy"].value < 1
    assert found["hidden"].value == pytest.approx(mae.error(few("test").x, 2))


def test_a_probe_on_the_class_itself_is_right(few):
    answers = iter((few("train").y, few("test").y))
    assert measure_families.probe(lambda x: torch.nn.functional.one_hot(next(answers), 10).float(), 300) > 0.99


def test_a_vae_s_bound(few):
    torch.manual_seed(0)
    vae = VAE(vae_net(4, widths=(16, 32), channels=4))
    found, test = measure_families.measure_vae(vae, samples=SAMPLES), few("test").x
    assert found["error"].value == pytest.approx(grey_error(vae.reconstruct(test), test))
    assert found["active"].floor == 4 and found["kl"].value >= 0 and found["bits"].value > 1
    assert {"fd", "precision", "recall"} <= set(found)


def test_a_codebook_s_use(few, codec):
    found = measure_families.measure_vqvae(codec, samples=SAMPLES)
    assert 1 <= found["perplexity"].value <= 16 * found["used"].value <= 16
    assert found["fd_again"].samples == SAMPLES and found["fd_again"].floor > 0


def test_codes_are_guessed_at_a_cost(few, codec):
    prior = CodePrior(codec, CodeTransformer(codes=16, width=32, depth=1))
    found = measure_families.measure_code_prior(prior, samples=SAMPLES)
    blind = 49 * math.log2(16)
    assert found["bits"].value == pytest.approx(blind, rel=0.3) and f"{blind:g}" in found["bits"].unit
    assert found["class_accuracy"].samples == SAMPLES
