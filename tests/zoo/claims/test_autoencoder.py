"""The claims of lesson 02: measuring on cases whose answer is known, verdicts on made-up numbers."""

import pytest
import torch

from edu_diffusion.data import ring
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.autoencoder import Autoencoder, conv_autoencoder
from edu_diffusion.zoo.claims import autoencoder as claims
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestGaps:
    @pytest.mark.parametrize(
        "fitted, near, vae, says",
        [(40, 15, 30, HOLDS), (40, 25, 30, IN_PART), (40, 15, 38, IN_PART), (40, 25, 45, DOES_NOT)],
    )
    def test_the_verdict(self, monkeypatch, fitted, near, vae, says):
        stored = {"standard-normal": 90, "fitted-Gaussian": fitted, "01-from-real-codes": near, "drawn": vae}
        asked = []

        def of_zoo(arms, entry, what, measure):
            asked.append((entry, what))
            paired = {"error": 20.0} if "real" in what else {"floor": 0.3}
            return {"fd": float(stored.get(what, 10))} | paired

        monkeypatch.setattr(claims, "of_zoo", of_zoo)
        found = claims.measure_gaps(Arms())
        assert found.verdict == says and found.numbers["VAE, its prior: FD"].value == vae
        assert found.numbers["AE, fitted Gaussian: FD"].floor == 0.3
        assert found.numbers["AE, codes of real pictures: FD"].floor is None
        assert ("vae-fashion", "drawn") in asked and len(asked) == len(set(asked)) == 6

    @pytest.fixture
    def small(self, monkeypatch):
        """A Fréchet distance that is quick, and says how bright the pictures are; an untrained autoencoder."""
        monkeypatch.setattr(claims, "SAMPLES", 30)
        monkeypatch.setattr(claims, "BATCH", 20)
        monkeypatch.setattr(
            claims, "fd", lambda images, seed: Measured("FD", images.mean().item() + 1, len(images), seed, floor=0.5)
        )
        torch.manual_seed(0)
        system = Autoencoder(conv_autoencoder(3, widths=(16, 16), blocks=1, channels=4))
        system.fit(torch.rand(40, 1, 28, 28, generator=seeded()) * 2 - 1)
        return system

    def test_a_step_of_no_length_is_the_reconstruction(self, small):
        test = claims.fashion("test").x[:30]
        images = small.reconstruct(test)
        found = claims.near(small, 0.0)
        assert found["fd"] == pytest.approx(images.mean().item() + 1)
        assert found["error"] == pytest.approx(127.5 * (images - test).square().mean().sqrt().item(), rel=1e-5)
        assert "floor" not in found and claims.near(small, 0.3)["fd"] != found["fd"]

    def test_drawn_codes_are_asked_for_in_batches(self, small):
        asked = []

        def draw(count, generator):
            asked.append(count)
            return torch.zeros(count, 1, 28, 28)

        assert claims.sampled(draw) == {"fd": 1.0, "floor": 0.5} and asked == [20, 20]
        assert claims.drawn(small)["fd"] != claims.standard(small)["fd"]


class StoredScores(Arms):
    """Arms whose errors are given by sigma, and which never train."""

    def __init__(self, errors: dict[float, float], **other):
        super().__init__()
        self.errors, self.other = errors, other

    def get(self, name, measure):
        sigma = next(s for s in claims.SIGMAS if f"-{claims.key(f'{s:g}')}-" in name)
        error = self.errors.get(sigma, 0.1)
        numbers = {"near_cosine": 1 - error / 10, "near_error": error, "far_cosine": 0.5, "far_error": 3.0}
        numbers |= {"near_miss": 0.05, "far_miss": 2.5}
        return numbers | {"budget": claims.budget() | self.other, "minutes": 1.0}


class TestScore:
    @pytest.mark.parametrize(
        "errors, says", [({}, HOLDS), ({0.1: 0.4}, IN_PART), (dict.fromkeys(claims.SIGMAS, 0.6), DOES_NOT)]
    )
    def test_the_verdict(self, errors, says):
        found = claims.measure_score(StoredScores(errors))
        assert found.verdict == says and len(found.numbers) == 6 * len(claims.SIGMAS)
        number = found.numbers["sigma 0.1, where the data are: relative error"]
        assert number.value == pytest.approx(errors.get(0.1, 0.1)) and number.seeds == 3
        assert found.why.endswith("far from them by 2.5") and found.why.count("sigma") == len(claims.SIGMAS)

    def test_arms_of_another_budget_are_refused(self):
        with pytest.raises(ValueError, match=r"another budget \(steps\)"):
            claims.measure_score(StoredScores({}, steps=5))

    def test_every_arm_has_a_name_of_its_own(self):
        assert len({claims.key(f"{sigma:g}") for sigma in claims.SIGMAS}) == len(claims.SIGMAS)

    def test_agreement_of_known_fields(self):
        exact = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        for ours, cosine, error in ((exact, 1, 0), (2 * exact, 1, 1), (-exact, -1, 2), (exact.flip(1), 0, 2**0.5)):
            # The exact scores have lengths 3 and 4: as changes of a point, sigma^2 times that.
            wanted = {"cosine": cosine, "error": error, "miss": 0.5**2 * error * (25 / 2) ** 0.5}
            assert claims.agreement(ours, exact, 0.5) == pytest.approx(wanted)

    def test_far_places_are_far_from_every_cluster(self):
        noised = ring().diffused(1.0, 0.2)
        x = claims.far_places(noised, 3000, seeded())
        apart = torch.cdist(x.double(), noised.means).min(1).values
        assert x.shape == (3000, 2) and x.abs().max() <= claims.REACH
        assert apart.min() > claims.AWAY * noised.stds[0]
        assert (x.norm(dim=1) < 0.5).any()  # the middle of the ring is far as well

    def test_a_short_training_finds_the_score_near_the_data(self, monkeypatch):
        short = {"POINTS": 5000, "STEPS": 400, "PER_STEP": 256, "WIDTH": 32, "PLACES": 1000, "RATE": 0.01}
        for name, value in short.items():
            monkeypatch.setattr(claims, name, value)
        found = claims.run_score(0.5, 0)
        assert found["near_cosine"] > 0.9 and found["near_error"] < 0.4
        assert set(found) == set(claims.MEASURED)
