"""The claim about what GLIDE is told: its verdict on given numbers, and an arm of two steps."""

import pytest

from edu_diffusion.zoo.claims import telling
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms
from edu_diffusion.zoo.measure_scenes import real


class StoredArms(Arms):
    """Arms whose numbers are given: the share of attributes right, and of places and relations."""

    def __init__(self, shares: dict[str, tuple[float, float]]):
        super().__init__()
        self.shares = shares

    def get(self, name, measure):
        arm, _, seed = name.partition("-seed")
        attributes, places = (share + 0.001 * (int(seed) - 1) for share in self.shares[arm])
        found = dict.fromkeys(telling.KINDS, 0.5) | {"attributes": attributes, "place": places, "relation": places}
        return found | {f"{kind}_floor": 1.0 for kind in found} | {"budget": telling.budget()}


@pytest.mark.parametrize(
    ("full", "no_map", "new", "says"),
    [
        ((0.7, 0.9), (0.5, 0.4), (0.4, 0.9), HOLDS),
        ((0.7, 0.9), (0.5, 0.9), (0.4, 0.9), IN_PART),
        ((0.7, 0.9), (0.5, 0.4), (0.7, 0.9), IN_PART),
        ((0.5, 0.4), (0.5, 0.4), (0.7, 0.9), DOES_NOT),
    ],
)
def test_verdict(full, no_map, new, says):
    arms = StoredArms({"glide-clip-map": full, "glide-clip": no_map, "glide-new-map": new})
    found = telling.measure_telling(arms)
    assert found.verdict == says
    assert found.numbers[f"{telling.FULL}: attributes right"].value == pytest.approx(100 * full[0])
    assert f"{100 * (1 - no_map[1]):.2g}" in found.why


def test_the_arms_differ_in_one_thing_each():
    full, no_map, new = (build() for _, build in telling.ARMS.values())
    assert full.net.to_map.channels == new.net.to_map.channels == 8 and no_map.net.to_map is None
    assert not full.net.learn_text and not no_map.net.learn_text and new.net.learn_text
    sizes = [sum(p.numel() for p in one.net.text.parameters()) for one in (full, no_map, new)]
    assert len(set(sizes)) == 1


def test_an_arm_is_trained_once_and_one_of_another_budget_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(telling, "STEPS", 2)
    monkeypatch.setattr(telling, "SEEDS", (0,))
    monkeypatch.setattr(
        telling,
        "evaluate",
        lambda system, seed: {"drawn with": "averaged" if system.modules["net"] is not system.net else "live"},
    )
    arms = Arms(tmp_path, tmp_path / "runs")
    (record,) = telling.seeds(arms, *telling.ARMS[telling.FULL])
    assert record["drawn with"] == "averaged" and record["budget"]["steps"] == 2
    monkeypatch.setattr(telling, "run_arm", lambda *arguments: pytest.fail("trained again"))
    assert telling.seeds(arms, *telling.ARMS[telling.FULL]) == [record]
    monkeypatch.setattr(telling, "BATCH", 64)
    with pytest.raises(ValueError, match=r"another budget \(batch\)"):
        telling.seeds(arms, *telling.ARMS[telling.FULL])


def test_real_pictures_have_nothing_wrong(monkeypatch):
    monkeypatch.setattr(telling, "SAMPLES", 16)
    monkeypatch.setattr(telling, "drawn", lambda system, captions, seed: real(16))
    found = telling.evaluate(telling.from_nothing(), 0)
    assert found["attributes"] == found["attributes_floor"] > 0.95
    assert set(telling.KINDS) <= set(found)
