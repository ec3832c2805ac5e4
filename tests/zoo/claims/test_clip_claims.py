"""The claims about CLIP: their verdicts on given numbers, and an arm of two steps."""

import pytest
import torch

from edu_diffusion.zoo.claims import clip
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms
from edu_diffusion.zoo.measure_text import ATTRIBUTES, WORDINGS

GOOD = {
    "clip-batch-16": {"found": 0.70, "named": 0.90, "told places": 0.5, "told colours": 0.5},
    "clip-batch-64": {"found": 0.80, "named": 0.94, "told places": 0.5, "told colours": 0.5},
    "clip-batch-256": {"found": 0.90, "named": 0.97, "told places": 0.5, "told colours": 0.5},
    "clip-swapped-256": {"found": 0.89, "named": 0.96, "told places": 0.51, "told colours": 0.52},
    "clip-further-256": {"found": 0.99, "named": 0.97, "told places": 0.5, "told colours": 0.5},
    "clip-further-swapped-256": {"found": 0.89, "named": 0.96, "told places": 0.99, "told colours": 0.95},
}


class StoredArms(Arms):
    """Arms whose numbers are given, and which never train."""

    def __init__(self, changes: dict[str, dict[str, float]], spread: float = 0.001):
        super().__init__()
        self.spread, self.asked = spread, []
        self.found = {name: row | changes.get(name, {}) for name, row in GOOD.items()}

    def get(self, name, measure):
        self.asked.append(name)
        arm, _, seed = name.partition("-seed")
        size, share = int(arm.split("-")[-1]), clip.SHARE if "swapped" in arm else 0.0
        moved = {key: value + self.spread * (int(seed) - 1) for key, value in self.found[arm].items()}
        return moved | {"budget": clip.budget(size, share, clip.START if "further" in arm else None)}


class TestBatch:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({}, HOLDS),
            ({"clip-batch-256": {"found": 0.71}}, IN_PART),
            ({"clip-batch-256": {"named": 0.90}}, IN_PART),
            ({"clip-batch-256": {"found": 0.60, "named": 0.85}}, DOES_NOT),
        ],
    )
    def test_verdict(self, changes, says):
        assert clip.measure_batch(StoredArms(changes)).verdict == says

    def test_a_difference_within_the_spread_is_none(self):
        assert clip.measure_batch(StoredArms({}, spread=0.3)).verdict == DOES_NOT

    def test_numbers(self):
        arms = StoredArms({})
        found = clip.measure_batch(arms)
        assert found.numbers["batch 64: attributes named right"].value == pytest.approx(94)
        assert len(arms.asked) == 9 and "batch 16: 70 ± 0.1 % find" in found.why


class TestBinding:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({}, HOLDS),
            ({"clip-further-256": {"told places": 0.8}}, IN_PART),
            ({"clip-further-swapped-256": {"told colours": 0.6}}, IN_PART),
            ({"clip-further-256": {"told colours": 0.8}, "clip-further-swapped-256": {"told places": 0.6}}, DOES_NOT),
        ],
    )
    def test_verdict(self, changes, says):
        assert clip.measure_binding(StoredArms(changes)).verdict == says

    def test_the_arms_differ_in_nothing_but_the_exchanged_pairs(self):
        arms = StoredArms({})
        clip.measure_binding(arms)
        kinds = ("further", "further-swapped", "swapped")
        assert arms.asked == [f"clip-{kind}-256-seed{seed}" for kind in kinds for seed in (0, 1, 2)]


class TestZeroShot:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({}, HOLDS),
            ({"size@many": 0.97}, IN_PART),
            ({f"{attribute}@mean": 0.6 for attribute in ATTRIBUTES}, IN_PART),
            ({f"{attribute}@bare": 0.99 for attribute in ATTRIBUTES} | {"size@many": 0.97}, DOES_NOT),
        ],
    )
    def test_verdict(self, monkeypatch, changes, says):
        right = {"bare": 0.6, "one": 0.9, "mean": 0.95, "many": 0.99}
        stored = {f"{a}@{key}": right[key] for a in ATTRIBUTES for key in WORDINGS} | changes
        monkeypatch.setattr(clip, "of_zoo", lambda arms, entry, what, measure: stored)
        found = clip.measure_zero_shot(Arms())
        assert found.verdict == says and len(found.numbers) == len(ATTRIBUTES) * len(WORDINGS)


def never(*arguments):
    raise AssertionError("measured again")


class TestArms:
    @pytest.fixture
    def small(self, monkeypatch, tmp_path):
        """Arms of two steps, measured on few pictures."""
        monkeypatch.setattr(clip, "PAIRS", 8)
        monkeypatch.setattr(clip, "SEEDS", (0,))
        monkeypatch.setattr(clip, "evaluate", lambda system: {"found": float(not system.inner.training)})
        return Arms(tmp_path, tmp_path / "runs")

    def test_an_arm_is_trained_once(self, small, monkeypatch):
        (record,) = clip.seeds(small, "some", 4, 0.25)
        assert record["found"] == 1 and record["budget"] == clip.budget(4, 0.25)
        monkeypatch.setattr(clip, "run_arm", never)
        assert clip.seeds(small, "some", 4, 0.25) == [record]
        with pytest.raises(ValueError, match=r"another budget \(exchanged\)"):
            clip.seeds(small, "some", 4, 0.0)

    def test_an_arm_may_begin_at_trained_weights(self, small, monkeypatch):
        kept = []
        monkeypatch.setattr(clip, "train", lambda *arguments, **options: [])
        monkeypatch.setattr(clip, "evaluate", lambda system: kept.append(system.net.state_dict()) or {})
        (record,) = clip.seeds(small, "some", 4, 0.25, clip.START)
        assert record["budget"] == clip.budget(4, 0.25, clip.START) != clip.budget(4, 0.25)
        start = clip.load(clip.START).net.state_dict()
        assert all(torch.equal(kept[0][name], tensor) for name, tensor in start.items())
