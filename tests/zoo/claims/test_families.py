from types import SimpleNamespace

import pytest

from edu_diffusion.metrics import Measured
from edu_diffusion.zoo.claims import families, gan
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms

GAN = {"fd": 12.0, "precision": 0.80, "recall": 0.50, "seconds": 0.001}
DDPM = {"fd": 4.0, "precision": 0.85, "recall": 0.80, "seconds": 0.1}
DDPM = DDPM | {f"ancestral_{key}": value for key, value in DDPM.items()} | {"fd": 9.0}  # by DDIM, which does not count


def zoo(monkeypatch, made: dict, size: int = 1000) -> None:
    """Cards with these results, for models of this size beside one of 1000 parameters."""
    cards = {}
    for entry, found, parameters in ((gan.GAN_ENTRY, made, size), (gan.DDPM_ENTRY, DDPM, 1000)):
        results = {key: Measured(key, value, 10_000, 0, floor=0.5) for key, value in found.items()}
        cards[entry] = SimpleNamespace(results=results, images=100, parameters=parameters)
    for room in (families, gan):
        monkeypatch.setattr(room, "card", cards.__getitem__)
    monkeypatch.setattr(gan, "training_compute", lambda recipe: 1e6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, HOLDS),
        ({"precision": 0.84}, IN_PART),
        ({"fd": 4.1, "precision": 0.84, "recall": 0.79}, DOES_NOT),
    ],
)
def test_the_verdict_counts_its_three_parts(monkeypatch, tmp_path, change, says):
    zoo(monkeypatch, GAN | change)
    found = families.measure_beats(Arms(tmp_path, tmp_path))
    assert found.verdict == says
    assert found.numbers["GAN: time a picture"].value == 0.001 and "0.001 s" in found.why


def test_unlike_sizes_are_not_compared(monkeypatch, tmp_path):
    zoo(monkeypatch, GAN, size=1200)
    with pytest.raises(ValueError, match="1,200 parameters"):
        families.measure_beats(Arms(tmp_path, tmp_path))
