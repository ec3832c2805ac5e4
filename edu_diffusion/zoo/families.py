"""All families on one page: what each generates, measured alike, and what it cost.

python -m edu_diffusion families
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from edu_diffusion.data import fashion
from edu_diffusion.training import Recipe
from edu_diffusion.types import Batch, Rng
from edu_diffusion.zoo.card import Card
from edu_diffusion.zoo.entries import find
from edu_diffusion.zoo.loading import card
from edu_diffusion.zoo.store import HERE, card_path


@dataclass(frozen=True)
class Line:
    """A line of the table: a zoo entry, under which names its results stand, and what else it needs."""

    family: str
    entry: str
    prefix: str = ""
    beside: tuple[str, ...] = ()


LINES = (
    Line("GAN", "gan-fashion"),
    Line("VAE", "vae-fashion"),
    Line("VQ-VAE with a learned prior, told the class", "vq-prior-fashion", beside=("vqvae-fashion",)),
    Line("DDPM", "ddpm-fashion", "ancestral_"),
    Line("DDPM", "ddpm-fashion"),
    Line("DDPM, cosine schedule", "ddpm-fashion-cosine", "ancestral_"),
    Line("DDPM, cosine schedule", "ddpm-fashion-cosine"),
    Line("improved DDPM", "improved-fashion", "ancestral_"),
    Line("improved DDPM", "improved-fashion"),
    Line("ADM, told the class", "adm-fashion"),
    Line("ADM with classifier guidance", "noisy-classifier", "guided_", ("adm-fashion",)),
    Line("classifier-free, guidance off", "cfg-fashion"),
    Line("classifier-free guidance", "cfg-fashion", "guided_"),
)


@dataclass(frozen=True)
class Family:
    """One family's numbers. `compute` is that of its training, in floating-point operations; `seconds` are a picture's.

    `nearest` is the median distance to the nearest training picture, root mean square over pixels. What was not
    measured is None. `drawn` says by which steps the pictures were made; `trained_on` and `timed_on` on which machines
    the minutes and the seconds were counted.
    """

    family: str
    model: str
    fd: float | None
    precision: float | None
    recall: float | None
    class_entropy: float | None
    nearest: float | None
    parameters: int | None = None
    compute: float | None = None
    minutes: float | None = None
    seconds: float | None = None
    samples: int | None = None
    drawn: str = ""
    trained_on: str = ""
    timed_on: str = ""

    def to_json(self) -> dict:
        """A plain dictionary."""
        return asdict(self)


DRAWN = re.compile(r"s, (.+) in batches of \d+ on (.+)")  # the unit of a time a picture
MEASURED = ("fd", "precision", "recall", "class_entropy", "nearest")
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "family": ("family", str),
    "model": ("model", str),
    "drawn": ("drawn by", str),
    "fd": ("FD", "{:.2f}".format),
    "precision": ("precision", "{:.3f}".format),
    "recall": ("recall", "{:.3f}".format),
    "class_entropy": ("class entropy (bits)", "{:.3f}".format),
    "nearest": ("nearest training picture (RMS)", "{:.3f}".format),
    "parameters": ("parameters", "{:,}".format),
    "compute": ("training (petaFLOP)", lambda value: f"{value / 1e15:.3g}"),
    "minutes": ("training (minutes)", "{:.0f}".format),
    "seconds": ("seconds a picture", "{:.2g}".format),
    "samples": ("samples", "{:,}".format),
}


@dataclass(frozen=True)
class Families:
    """The table, real pictures first; a notebook shows it as one."""

    rows: tuple[Family, ...]

    def cells(self) -> list[list[str]]:
        """The heads, then each row, as text."""
        lines = [[getattr(row, key) for key in COLUMNS] for row in self.rows]
        shown = [
            ["" if value is None else form(value) for value, (_, form) in zip(line, COLUMNS.values(), strict=True)]
            for line in lines
        ]
        return [[head for head, _ in COLUMNS.values()], *shown]

    def notes(self) -> list[str]:
        """Where the minutes and the seconds were counted: only those of one machine can be compared."""
        kinds = {"Training minutes": "trained_on", "Seconds a picture": "timed_on"}
        return [f"{what} were counted on {self._by_machine(field)}." for what, field in kinds.items()]

    def _by_machine(self, field: str) -> str:
        families: dict[str, dict[str, None]] = {}
        for row in self.rows:
            if machine := getattr(row, field):
                families.setdefault(machine, {})[row.family] = None  # in order, and each once
        if len(families) == 1:
            return next(iter(families))
        return "; and on ".join(f"{machine}: {' / '.join(names)}" for machine, names in families.items())

    def to_json(self) -> dict:
        """A plain dictionary: the rows, and the notes below them."""
        return {"rows": [row.to_json() for row in self.rows], "notes": self.notes()}

    def __repr__(self) -> str:
        lines = ["  ".join(cell or "-" for cell in row) for row in self.cells()]
        return "\n".join([*lines, *self.notes()])

    def _repr_html_(self) -> str:
        heads, *rows = self.cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def families(folder: Path = HERE) -> Families:
    """The table of every family that the zoo has trained and measured; the others are left out.

    Raises: ValueError if none has been measured.
    """
    made = [line for line in LINES if all(card_path(name, folder).exists() for name in (line.entry, *line.beside))]
    rows = [row(line, folder) for line in made if f"{line.prefix}fd" in card(line.entry, folder).results]
    if not rows:
        raise ValueError("no model of the table has been measured: run `python -m edu_diffusion evaluate ddpm-fashion`")
    return Families((real_pictures(card(made[0].entry, folder)), *rows))


def row(line: Line, folder: Path) -> Family:
    """A line's numbers, from the cards."""
    cards = [card(name, folder) for name in (line.entry, *line.beside)]
    results = cards[0].results
    found = {key: results[f"{line.prefix}{key}"].value for key in MEASURED if f"{line.prefix}{key}" in results}
    seconds = results.get(f"{line.prefix}seconds")
    drawn, timed_on = ("", "") if seconds is None else DRAWN.fullmatch(seconds.unit).groups()
    return Family(
        line.family,
        " + ".join((*line.beside, line.entry)),
        **{key: found.get(key) for key in MEASURED},
        parameters=sum(one.parameters for one in cards),
        compute=sum(training_compute(find(one.name).build()) * one.images for one in cards),
        minutes=sum(one.minutes for one in cards),
        seconds=None if seconds is None else seconds.value,
        samples=results[f"{line.prefix}fd"].samples,
        trained_on="; ".join(sorted({one.machine for one in cards})),
        drawn="" if drawn == "drawn" else drawn,
        timed_on=timed_on,
    )


def real_pictures(measured: Card) -> Family:
    """What as many real training pictures score: the floors that a card's results name."""
    floors = {key: measured.results[key].floor if key in measured.results else None for key in MEASURED}
    return Family("real pictures", "training set", **floors, samples=measured.results["fd"].samples)


def training_compute(recipe: Recipe, batch: Batch | None = None) -> float:
    """Floating-point operations of training on one example of the batch, forward and backward; by default a picture.

    A multiplication and the addition after it count as two. Where not every step is alike (a GAN's turns) it is the
    mean over the recipe's `period`.
    """
    batch = fashion()[slice(0, 4)] if batch is None else batch
    steps = getattr(recipe, "period", 1)
    with FlopCounterMode(display=False) as counter:
        for _ in range(steps):
            for _, loss, _ in recipe.losses(batch, Rng(0)):
                loss.backward()
    return counter.get_total_flops() / (len(batch) * steps)
