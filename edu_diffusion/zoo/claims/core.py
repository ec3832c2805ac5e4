"""The ledger of claims: what a paper says, what was measured here, and the honest verdict.

A claim is measured by a command and stored as one JSON row; nothing in it is typed by hand. Where a claim trains models
("arms"), each arm's numbers are stored as soon as they are measured, so an interrupted run goes on where it stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from html import escape
from math import hypot, sqrt
from pathlib import Path
from statistics import mean, stdev

from edu_diffusion.training import Checkpoint, pick_runtime, write_atomically
from edu_diffusion.zoo.claims.tables import CELL, number_tables
from edu_diffusion.zoo.store import HERE

HOLDS, IN_PART, DOES_NOT = "holds", "holds in part", "does not hold here"
Numbers = dict[str, float | int | str | dict]


@dataclass(frozen=True)
class Number:
    """One measured number. `spread` is the standard deviation over `seeds` seeds; `floor` what real data scores."""

    value: float | int
    seeds: int = 1
    spread: float | None = None
    floor: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.2g}"
        floor = "" if self.floor is None else f" (floor {self.floor:.2g})"
        value = f"{self.value:.3g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
        return f"{value}{spread} {self.unit}".strip() + floor


def over_seeds(values: list[float], *, floor: float | None = None, unit: str = "") -> Number:
    """The mean of several seeds' values, and how far they spread."""
    return Number(mean(values), len(values), stdev(values) if len(values) > 1 else None, floor, unit)


def lower(a: Number, b: Number, margin: float = 0.1) -> bool:
    """Whether a is lower than b beyond doubt: by more than `margin` of b, and by twice the standard error, if known.

    One seed shows no spread, and then the margin alone decides; it is fixed before anything is measured.
    """
    errors = [0.0 if n.spread is None else n.spread / sqrt(n.seeds) for n in (a, b)]
    return b.value - a.value > max(margin * abs(b.value), 2 * hypot(*errors))


def verdict(*kept: bool) -> str:
    """The verdict on a claim of several parts: it holds if all were found so, in part if some, and not if none."""
    return HOLDS if all(kept) else IN_PART if any(kept) else DOES_NOT


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

    @property
    def seeds(self) -> str:
        """How many seeds the numbers rest on, in words."""
        most = max(number.seeds for number in self.numbers.values())
        return "one seed" if most == 1 else f"means over {most} seeds ± their standard deviation"

    def _repr_html_(self) -> str:
        cells = {
            "paper": escape(self.paper),
            "verdict": f"<b>{self.verdict}</b>: {escape(self.why)}",
            "numbers": f"{number_tables(self.numbers)}({self.seeds})",
            "remade by": f"<code>{escape(self.command)}</code>, {self.minutes:g} minutes on {escape(self.machine)}",
        }
        rows = "".join(
            f"<tr><th style='{CELL};white-space:nowrap'>{name}</th><td style='{CELL}'>{cell}</td></tr>"
            for name, cell in cells.items()
        )
        return f"<b>{escape(self.id)}</b>: {escape(self.what)}<table>{rows}</table>"


@dataclass(frozen=True)
class Pending:
    """What stands in a row's place while a claim has not been measured: it says so, and how to measure it."""

    id: str
    lesson: str
    what: str
    paper: str

    @property
    def command(self) -> str:
        """What measures it."""
        return f"python -m edu_diffusion evaluate --claim {self.id}"

    def _repr_html_(self) -> str:
        return (
            f"<b>{escape(self.what)}</b><p>Paper: {escape(self.paper)}<br>Here: <b>not measured yet</b>. "
            f"<code>{self.command}</code> does it.</p>"
        )


class Arms:
    """Results of trained arms, shared between claims and kept on disk as soon as each is measured.

    Only results are kept. While an arm trains its checkpoint lies in `runs`, so that a long one may be interrupted too.
    `minutes` adds up what the stored results that were asked for once took to measure, `machines` says where.
    """

    def __init__(self, folder: Path = HERE, runs: Path = Path("runs")):
        self.folder, self.runs = folder / "ledger" / "arms", runs / "arms"
        self.minutes, self.machines = 0.0, set()

    def get(self, name: str, measure: Callable[[Checkpoint], Numbers]) -> Numbers:
        """The stored numbers of this arm, or else those of `measure(checkpoint)`, stored at once.

        Raises: ValueError if the stored numbers cannot be read.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            numbers = self._read(path)
            self.minutes += numbers["minutes"]
            self.machines.add(numbers["machine"])
            return numbers
        started = time.perf_counter()
        checkpoint = Checkpoint(self.runs / f"{name}.pt", name)
        numbers = measure(checkpoint)
        minutes = round((time.perf_counter() - started) / 60, 2)
        numbers = {"minutes": minutes, "machine": pick_runtime().describe()} | numbers
        _write(path, numbers)
        checkpoint.path.unlink(missing_ok=True)
        return numbers

    @staticmethod
    def _read(path: Path) -> Numbers:
        try:
            numbers = json.loads(path.read_text())
            numbers["minutes"], numbers["machine"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the arm {path} is damaged: restore it, or delete it to measure it again") from error
        return numbers


def check_budget(name: str, record: Numbers, budget: Numbers) -> None:
    """Refuse an arm's stored record that was made with other numbers than are set now: the two cannot be compared.

    Raises: ValueError naming what differs.
    """
    unlike = [key for key, value in budget.items() if record["budget"].get(key) != value]
    if unlike:
        raise ValueError(
            f"the arm {name} was measured with another budget ({', '.join(unlike)}) than is set now: delete it from "
            "the ledger's arms to measure it again"
        )


@dataclass(frozen=True)
class Claim:
    """A claim and how it is measured. `measure(arms)` must end in a `Finding`."""

    id: str
    lesson: str
    what: str
    paper: str
    measure: Callable[[Arms], Finding]


def measure(claim: Claim, folder: Path = HERE, runs: Path = Path("runs")) -> Row:
    """Measure a claim and write its row to the ledger. The row's minutes count its arms, whenever they were trained.

    Raises: ValueError if the measurement ends in anything but a finding with numbers and one of the three verdicts.
    """
    started, arms = time.perf_counter(), Arms(folder, runs)
    finding = claim.measure(arms)
    if not finding.numbers or not finding.why:
        raise ValueError(f"a finding needs numbers and a reason; {claim.id} came without")
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
        machine="; ".join(sorted(arms.machines | {pick_runtime().describe()})),
        minutes=round(arms.minutes + (time.perf_counter() - started) / 60, 1),
    )
    _write(row_path(claim.id, folder), row.to_json())
    return row


def row_path(name: str, folder: Path = HERE) -> Path:
    """Where a claim's row lies."""
    return folder / "ledger" / f"{name}.json"


def read_row(name: str, folder: Path = HERE) -> Row:
    """A row of the ledger.

    Raises: FileNotFoundError if the claim has not been measured; ValueError if its row is damaged.
    """
    path = row_path(name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"{name!r} has not been measured: run `python -m edu_diffusion evaluate --claim {name}`"
        )
    try:
        return Row.from_json(json.loads(path.read_text()))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the row {path.name} of the ledger is damaged ({error}): restore it, or measure again"
        ) from error


def _write(path: Path, record: dict) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(record, indent=2) + "\n").encode()))
