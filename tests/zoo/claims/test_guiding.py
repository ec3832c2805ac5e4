"""The claims about trained zoo models: their verdicts on numbers that are given, and what they compute themselves."""

import pytest
import torch

from edu_diffusion.systems.adm import ADM
from edu_diffusion.zoo.claims import adm, guidance, improved
from edu_diffusion.zoo.claims.arms import Arm
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms, Number
from edu_diffusion.zoo.families import training_compute
from edu_diffusion.zoo.measure import each_class


def given(module, monkeypatch, numbers):
    """`of_zoo` of this module answers from `numbers(entry, what)`."""
    monkeypatch.setattr(module, "of_zoo", lambda arms, entry, what, measure: numbers(entry, what))


def row(fd=5.0, precision=0.8, recall=0.8, right=0.9) -> dict:
    values = {"fd": float(fd), "precision": precision, "recall": recall, "class_accuracy": right}
    return values | {f"{key}_floor": 1.0 for key in values}


class TestImproved:
    @pytest.mark.parametrize(
        "linear, cosine, says", [(1.0, 4.0, HOLDS), (1.0, 1.0, IN_PART), (4.0, 9.0, IN_PART), (4.0, 1.0, DOES_NOT)]
    )
    def test_cosine(self, monkeypatch, linear, cosine, says):
        def numbers(entry, what):
            steep = cosine if entry.endswith("cosine") else linear
            return {"fd": 4 + steep * float(what.removeprefix("skips-")), "floor": 0.1}

        given(improved, monkeypatch, numbers)
        assert improved.measure_cosine(Arms()).verdict == says

    @pytest.mark.parametrize(
        "few, fifty, fixed, says",
        [(9, 4, 6, HOLDS), (30, 4, 6, IN_PART), (9, 4, 20, IN_PART), (30, 6, 6, IN_PART), (30, 6, 20, DOES_NOT)],
    )
    def test_learned_variance(self, monkeypatch, few, fifty, fixed, says):
        def numbers(entry, what):
            name, steps = what.rsplit("-", 1)
            learned = {5: 40, 10: few, 25: few, 50: fifty}.get(int(steps), 4)
            return {"fd": learned if name == "learned" else fixed if steps == "250" else 20, "floor": 0.7}

        given(improved, monkeypatch, numbers)
        assert improved.measure_variance(Arms()).verdict == says

    def test_the_noise_scale_is_the_covariance_over_the_mean(self, monkeypatch):
        """Gradients of known mean and covariance: batches of 16 have a sixteenth of one example's variance."""
        generator, mean = torch.Generator().manual_seed(0), torch.full((50,), 0.5, dtype=torch.float64)

        def gradient(system, net, times, x0, rng):
            std = 3 if isinstance(times, improved.UniformTimes) else 1
            return mean + std / 16**0.5 * torch.randn(50, generator=generator, dtype=torch.float64)

        monkeypatch.setattr(improved, "bound_gradient", gradient)
        monkeypatch.setattr(improved, "learn_losses", lambda *arguments: None)
        found = improved.noise_scales(improved.improved(improved.cosine()), batches=400, batch=16)
        assert found["uniform"] == pytest.approx(50 * 9 / (50 * 0.25), rel=0.05)
        assert found["loss-aware"] == pytest.approx(50 / (50 * 0.25), rel=0.05)

    @pytest.mark.parametrize("noise, bits, says", [(4, 3, HOLDS), (1, 3, IN_PART), (4, 4, IN_PART), (1, 4, DOES_NOT)])
    def test_importance(self, monkeypatch, noise, bits, says):
        given(improved, monkeypatch, lambda entry, what: {"uniform": noise, "loss-aware": 1})
        arms = {"cosine-vlb": Number(4.0), "cosine-vlb-aware": Number(float(bits))}
        monkeypatch.setattr(improved, "measured", lambda _, name, build: {"bits": arms[name], "fd": Number(20.0)})
        assert improved.measure_importance(Arms()).verdict == says


class TestADM:
    @pytest.mark.parametrize(
        "precision, recall, says", [(0.85, 0.7, HOLDS), (0.85, 0.8, IN_PART), (0.8, 0.8, DOES_NOT)]
    )
    def test_tradeoff(self, monkeypatch, precision, recall, says):
        def numbers(entry, what):
            return row(precision=precision, recall=recall) if what == "guided-4" else row()

        given(adm, monkeypatch, numbers)
        found = adm.measure_tradeoff(Arms())
        assert found.verdict == says
        assert len(found.numbers) == 4 * (len(adm.SCALES) + len(adm.FREE_SCALES))

    @pytest.mark.parametrize("right, at_500, says", [(0.4, 0.2, HOLDS), (0.85, 0.2, IN_PART), (0.85, 0.8, DOES_NOT)])
    def test_noisy(self, monkeypatch, tmp_path, right, at_500, says):
        times = {f"t{t}": 0.85 for t in adm.TIMES}
        given(adm, monkeypatch, lambda entry, what: times if what == "by-time" else row())
        monkeypatch.setattr(adm, "clean_twin", lambda scale, _: times | {"t500": at_500} | row(right=right))
        found = adm.measure_noisy(Arms(tmp_path, tmp_path))
        assert found.verdict == says and len(found.numbers) == 2 * (len(adm.TIMES) + 4)


class TestGuidance:
    @pytest.fixture
    def seeds(self, monkeypatch):
        """Arms whose numbers at each scale are given: `seeds[name]`, for the arm of this name."""
        numbers = {}

        def all_seeds(arms, arm: Arm):
            scales = guidance.GUIDE_SCALES if arm.name == "cg-equal" else guidance.ARM_SCALES
            rows = {s: row(**numbers.get(arm.name, {})) for s in scales}
            return [{f"{key}@{s:g}": value for s, one in rows.items() for key, value in one.items()}] * 3

        monkeypatch.setattr(guidance, "all_seeds", all_seeds)
        return numbers

    @pytest.mark.parametrize(
        "half, high, says",
        [
            (6, {"precision": 0.9, "recall": 0.5}, HOLDS),
            (4, {"precision": 0.9, "recall": 0.5}, IN_PART),
            (4, {"precision": 0.8, "recall": 0.8}, DOES_NOT),
        ],
    )
    def test_free(self, monkeypatch, seeds, half, high, says):
        seeds["cfg-0.5"] = {"fd": half}
        given(guidance, monkeypatch, lambda entry, what: row(**high) if what == "scale-5" else row())
        assert guidance.measure_free(Arms()).verdict == says

    @pytest.mark.parametrize(
        "ours, says",
        [({"fd": 4, "right": 0.95}, HOLDS), ({"fd": 4, "right": 0.5}, IN_PART), ({"right": 0.5}, DOES_NOT)],
    )
    def test_head_to_head(self, seeds, ours, says):
        seeds["cfg-0.1"] = ours
        assert guidance.measure_head_to_head(Arms()).verdict == says

    def test_compute_counts_forward_and_backward(self):
        linear = torch.nn.Linear(784, 10, bias=False)

        class OneLayer:
            def __init__(self):
                self.modules = {"net": linear}

            def losses(self, batch, rng):
                yield "net", linear(batch.x.flatten(1)).square().mean(), {}

        # Two for multiply and add; forwards, and backwards to the weights (the pictures need no gradient).
        assert training_compute(OneLayer()) == 2 * 784 * 10 * 2

    def test_both_ways_train_with_the_same_compute(self):
        network, classifier = (training_compute(r) for r in (ADM(guidance.small_adm()), guidance.small_classifier()))
        steps = round((guidance.STEPS - guidance.GUIDED_STEPS) * network / classifier)
        spent = guidance.GUIDED_STEPS * network + steps * classifier
        assert spent == pytest.approx(guidance.STEPS * network, rel=0.01) and steps > 100

    def test_the_arm_s_network_is_its_widths(self):
        assert guidance.small_adm().widths == guidance.WIDTHS


def test_every_class_equally_often():
    assert torch.bincount(each_class()).tolist() == [25] * 10
