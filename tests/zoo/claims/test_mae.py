"""The claim about the masked autoencoder: its verdict on given numbers, and what it computes itself."""

import pytest
import torch

from edu_diffusion.data import fashion
from edu_diffusion.metrics import extract
from edu_diffusion.nets.vit import ViT
from edu_diffusion.systems.mae import MAE, MAENet
from edu_diffusion.zoo.claims import mae
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms

GOOD = {
    "mae-25": 0.80,
    "mae-50": 0.83,
    "mae-75": 0.86,
    "mae-90": 0.84,
    "mae-untrained": 0.75,
    "mae-labelled": 0.90,
    "probe-pixels": 0.82,
    "probe-pca": 0.83,
}


class StoredArms(Arms):
    """Arms whose accuracy is given, and which never train."""

    def __init__(self, right: dict[str, float], spread: float = 0.001):
        super().__init__()
        self.right, self.spread, self.asked = GOOD | right, spread, []

    def get(self, name, measure):
        self.asked.append(name)
        arm, _, seed = name.partition("-seed")
        accuracy = self.right[arm] + self.spread * (int(seed or 1) - 1)
        return {"accuracy": accuracy, "hidden": 0.1, "budget": mae.budget(), "minutes": 5.0}


class TestVerdict:
    @pytest.mark.parametrize(
        ("right", "says"),
        [
            ({}, HOLDS),
            ({"probe-pixels": 0.86}, IN_PART),
            ({"mae-untrained": 0.86}, IN_PART),
            ({"mae-90": 0.875}, IN_PART),  # another ratio is better
            ({"mae-25": 0.859}, IN_PART),  # the least is as good
            ({"mae-75": 0.79, "probe-pixels": 0.82, "mae-untrained": 0.79}, DOES_NOT),
        ],
    )
    def test_parts(self, right, says):
        assert mae.measure_probe(StoredArms(right)).verdict == says

    def test_a_difference_within_the_spread_is_none(self):
        assert mae.measure_probe(StoredArms({})).verdict == HOLDS
        assert mae.measure_probe(StoredArms({}, spread=0.1)).verdict == DOES_NOT

    def test_the_numbers(self):
        arms = StoredArms({})
        found = mae.measure_probe(arms)
        assert found.numbers["MAE, 75% hidden: named right"].value == pytest.approx(86)
        assert found.numbers["MAE, 75% hidden: named right"].seeds == 3
        assert found.numbers["784 pixels: named right"].seeds == 1
        assert len(found.numbers) == 4 * 2 + 4
        assert "86.0% at 75%" in found.why and "90.0% from encoder trained on labels" in found.why
        assert arms.asked.count("probe-pixels") == 1 and "mae-90-seed2" in arms.asked


def never(checkpoint):
    raise AssertionError("measured again")


class TestArms:
    @pytest.fixture
    def small(self, monkeypatch, tmp_path):
        """Arms of two steps, with tiny networks and a probe on few pictures."""
        test = fashion("test")[slice(60)]
        monkeypatch.setattr(mae, "fashion", lambda split="train": fashion() if split == "train" else test)
        small = {"width": 32, "depth": 1}
        budget = {"STEPS": 2, "BATCH": 4, "PROBE": 80, "PICTURES": 5, "ENCODER": small, "DECODER": small}
        for name, value in budget.items():
            monkeypatch.setattr(mae, name, value)
        return Arms(tmp_path, tmp_path / "runs")

    def test_an_arm_is_trained_and_measured_once(self, small):
        record = mae.stored(small, "mae-75-seed0", lambda checkpoint: mae.train_masked(0.75, 0, checkpoint))
        assert 0 <= record["accuracy"] <= 1 and record["hidden"] > 0 and record["budget"] == mae.budget()
        assert mae.stored(small, "mae-75-seed0", never) == record

    def test_an_arm_of_another_budget_is_refused(self, small, monkeypatch):
        mae.stored(small, "some", lambda checkpoint: {"accuracy": 0.5})
        monkeypatch.setattr(mae, "STEPS", 3)
        with pytest.raises(ValueError, match=r"another budget \(steps\)"):
            mae.stored(small, "some", never)

    def test_the_other_two_encoders(self, small):
        for run in (mae.train_labelled, mae.measure_untrained):
            record = mae.stored(small, run.__name__, lambda checkpoint, run=run: run(0, checkpoint))
            assert 0 <= record["accuracy"] <= 1

    def test_what_is_measured_are_the_averaged_weights(self, small):
        system = mae.trained(MAE(MAENet(ViT(**mae.ENCODER), **mae.DECODER)), 0)
        assert system.modules["net"] is not system.net
        assert not system.modules["net"].training
        x = fashion("test").x[:3]
        assert torch.equal(system.features(x), system.modules["net"](x))

    def test_components_keep_what_varies_most(self, small):
        known = fashion()[slice(80)].x
        few, all_but_few = (extract(mae.components(count), known).var(0) for count in (5, 20))
        torch.testing.assert_close(few.sort().values, all_but_few.sort().values[-5:], rtol=1e-3, atol=1e-3)
        whole = mae.pixels(known).var(0).sum()
        assert all_but_few.sum() > 0.8 * whole and all_but_few.sum() <= 1.001 * whole
