"""The claims about GLIDE: their verdicts on numbers that are given, and what they compute themselves."""

import pytest
import torch

from edu_diffusion.zoo.claims import glide
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms


def given(monkeypatch, numbers):
    """`of_zoo` answers from `numbers(entry, what)`."""
    monkeypatch.setattr(glide, "of_zoo", lambda arms, entry, what, measure: numbers(entry, what))


def record(whole, fd=1.0, attributes=0.9) -> dict:
    found = {"whole": whole, "attributes": attributes, "fd": fd}
    return found | {f"{key}_floor": 0.99 for key in found}


@pytest.mark.parametrize(
    ("free", "noised", "noised_untold", "clean_untold", "says"),
    [
        ((0.95, 0.1), (0.90, 0.2), 0.6, 0.3, HOLDS),
        ((0.95, 0.3), (0.90, 0.2), 0.6, 0.3, IN_PART),
        ((0.95, 0.1), (0.94, 0.2), 0.6, 0.3, IN_PART),
        ((0.95, 0.1), (0.90, 0.2), 0.3, 0.3, IN_PART),
        ((0.90, 0.3), (0.95, 0.2), 0.3, 0.6, DOES_NOT),
    ],
)
def test_guidance(monkeypatch, free, noised, noised_untold, clean_untold, says):
    def numbers(entry, what):
        assert entry == "glide-32"
        if what.startswith("free"):
            # best in the middle, where its FD is the one that counts; worse and with another FD at all other scales
            return record(*free) if what == "free-3" else record(free[0] - 0.2, 0.01)
        if "untold" in what:
            return record(0.1, 5.0, noised_untold if "noised" in what else clean_untold)
        return record(*noised) if what == "clip-noised-told-1" else record(noised[0] - 0.2, 0.01)

    given(monkeypatch, numbers)
    found = glide.measure_guidance(Arms())
    assert found.verdict == says
    assert len(found.numbers) == 3 * (len(glide.SCALES) + 4 * len(glide.CLIP_SCALES))
    assert f"{free[0]:.1%}" in found.why and f"{noised[0]:.1%}" in found.why


@pytest.mark.parametrize(
    ("seam", "restored", "says"),
    [(0.1, 0.9, HOLDS), (0.195, 0.9, IN_PART), (0.1, 0.805, IN_PART), (0.3, 0.7, DOES_NOT)],
)
def test_painting(monkeypatch, seam, restored, says):
    def numbers(entry, what):
        rest = {"hidden": 0.1, "recoloured": 0.8, "colour": 0.9, "outside": 0.0}
        if entry == "glide-32":
            return rest | {"seam": 0.2, "restored": 0.8}
        assert entry == "glide-inpaint"
        return rest | {"seam": seam, "restored": restored}

    given(monkeypatch, numbers)
    assert glide.measure_painting(Arms()).verdict == says


@pytest.mark.parametrize(
    ("held", "near", "says"), [(0.75, 0.2, HOLDS), (0.6, 0.2, IN_PART), (0.75, 0.1, IN_PART), (0.6, 0.1, DOES_NOT)]
)
def test_original(monkeypatch, held, near, says):
    numbers = {"held": held, "held_real": 1.0, "seen": 0.9, "seen_real": 1.0, "near": near, "near_real": 0.2}
    given(monkeypatch, lambda entry, what: numbers)
    assert glide.measure_original(Arms()).verdict == says


class TestComputed:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(glide, "SAMPLES", 16)
        monkeypatch.setattr(glide, "COUNT", 60)
        monkeypatch.setattr(glide, "PART", 25)

    def test_originality_of_real_pictures_is_that_of_real_pictures(self, monkeypatch):
        def draws(system, captions, seed):
            return glide.real(16, "test" if captions == glide.asked(16)[0] else "held-out")

        monkeypatch.setattr(glide, "drawn", draws)
        found = glide.originality(None)
        assert found["seen"] == found["seen_real"] and found["held"] == found["held_real"] > 0.8
        assert found["near"] == found["near_real"] > 0

    def test_training_pictures_themselves_are_found_out(self, monkeypatch):
        monkeypatch.setattr(glide, "drawn", lambda system, captions, seed: glide.real(16, "train"))
        assert glide.originality(None)["near"] == 0

    @pytest.mark.parametrize("told", [True, False])
    def test_a_clip_guides_the_network_that_is_told_or_not(self, monkeypatch, told):
        seen = {}

        class System:
            def clip_guided(self, clip, captions, scale):
                seen.update(clip=clip, captions=captions, scale=scale)

        def draws(system, captions, seed, guide, told):
            guide(captions[:2])
            seen["told"] = told
            return torch.zeros(len(captions), 3, 32, 32)

        monkeypatch.setattr(glide, "trained", lambda name: name)
        monkeypatch.setattr(glide, "drawn", draws)
        monkeypatch.setattr(glide, "judged", lambda captions, pictures: {"count": len(captions)})
        assert glide.by_clip(System(), "clip-noised", told, 3.0) == {"count": 16}
        assert seen == {"clip": "clip-noised", "captions": glide.asked(16)[0][:2], "scale": 3.0, "told": told}


def test_every_claim_says_what_and_from_where():
    assert [claim.id for claim in glide.CLAIMS] == ["glide-cfg", "inpaint", "original-scenes"]
    assert all(claim.lesson == "17" and "2112.10741" in claim.paper for claim in glide.CLAIMS)
