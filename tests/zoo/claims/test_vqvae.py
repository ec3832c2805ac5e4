"""The claim about the learned prior: its verdict on numbers that are given, and what it measures, on tiny models."""

import math
from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.code_prior import CodePrior, CodeTransformer
from edu_diffusion.systems.vqvae import VQVAE, VQNet
from edu_diffusion.types import Rng
from edu_diffusion.zoo.claims import vqvae as claim
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms
from edu_diffusion.zoo.claims.vqvae import LEARNED, PLACES, UNIFORM

K = 16
CODEC = {"fd": 4.0, "floor": 0.1, "error": 0.03, "used": 0.98, "perplexity": 70.0, "size": 128}
BITS = {LEARNED: 150.0, PLACES: 260.0, UNIFORM: 343.0, "codec_weights": "now"}


@pytest.fixture(scope="module")
def prior() -> CodePrior:
    torch.manual_seed(0)
    codec = VQVAE(VQNet(K, 8, widths=(16, 32)))
    for step in range(2):
        list(codec.losses(fashion()[slice(0, 64)], Rng(step)))
    return CodePrior(codec, CodeTransformer(K, width=32, depth=1))


@pytest.fixture
def few(monkeypatch):
    """A training and a test set of some hundred pictures."""

    def first(split="train") -> LabelledImages:
        return LabelledImages(fashion(split).levels[:300], fashion(split).y[:300])

    monkeypatch.setattr(claim, "fashion", first)


@pytest.fixture
def given(monkeypatch):
    """The claim reads its numbers from `fds[way]`, one for each seed."""
    fds = {LEARNED: [9.0, 9.2, 9.4], PLACES: [60.0, 61.0, 62.0], UNIFORM: [200.0, 201.0, 202.0]}

    def of_zoo(arms, entry, what, measure):
        if what == "codebook":
            return CODEC
        if what == "bits":
            return BITS
        way, seed = what.rsplit("-seed", 1)
        return {"fd": fds[way.replace("-", " ")][int(seed)], "floor": 0.1, "codec_weights": "now"}

    monkeypatch.setattr(claim, "of_zoo", of_zoo)
    monkeypatch.setattr(claim, "card", lambda name: SimpleNamespace(weight_sha256="now"))
    return fds


@pytest.mark.parametrize(
    ("learned", "says"),
    [([9, 9.2, 9.4], HOLDS), ([58, 59, 60], IN_PART), ([190, 195, 196], DOES_NOT), ([0, 60, 120], IN_PART)],
)
def test_the_verdict(given, learned, says):
    """A tenth lower than both; a mean that is low only by chance does not count."""
    given[LEARNED] = [float(value) for value in learned]
    found = claim.measure_prior(Arms())
    assert found.verdict == says and len(found.numbers) == 3 + 4 + 3
    assert found.numbers["learned prior: FD"].seeds == 3 and "98% of the 128 codes" in found.why


def test_records_of_other_weights_are_refused(given, monkeypatch):
    monkeypatch.setattr(claim, "card", lambda name: SimpleNamespace(weight_sha256="another"))
    with pytest.raises(ValueError, match="other weights than vqvae-fashion has now"):
        claim.measure_prior(Arms())


def test_every_way_draws_its_own_pictures(prior, few, monkeypatch):
    monkeypatch.setattr(claim, "BATCH", 10)
    monkeypatch.setattr(claim, "each_class", lambda: torch.arange(10))
    seen = []

    def fd(images, seed):
        seen.append(images)
        return Measured("Fréchet distance", images.mean().abs().item(), len(images), seed, floor=0.1)

    monkeypatch.setattr(claim, "fd", fd)
    for way in claim.WAYS:
        found = claim.distance(claim.source_of(prior, way), 3, way == LEARNED, samples=25)
        assert found["floor"] == 0.1 and math.isfinite(found["fd"])
    assert [len(images) for images in seen] == [25] * 3
    assert not seen[0].equal(seen[1]) and not seen[1].equal(seen[2])


def test_the_codebook_is_measured_on_the_test_set(prior, few, monkeypatch):
    monkeypatch.setattr(claim, "fd", lambda images, seed: Measured("FD", 1.0, len(images), seed, floor=0.5))
    found = claim.codebook_of(prior.codec, samples=30)
    test = fashion("test").x[:30]
    assert found["error"] == pytest.approx((prior.codec.reconstruct(test) - test).square().mean().item())
    assert found["used"] == len(prior.codec.encode(test).unique()) / K
    assert 1 <= found["perplexity"] <= K and found["size"] == K


def test_bits_of_an_untrained_prior_are_those_of_uniform_codes(prior, few):
    found = claim.bits_of(prior, samples=20)
    assert found[LEARNED] == pytest.approx(49 * math.log2(K)) == found[UNIFORM]
    assert 0 < found[PLACES] < found[UNIFORM]
