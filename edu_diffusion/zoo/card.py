"""A card says what a trained model is: how it was made, on what, and what was measured of it."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from edu_diffusion.metrics import Measured
from edu_diffusion.training import write_atomically


@dataclass(frozen=True)
class Card:
    """The facts of one zoo entry. `minutes` is training time; `images` how many examples it saw in all."""

    name: str
    about: str
    system: str
    recipe: dict[str, str | int | float | None]
    seed: int
    steps: int
    images: int
    minutes: float
    machine: str
    versions: dict[str, str]
    data_checksum: str
    parameters: int
    weight_bytes: int
    weight_sha256: str
    results: dict[str, Measured] = field(default_factory=dict)

    def with_results(self, results: dict[str, Measured]) -> "Card":
        """The card with these results and no others: a number that is not measured any more does not stay."""
        return replace(self, results=results)

    def to_json(self) -> dict:
        """A plain dictionary."""
        results = {name: result.to_json() for name, result in self.results.items()}
        return asdict(replace(self, results={})) | {"results": results}

    @classmethod
    def from_json(cls, record: dict) -> "Card":
        """The card that `to_json` wrote.

        Raises: ValueError if a field is missing or unknown.
        """
        names = {each.name for each in fields(cls)}
        if set(record) != names:
            wrong = sorted(set(record) ^ names)
            raise ValueError(f"a card has other fields than these: missing or unknown are {wrong}")
        return cls(**record | {"results": {k: Measured.from_json(v) for k, v in record["results"].items()}})

    def save(self, path: Path) -> None:
        """Write the card as readable JSON, whole or not at all.

        Raises: OSError if it could not be written; the card that was there is kept.
        """
        text = json.dumps(self.to_json(), indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))

    def _repr_html_(self) -> str:
        facts = {
            "parameters": f"{self.parameters:,}",
            "training": f"{self.images:,} images in {self.minutes:.1f} minutes on {self.machine}, seed {self.seed}",
        }
        facts |= {name: str(result) for name, result in self.results.items()}
        rows = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{v}</td></tr>"
            for k, v in facts.items()
        )
        return f"<b>{self.name}</b>: {self.about}<table>{rows}</table>"
