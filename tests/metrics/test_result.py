import json

import pytest

from edu_diffusion.metrics import Measured

FULL = Measured("FD", 5.25, samples=10_000, seed=3, floor=0.12, spread=0.2, unit="feature units squared")


@pytest.mark.parametrize("measured", [FULL, Measured("accuracy", 0.0, samples=1, seed=0)])
def test_comes_back_from_json_unchanged(measured):
    assert Measured.from_json(json.loads(json.dumps(measured.to_json()))) == measured


def test_fields_that_do_not_apply_are_left_out_but_zeros_are_not():
    assert Measured("loss", 0.0, samples=5, seed=0).to_json() == {"name": "loss", "value": 0.0, "samples": 5, "seed": 0}


def test_reads_as_a_sentence_with_its_floor():
    text = str(FULL)
    assert text == "FD 5.25 ± 0.2 feature units squared (real data: 0.12), 10,000 samples, seed 3"


def test_beside_it_may_stand_what_guessing_scores():
    named = Measured("colour named right", 0.9, samples=1000, seed=0, guess=1 / 8)
    assert str(named) == "colour named right 0.9 (by guessing: 0.12), 1,000 samples, seed 0"
    assert Measured.from_json(named.to_json()) == named


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        Measured("FD", value, samples=5, seed=0)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least 1 sample"):
        Measured("FD", 1.0, samples=0, seed=0)


@pytest.mark.parametrize("record", [{"name": "FD", "value": 1.0}, {**FULL.to_json(), "colour": "red"}])
def test_records_of_another_form_are_refused(record):
    with pytest.raises(ValueError, match=r"colour|samples"):
        Measured.from_json(record)
