"""The claims about unCLIP: their verdicts on numbers that are given, and that every measurement runs."""

import pytest
import torch

from edu_diffusion.conditioning.text import scene_tokenizer
from edu_diffusion.data.scenes import is_held_out, scene_of
from edu_diffusion.metrics import Measured
from edu_diffusion.zoo.claims import decoder, edits
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms
from tests.systems.tiny_unclip import tiny_clip, tiny_unclip


@pytest.fixture(scope="module")
def system():
    return tiny_unclip(tiny_clip(tokenizer=scene_tokenizer()))


def given(module, monkeypatch, numbers):
    """`of_chain` of this module answers from `numbers(what)`."""
    monkeypatch.setattr(module, "of_chain", lambda arms, what, measure, *others: numbers(what))


class TestPriorNeeded:
    @pytest.mark.parametrize(
        ("text", "fd", "alone", "says"), [(40, 9, 70, HOLDS), (75, 9, 90, IN_PART), (80, 1, 90, DOES_NOT)]
    )
    def test_verdict(self, monkeypatch, text, fd, alone, says):
        whole = {"true": 95, "prior": 80, "both": 85, "text": text, "caption": alone}

        def numbers(what):
            way = what.removeprefix("told-")
            far = {"text": fd}.get(way, 2)
            return {"whole": whole[way] / 100, "attributes": 0.9, "fd": far, "fd_floor": 0.1}

        given(decoder, monkeypatch, numbers)
        found = decoder.measure_prior_needed(Arms())
        assert found.verdict == says and "80.0%" in found.why

    def test_it_runs(self, system, monkeypatch):
        monkeypatch.setattr(decoder, "SAMPLES", 3)
        monkeypatch.setattr(decoder, "fd", lambda x, seed: Measured("fd", 1.0, len(x), seed, floor=0.5))
        found = decoder.by_way(system, "text")
        assert 0 <= found["whole"] <= found["attributes"] <= 1 and found["fd_floor"] == 0.5


class TestDiverse:
    @pytest.mark.parametrize(("glide", "rise", "says"), [(0.4, 0.2, HOLDS), (0.4, 0.0, IN_PART), (0.9, 0.0, DOES_NOT)])
    def test_verdict(self, monkeypatch, glide, rise, says):
        def numbers(what):
            _, name, scale = what.split("-")
            strong = float(scale) == decoder.HIGH
            variants = 10 * ({"unclip": 0.9, "glide": glide}[name] if strong else 1)
            cosine = 0.9 + ({"unclip": 0.01, "glide": rise}[name] if strong else 0)
            return {"variants": variants, "variants_real": 15.0, "cosine": cosine, "cosine_real": 0.9, "right": 1.0}

        given(decoder, monkeypatch, numbers)
        assert decoder.measure_diverse(Arms()).verdict == says

    def test_it_runs_and_draws_the_same_embeddings_at_every_scale(self, system, monkeypatch):
        for name, value in (("CAPTIONS", 2), ("DRAWS", 3), ("STEPS", 1)):
            monkeypatch.setattr(decoder, name, value)
        found = decoder.spread_at(system, "unclip", 2.0)
        assert 1 <= found["variants"] <= 3 and found["cosine"] <= 1.001
        some = decoder.vague(system.clip, 2)
        a, b = (torch.cat(decoder.drawn_embeddings(system, some)) for _ in range(2))
        assert torch.equal(a, b) and a.shape[0] == 6


class TestVariations:
    @pytest.mark.parametrize(("kept", "far", "says"), [(0.9, 0.4, HOLDS), (0.5, 0.4, IN_PART), (0.5, 0.11, DOES_NOT)])
    def test_verdict(self, monkeypatch, kept, far, says):
        def numbers(what):
            eta = float(what.removeprefix("variations-"))
            record = {"attributes": 0.92 + eta * (kept - 0.92), "whole": 0.8, "distance": 0.1 + eta * (far - 0.1)}
            return record | {"distance_real": 0.2, "cosine": 0.95, "cosine_real": 0.96}

        given(edits, monkeypatch, numbers)
        assert edits.measure_variations(Arms()).verdict == says

    def test_it_runs(self, system, monkeypatch):
        monkeypatch.setattr(edits, "VARIED", 3)
        monkeypatch.setattr(edits, "STEPS", 2)
        found = edits.varied(system, 1.0)
        assert 0 < found["distance_real"] < found["distance"] and found["cosine_real"] <= 1.001


class TestTextDiff:
    @pytest.mark.parametrize(("right", "fresh", "says"), [(0.9, 0.5, HOLDS), (0.7, 0.5, IN_PART)])
    def test_verdict(self, monkeypatch, right, fresh, says):
        def numbers(what):
            found = {}
            for how, amount in edits.amounts(what.removeprefix("diff-")):
                whole = (fresh if "fresh" in how else right) if amount == 0.3 else 0.1
                found |= {f"{how}@{amount:g} changed": 0.95, f"{how}@{amount:g} whole": whole}
            return found

        given(edits, monkeypatch, numbers)
        found = edits.measure_text_diff(Arms())
        assert found.verdict == says and "theta = 0.3" in found.why

    def test_it_runs(self, system, monkeypatch):
        for name, value in (("EDITED", 2), ("STEPS", 2)):
            monkeypatch.setattr(edits, name, value)
        monkeypatch.setattr(edits, "WAYS", {"theta": (0.3,), "theta, fresh noise,": (0.3,), "strength": (1.0,)})
        found = edits.edited(system, "colour")
        assert len(found) == 6 and all(0 <= share <= 1 for share in found.values())

    @pytest.mark.parametrize("attribute", list(edits.ATTRIBUTES))
    def test_a_change_changes_one_attribute_and_is_not_held_out(self, attribute):
        for i in range(30):
            before = scene_of(i, split="test", things=1)
            after = edits.changed(before, attribute, i)
            differs = [
                name
                for name in ("shape", "colour", "size")
                if getattr(before.things[0], name) != getattr(after.things[0], name)
            ] + [name for name in ("ground", "place") if getattr(before, name) != getattr(after, name)]
            assert differs == [attribute] and not is_held_out(after)


class TestInversion:
    @pytest.mark.parametrize(("gain", "start", "says"), [(5, 20, HOLDS), (1, 20, IN_PART), (-1, 20, DOES_NOT)])
    def test_verdict(self, monkeypatch, gain, start, says):
        def numbers(what):
            return {
                "plain": start + gain * edits.COUNTS.index(int(what.removeprefix("inversion-"))),
                "guided": 9,
                "untold": 9,
            }

        given(edits, monkeypatch, numbers)
        assert edits.measure_inversion(Arms()).verdict == says

    def test_it_runs(self, system, monkeypatch):
        monkeypatch.setattr(edits, "BACK", 2)
        found = edits.there_and_back(system, 3)
        assert set(found) == {"plain", "guided", "untold"}


def test_numbers_of_other_weights_are_not_mixed(monkeypatch, tmp_path):
    monkeypatch.setattr(decoder, "zoo_unclip", lambda: None)
    weights = {"value": "a"}
    monkeypatch.setattr(decoder, "digests", lambda *names: {name: weights["value"] for name in names})
    arms = Arms(tmp_path, tmp_path)
    assert decoder.of_chain(arms, "x", lambda system: {"n": 1})["n"] == 1
    assert decoder.of_chain(arms, "x", lambda system: {"n": 2})["n"] == 1
    weights["value"] = "b"
    with pytest.raises(ValueError, match="delete it"):
        decoder.of_chain(arms, "x", lambda system: {"n": 2})
