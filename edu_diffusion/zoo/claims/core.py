"""The ledger of claims: what a paper says, what was measured here, and the honest verdict.

A claim is measured by a command and stored as one JSON row; nothing in it is typed by hand. Where a claim trains models
("arms"), each arm's numbers are stored as soon as they are measured, so an interrupted run goes on where it stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from statistics import mean, stdev

from edu_diffusion.training import pick_runtime
from edu_diffusion.zoo.store import HERE

HOLDS, IN_PART, DOES_NOT = "holds", "holds in part", "does not hold here"
Numbers = dict[str, float]


@dataclass(frozen=True)
class Number:
    """One measured number. `spread` is the standard deviation over `seeds` seeds; `floor` what real data scores."""

    value: float
    seeds: int = 1
    spread: float | None = None
    floor: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.2g}"
        floor = "" if self.floor is None else f" (floor {self.floor:.2g})"
        return f"{self.value:.3g}{spread} {self.unit}".strip() + floor


def over_seeds(values: list[float], *, floor: float | None = None, unit: str = "") -> Number:
    """The mean of several seeds' values, and how far they spread."""
    return Number(mean(values), len(values), stdev(values) if len(values) > 1 else None, floor, unit)


@dataclass(frozen=True)
class Finding:
    """What a claim's measurement gives back: the numbers, the verdict (one of three), and why."""

    numbers: dict[str, Number]
    verdict: str
    why: str


@dataclass(frozen=True)
class Row:
    """One line of the ledger."""

    id: str
    lesson: str
    what: str
    paper: str
    numbers: dict[str, Number]
    verdict: str
    why: str
    command: str
    machine: str
    minutes: float

    def to_json(self) -> dict:
        """A plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "Row":
        """The row that `to_json` wrote.

        Raises: ValueError if a field is missing or unknown.
        """
        wrong = set(record) ^ {each.name for each in fields(cls)}
        if wrong:
            raise ValueError(f"a row of the ledger has other fields than these: missing or unknown are {sorted(wrong)}")
        return cls(**record | {"numbers": {name: Number(**number) for name, number in record["numbers"].items()}})

    def _repr_html_(self) -> str:
        numbers = "<br>".join(f"{escape(name)}: {escape(str(number))}" for name, number in self.numbers.items())
        cells = {"paper": escape(self.paper), "here": numbers, "verdict": f"<b>{self.verdict}</b>: {escape(self.why)}"}
        cells |= {"remade by": f"<code>{escape(self.command)}</code>"}
        rows = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{v}</td></tr>"
            for k, v in cells.items()
        )
        return f"<b>{escape(self.what)}</b><table>{rows}</table>"


class Arms:
    """Results of trained arms, shared between claims and kept on disk as soon as each is measured."""

    def __init__(self, folder: Path = HERE):
        self.folder = folder / "ledger" / "arms"

    def get(self, name: str, measure: Callable[[], Numbers]) -> Numbers:
        """The stored numbers of this arm, or `measure()`'s, stored at once."""
        path = self.folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text())
        started = time.perf_counter()
        numbers = measure() | {"minutes": round((time.perf_counter() - started) / 60, 2)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(numbers, indent=2) + "\n")
        return numbers


@dataclass(frozen=True)
class Claim:
    """A claim and how it is measured. `measure(arms)` must end in a `Finding`."""

    id: str
    lesson: str
    what: str
    paper: str
    measure: Callable[[Arms], Finding]


def measure(claim: Claim, folder: Path = HERE) -> Row:
    """Measure a claim and write its row to the ledger."""
    started = time.perf_counter()
    finding = claim.measure(Arms(folder))
    if finding.verdict not in (HOLDS, IN_PART, DOES_NOT):
        raise ValueError(f"a verdict is {HOLDS!r}, {IN_PART!r} or {DOES_NOT!r}, got {finding.verdict!r}")
    row = Row(
        id=claim.id,
        lesson=claim.lesson,
        what=claim.what,
        paper=claim.paper,
        numbers=finding.numbers,
        verdict=finding.verdict,
        why=finding.why,
        command=f"python -m edu_diffusion evaluate --claim {claim.id}",
        machine=pick_runtime().describe(),
        minutes=round((time.perf_counter() - started) / 60, 1),
    )
    path = folder / "ledger" / f"{claim.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row.to_json(), indent=2) + "\n")
    return row


def read_row(name: str, folder: Path = HERE) -> Row:
    """A row of the ledger.

    Raises: FileNotFoundError if the claim has not been measured; ValueError if its row is damaged.
    """
    path = folder / "ledger" / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{name!r} has not been measured: run `python -m edu_diffusion evaluate --claim {name}`"
        )
    return Row.from_json(json.loads(path.read_text()))
