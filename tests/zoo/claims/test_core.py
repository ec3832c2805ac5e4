import json

import pytest

from edu_diffusion import zoo
from edu_diffusion.zoo.claims import CLAIMS, find_claim, ledger, pending
from edu_diffusion.zoo.claims.core import (
    DOES_NOT,
    HOLDS,
    IN_PART,
    Arms,
    Claim,
    Finding,
    Number,
    lower,
    measure,
    over_seeds,
    read_row,
    row_path,
    verdict,
)


def found(numbers=None, says=HOLDS, why="because"):
    return lambda arms: Finding({"FD": Number(3.0, floor=0.1)} if numbers is None else numbers, says, why)


def claim(measure) -> Claim:
    return Claim("made-up", "99", "a against b", "the paper says so", measure)


def test_a_row_comes_back_as_it_was_measured(tmp_path):
    row = measure(claim(found()), tmp_path, tmp_path)
    assert read_row("made-up", tmp_path) == row
    assert row.command.endswith("evaluate --claim made-up") and row.machine and row.minutes >= 0
    assert row.seeds == "one seed" and "(one seed)" in row._repr_html_()
    assert "holds" in row._repr_html_() and "3 (floor 0.1)" in row._repr_html_()


@pytest.mark.parametrize(
    "measured, message",
    [
        (found(says="probably"), "a verdict is 'holds'"),
        (found(numbers={}), "needs numbers"),
        (found(why=""), "a reason"),
    ],
)
def test_half_a_finding_is_refused_and_nothing_written(tmp_path, measured, message):
    with pytest.raises(ValueError, match=message):
        measure(claim(measured), tmp_path, tmp_path)
    assert not row_path("made-up", tmp_path).exists()


def test_a_claim_not_measured_yet_says_how(tmp_path):
    with pytest.raises(FileNotFoundError, match="evaluate --claim fwd-prior"):
        read_row("fwd-prior", tmp_path)
    row = zoo.claim("fwd-prior", tmp_path)
    assert "not measured yet" in row._repr_html_() and row.command in row._repr_html_()
    assert "fwd-prior" in [each.id for each in pending(tmp_path)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[1]",
        lambda text: text.replace('"why"', '"how"'),
        lambda text: text.replace('"value"', '"valve"'),
    ],
)
def test_a_damaged_row_is_refused(tmp_path, damage):
    measure(claim(found()), tmp_path, tmp_path)
    path = row_path("made-up", tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"the row made-up\.json of the ledger is damaged"):
        read_row("made-up", tmp_path)


def test_an_unknown_claim_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="no claim 'fwd-close'; did you mean 'fwd-closed'"):
        find_claim("fwd-close")


def test_an_empty_ledger_is_empty(tmp_path):
    assert ledger(tmp_path) == []


def test_the_mean_over_seeds_has_a_spread():
    one, three = over_seeds([2.0]), over_seeds([1.0, 2.0, 3.0], floor=0.5, unit="bits/dim")
    assert one == Number(2.0) and one.spread is None
    assert three == Number(2.0, 3, 1.0, 0.5, "bits/dim") and str(three) == "2 ± 1 bits/dim (floor 0.5)"


def test_lower_means_beyond_the_margin_and_the_spread():
    assert lower(Number(8.9), Number(10.0)) and not lower(Number(9.1), Number(10.0))
    assert not lower(Number(11.0), Number(10.0)) and lower(Number(9.5), Number(10.0), margin=0.01)
    # Standard errors of 1 each: 2 sqrt(2) = 2.83 apart is the least.
    noisy = [Number(value, seeds=4, spread=2.0) for value in (7.0, 7.5, 10.0)]
    assert lower(noisy[0], noisy[2]) and not lower(noisy[1], noisy[2])


def test_the_verdict_counts_parts():
    assert verdict(True, True) == HOLDS and verdict(True, False) == IN_PART and verdict(False, False) == DOES_NOT


def never(checkpoint):
    raise AssertionError("measured again")


class TestArms:
    def test_a_result_is_stored_at_once_and_not_measured_again(self, tmp_path):
        calls = []

        def run(checkpoint):
            calls.append(checkpoint.path)
            return {"fd": 2.0}

        first = Arms(tmp_path, tmp_path / "runs").get("one-seed0", run)
        arms = Arms(tmp_path, tmp_path / "runs")
        assert arms.get("one-seed0", run) == first and first["fd"] == 2.0 and len(calls) == 1
        assert calls[0] == tmp_path / "runs/arms/one-seed0.pt"
        assert arms.minutes == first["minutes"] >= 0

    def test_an_interrupted_claim_goes_on_with_the_arm_that_is_missing(self, tmp_path):
        calls, broken = [], [True]

        def arm(name):
            def run(checkpoint):
                calls.append(name)
                if name == "b" and broken:
                    raise KeyboardInterrupt
                return {"fd": 1.0}

            return run

        def both(arms):
            for name in "ab":
                arms.get(name, arm(name))
            return found()(arms)

        with pytest.raises(KeyboardInterrupt):
            measure(claim(both), tmp_path, tmp_path)
        assert not row_path("made-up", tmp_path).exists()
        broken.clear()
        measure(claim(both), tmp_path, tmp_path)
        assert calls == ["a", "b", "b"]

    def test_the_row_counts_the_minutes_of_arms_measured_before(self, tmp_path):
        arms = Arms(tmp_path, tmp_path)
        arms.get("a", lambda checkpoint: {"minutes": 7.0})
        row = measure(claim(lambda arms: arms.get("a", never) and found()(arms)), tmp_path, tmp_path)
        assert row.minutes == pytest.approx(7.0, abs=0.1)

    def test_the_checkpoint_goes_when_the_result_is_there(self, tmp_path):
        def run(checkpoint):
            checkpoint.save({"step": 1})
            return {}

        Arms(tmp_path, tmp_path).get("a", run)
        assert not list((tmp_path / "arms").iterdir())

    @pytest.mark.parametrize("text", ["{", "[]", "{}"])
    def test_a_damaged_arm_is_refused(self, tmp_path, text):
        arms = Arms(tmp_path, tmp_path)
        arms.get("a", lambda checkpoint: {"fd": 1.0})
        (arms.folder / "a.json").write_text(text)
        with pytest.raises(ValueError, match=r"a\.json is damaged"):
            arms.get("a", lambda checkpoint: {"fd": 1.0})


class TestLedger:
    """The rows that are in the repository."""

    @pytest.mark.parametrize("row", ledger(), ids=lambda row: row.id)
    def test_a_row_is_whole(self, row):
        claim = CLAIMS[row.id]
        assert (row.lesson, row.what, row.paper) == (claim.lesson, claim.what, claim.paper), "measure it again"
        assert row.verdict in (HOLDS, IN_PART, DOES_NOT) and row.why and row.machine and row.minutes >= 0
        assert row.command == f"python -m edu_diffusion evaluate --claim {row.id}"
        assert row.numbers and all(number.seeds >= 1 for number in row.numbers.values())
        assert all((number.spread is None) == (number.seeds == 1) for number in row.numbers.values())
        assert "arXiv:" in row.paper
        assert json.loads(json.dumps(row.to_json()))["id"] == row.id

    def test_the_ledger_is_in_the_order_of_the_lessons(self):
        lessons = [claim.lesson for claim in CLAIMS.values()]
        assert lessons == sorted(lessons) and {row.id for row in ledger()} <= set(CLAIMS)

    def test_the_first_lessons_claims_are_all_there(self):
        wanted = {"fwd-closed", "fwd-prior", "ideal-memorises", "unet-parts", "eps-target", "simple-vs-vlb"}
        assert wanted | {"coarse-to-fine", "original"} <= set(CLAIMS)
