import math
from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.systems.vae import VAE, vae_net
from edu_diffusion.zoo.claims import vae
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms

BOUNDS = {"elbo": 100.0, "bound_1": 100.0, "bound_10": 104.0, "bound_100": 106.0}
BOUNDS |= {"bits_1": 3.5, "bits_10": 3.49, "bits_100": 3.48, "gain_10": 4.0, "gain_10_error": 0.3}
BOUNDS |= {"gain_100": 2.0, "gain_100_error": 0.2}


class StoredArms(Arms):
    """Arms whose numbers are given by beta, and which never train."""

    def __init__(self, active: dict[float, float], error: dict[float, float]):
        super().__init__()
        self.active, self.error = active, error

    def get(self, name, measure):
        beta = float(name.removeprefix("vae-beta-").rsplit("-seed", 1)[0])
        numbers = {"fd": 50.0 + beta, "floor": 0.3, "kl": 20.0, "elbo": 90.0, "bits": 3.5, "std": 0.2}
        numbers |= {"active": self.active[beta], "error": self.error[beta], "minutes": 4.0, "machine": "a machine"}
        return numbers | {"budget": vae.budget(beta)}


def by_beta(*values):
    return dict(zip(vae.BETAS, values, strict=True))


@pytest.fixture
def zoo(monkeypatch):
    numbers = dict(BOUNDS)
    monkeypatch.setattr(vae, "of_zoo", lambda arms, entry, what, measure: numbers)
    return numbers


@pytest.mark.parametrize(
    "active, error, lift, says",
    [
        ((16, 16, 12, 8, 4), (0.2, 0.21, 0.23, 0.3, 0.5), 2.0, HOLDS),
        ((16, 16, 12, 8, 4), (0.2, 0.21, 0.23, 0.3, 0.5), 0.3, IN_PART),  # a lift that may be chance
        ((16, 16, 12, 8, 9), (0.2, 0.21, 0.23, 0.3, 0.5), 2.0, IN_PART),  # more units with more weight
        ((16, 16, 16, 14, 10), (0.2, 0.21, 0.23, 0.3, 0.5), 2.0, IN_PART),  # most units stay in use
        ((16, 16, 12, 8, 4), (0.2, 0.21, 0.21, 0.21, 0.22), 2.0, IN_PART),  # the error stays
        ((16, 16, 16, 16, 16), (0.2, 0.21, 0.21, 0.21, 0.21), 0.1, DOES_NOT),
    ],
)
def test_the_verdict(zoo, active, error, lift, says):
    zoo["gain_100"] = lift
    found = vae.measure_elbo(StoredArms(by_beta(*active), by_beta(*error)))
    assert found.verdict == says
    assert found.numbers["beta = 64: units in use"].value == active[-1]
    assert found.numbers["beta = 0.25: FD"].value == 50.25 and found.numbers["beta = 0.25: FD"].floor == 0.3
    assert f"beta 64: {active[-1]} of 16 units in use" in found.why
    assert found.numbers["vae-fashion: lift from 10 to 100 draws"].value == lift


@pytest.fixture
def few(monkeypatch):
    """Few pictures, and a Fréchet distance that is quick."""

    def part(split="train"):
        data = fashion(split)
        return LabelledImages(data.levels[:20], data.y[:20])

    monkeypatch.setattr(vae, "fashion", part)
    monkeypatch.setattr(vae, "fd", lambda images, seed: SimpleNamespace(value=float(len(images)), floor=0.5))
    monkeypatch.setattr(vae, "SAMPLES", 6)


def small(**options) -> VAE:
    torch.manual_seed(0)
    return VAE(vae_net(4, widths=(16, 32), channels=4, std=0.5), **options)


def test_what_is_measured_of_an_arm(few):
    system = small()
    found = vae.evaluate(system, 0)
    assert set(found) == {*vae.SHOWN, "floor"} and found["fd"] == 6
    x = fashion("test").x[:20]
    assert found["error"] == pytest.approx((system.reconstruct(x) - x).square().mean().sqrt().item())
    assert found["active"] <= 4 and found["bits"] > 0 and found["std"] == pytest.approx(0.5)
    # Of one Gaussian for all pixels: what the error and the KL say, the ELBO says as well.
    pixels = found["error"] ** 2 / (2 * 0.25) + math.log(0.5) + 0.5 * math.log(math.tau)
    assert found["elbo"] == pytest.approx(-784 * pixels - found["kl"], rel=0.05)


def test_the_bounds_rise_with_the_draws(few, monkeypatch):
    monkeypatch.setattr(vae, "DRAWS", (1, 4, 16))
    system = small()
    system.net.decoder[0].weight.data *= 5  # so that the draws matter
    found = vae.bounds(system)
    assert found["bound_1"] < found["bound_4"] < found["bound_16"]
    assert found["gain_4"] == pytest.approx(found["bound_4"] - found["bound_1"], abs=1e-2)
    assert found["gain_4_error"] > 0 and found["bits_16"] < found["bits_1"]


def test_the_standard_error_of_a_mean():
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert vae.standard_error(values) == pytest.approx(0.01, rel=0.05)


class TestArms:
    @pytest.fixture
    def quick(self, few, monkeypatch, tmp_path):
        """Arms that train for three steps."""
        for name, value in {"BATCH": 2, "WIDTHS": (16, 32), "SEEDS": (0,), "STEPS": 3, "LATENT": 4}.items():
            monkeypatch.setattr(vae, name, value)
        return Arms(tmp_path, tmp_path / "runs")

    def test_an_arm_trains_and_is_measured_once(self, quick, monkeypatch):
        found = vae.measured_arm(quick, 4.0)
        assert found["fd"].value == 6 and found["fd"].floor == 0.5 and 0 <= found["active"].value <= 4
        assert [path.name for path in quick.folder.iterdir()] == ["vae-beta-4-seed0.json"]
        monkeypatch.setattr(vae, "run_arm", None)
        assert vae.measured_arm(quick, 4.0) == found  # stored: nothing is trained again

    def test_arms_of_another_budget_are_refused(self, quick, monkeypatch):
        vae.all_seeds(quick, 4.0)
        monkeypatch.setattr(vae, "STEPS", 4)
        with pytest.raises(ValueError, match="vae-beta-4-seed0 was measured with another budget"):
            vae.all_seeds(quick, 4.0)

    def test_the_weight_reaches_the_training(self, quick):
        """A weight that outweighs all else: the code comes closer to the prior."""
        free, bound = (vae.run_arm(beta, 0)["kl"] for beta in (0.0, 1e5))
        assert bound < free
