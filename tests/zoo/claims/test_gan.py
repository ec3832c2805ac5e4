"""The claim about modes: its verdict on numbers that are given, and what it counts itself, on cases that are known."""

from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.data import ring
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.zoo import ENTRIES
from edu_diffusion.zoo.claims import gan
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms, Number
from edu_diffusion.zoo.families import training_compute


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestVerdict:
    @pytest.fixture
    def given(self, monkeypatch):
        """Modes of each arm by seed, and recall of the two entries, both trained with the same compute."""

        def give(modes, recall, compute=(250.0, 250.0)):
            def all_seeds(arms, arm):
                return [{"modes": count, "near": 0.9} for count in modes[arm.name]]

            def of_card(entry, prefix=""):
                i = 0 if entry == gan.GAN_ENTRY else 1
                numbers = {"recall": recall[i], "precision": 0.8, "fd": 9.0, "compute": compute[i], "parameters": 10}
                return {key: Number(value) for key, value in numbers.items()}

            monkeypatch.setattr(gan, "all_seeds", all_seeds)
            monkeypatch.setattr(gan, "of_card", of_card)
            return gan.measure_modes(Arms())

        return give

    @pytest.mark.parametrize(
        ("plain", "diffusion", "recall", "says"),
        [
            ((3, 8, 5), (8, 8, 8), (0.5, 0.8), HOLDS),
            ((7, 7, 7), (8, 8, 8), (0.77, 0.8), HOLDS),
            ((8, 8, 7), (8, 8, 8), (0.5, 0.8), IN_PART),  # the plain GAN drops too little
            ((3, 3, 3), (8, 8, 7), (0.5, 0.8), IN_PART),  # diffusion has dropped one
            ((3, 3, 3), (8, 8, 8), (0.78, 0.8), IN_PART),
            ((8, 8, 8), (8, 8, 8), (0.9, 0.8), DOES_NOT),
        ],
    )
    def test_it_says(self, given, plain, diffusion, recall, says):
        found = given({"ring-gan": plain, "ring-gan-r1": (8, 8, 8), "ring-ddpm": diffusion}, recall)
        assert found.verdict == says
        assert found.numbers["ring, plain GAN: covered"].value == sum(plain) / 3
        assert found.numbers["ring, plain GAN: covered"].floor == 8  # real samples cover all
        assert found.numbers["Fashion-MNIST, GAN: recall"].value == recall[0]
        assert len(found.numbers) == 3 * 2 + 2 * 5

    def test_unlike_trainings_are_not_compared(self, given):
        modes = dict.fromkeys(("ring-gan", "ring-gan-r1", "ring-ddpm"), (8, 8, 8))
        with pytest.raises(ValueError, match=r"for 1\.25 times as many steps"):
            given(modes, (0.5, 0.8), compute=(200.0, 250.0))
        given(modes, (0.5, 0.8), compute=(230.0, 250.0))


class TestCovered:
    def test_real_samples_cover_all(self):
        found = gan.covered(ring().sample(10_000, seeded()))
        assert found["modes"] == 8
        assert found["near"] == pytest.approx(1 - 2.718281828**-4.5, abs=0.005)  # three sigmas in the plane

    def test_a_few_strays_cover_nothing(self):
        """A tenth of a fair share is 1.25%: 1% of the samples at a mode do not make it found, 2% do."""
        centres = ring().means.float()
        for share, wanted in ((10, 1), (20, 2)):
            points = torch.cat([centres[:1].expand(1000 - share, 2), centres[1:2].expand(share, 2)])
            assert gan.covered(points) == {"modes": wanted, "near": 1.0}

    def test_points_between_the_modes_are_at_none(self):
        centres = ring().means.float()
        between = (centres + centres.roll(1, 0)) / 2
        assert gan.covered(between) == {"modes": 0, "near": 0.0}


class TestCompute:
    def test_it_averages_a_period(self):
        """R1 at every fourth turn costs a quarter of what R1 at every turn costs."""
        plain, lazy, each = (gan.ring_gan(gamma) for gamma in (0.0, 1.0, 1.0))
        lazy.lazy = 4
        costs = [training_compute(one, gan.few_points()) for one in (plain, lazy, each)]
        assert costs[1] - costs[0] == pytest.approx((costs[2] - costs[0]) / 4) and costs[2] > 1.2 * costs[0]

    def test_all_arms_cost_the_same_and_are_of_one_size(self):
        spent = [arm.steps() * training_compute(arm.build(), gan.few_points()) for arm in gan.RING.values()]
        assert max(spent) == pytest.approx(min(spent), rel=1e-3)
        sizes = [sum(p.numel() for net in arm.build().modules.values() for p in net.parameters())
                 for arm in gan.RING.values()]  # fmt: skip
        assert max(sizes) < 1.15 * min(sizes)

    @pytest.mark.parametrize("entry", ["gan-fashion", "vae-fashion"])
    def test_the_zoo_s_cost_what_ddpm_costs(self, entry):
        spent = [training_compute(ENTRIES[name].build()) * ENTRIES[name].plan.steps for name in (entry, "ddpm-fashion")]
        assert spent[0] == pytest.approx(spent[1], rel=0.01)
        gan.check_equal(*spent)

    def test_of_a_card(self, monkeypatch):
        results = {key: Measured(key, 0.5, 100, 0, floor=0.9) for key in gan.PICTURES}
        made = SimpleNamespace(images=1000, parameters=7, results=results)
        monkeypatch.setattr(gan, "card", lambda entry: made)
        found = gan.of_card("ddpm-fashion")
        assert found["recall"] == Number(0.5, floor=0.9) and found["parameters"].value == 7
        assert found["compute"].value == pytest.approx(1000 * training_compute(DDPM()) / 1e15)


class TestArms:
    @pytest.mark.parametrize("name", gan.RING)
    def test_an_arm_trains_and_is_measured_once(self, monkeypatch, tmp_path, name):
        for constant, value in {"STEPS": 6, "BATCH": 8, "POINTS": 64, "SAMPLES": 40, "SAMPLE_STEPS": 2}.items():
            monkeypatch.setattr(gan, constant, value)
        monkeypatch.setattr(gan, "SEEDS", (0,))
        arms, arm = Arms(tmp_path, tmp_path / "runs"), gan.RING[name]
        [first] = gan.all_seeds(arms, arm)
        assert 0 <= first["near"] <= 1 and 0 <= first["modes"] <= 8 and first["budget"]["steps"] == arm.steps() > 1
        monkeypatch.setattr(gan, "run_arm", never)
        assert gan.all_seeds(arms, arm) == [first]
        monkeypatch.setattr(gan, "STEPS", 12)
        with pytest.raises(ValueError, match="another budget"):
            gan.all_seeds(arms, arm)


def never(*arguments):
    raise AssertionError("measured again")
