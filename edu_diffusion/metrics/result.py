"""A measured number together with what is needed to believe it."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One number, how it was measured, and the best it could have been.

    `samples` is how many were drawn and `seed` what they were drawn with. `floor` is what real data scores at
    the same number of samples, where that makes sense; `guess` is what guessing scores, where that says more.
    `spread` is the standard deviation over several seeds.

    Raises: ValueError for a value that is not finite, or fewer than one sample.
    """

    name: str
    value: float
    samples: int
    seed: int
    floor: float | None = None
    spread: float | None = None
    unit: str = ""
    guess: float | None = None

    def __post_init__(self):
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} came out as {self.value}: a result must be a finite number")
        if self.samples < 1:
            raise ValueError(f"{self.name} must rest on at least 1 sample, got {self.samples}")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for a card, without the fields that do not apply."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Measured":
        """The record that `to_json` wrote.

        Raises: ValueError when a field is missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        missing = {"name", "value", "samples", "seed"} - record.keys()
        if missing or record.keys() - known:
            raise ValueError(
                f"a measured result has the fields {sorted(known)}; missing here: {sorted(missing)}, "
                f"unknown: {sorted(record.keys() - known)}"
            )
        return cls(**record)

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.2g}"
        floor = "" if self.floor is None else f" (real data: {self.floor:.3g})"
        guess = "" if self.guess is None else f" (by guessing: {self.guess:.2g})"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {self.value:.4g}{spread}{unit}{floor}{guess}, {self.samples:,} samples, seed {self.seed}"
