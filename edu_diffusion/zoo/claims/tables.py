"""A claim's numbers as small tables: `row: column` names a cell, and `row, column: what` if only one thing is measured.

scale 1: FD            a row for each scale, a column for each measure
ddim, 50 steps: FD     one measure, so a row for each number of steps and a column for each rule
anything else          a row for each name
"""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edu_diffusion.zoo.claims.core import Number

Cells = dict[tuple[str, str], "Number"]
CELL = "text-align:left;vertical-align:top;white-space:normal"


def number_tables(numbers: Mapping[str, "Number"]) -> str:
    """All numbers in HTML, each once. What is measured of the same things stands in one table."""
    named, plain = {}, {}
    for name, number in numbers.items():
        head, colon, label = name.rpartition(": ")
        if colon:
            named.setdefault(head, {})[label] = number
        else:
            plain[name, ""] = number
    alike: dict[tuple[str, ...], list[str]] = {}
    for head, measured in named.items():
        alike.setdefault(tuple(measured), []).append(head)
    tables = [table(*cells_of(heads, labels, named)) for labels, heads in alike.items()]
    return "".join(tables + ([table("", plain)] if plain else []))


def cells_of(
    heads: list[str], labels: tuple[str, ...], named: Mapping[str, Mapping[str, "Number"]]
) -> tuple[str, Cells]:
    """A caption, and numbers by row and column."""
    parts = [head.partition(", ") for head in heads]
    columns = {first for first, _, _ in parts}
    if len(labels) == 1 and all(comma for _, comma, _ in parts) and 2 <= len(columns) < len(parts):
        [label] = labels
        return label, {(rest, first): named[f"{first}, {rest}"][label] for first, _, rest in parts}
    return "", {(head, label): named[head][label] for head in heads for label in labels}


def table(caption: str, cells: Cells) -> str:
    """One table. A floor that all of a column share stands in a last row of its own, and not in each cell."""
    rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    floors = {column: shared_floor(cells, column) for column in columns}
    lines = []
    for row in rows:
        found = [(cells.get((row, column)), floors[column]) for column in columns]
        lines.append([row, *("" if n is None else str(n if floor is None else bare(n)) for n, floor in found)])
    if any(floor is not None for floor in floors.values()):
        lines.append(["floor", *("" if floor is None else f"{floor:.2g}" for floor in floors.values())])
    head = line("th", ["", *columns]) if any(columns) else ""
    return escape(caption) + f"<table>{head}{''.join(line('td', each) for each in lines)}</table>"


def line(kind: str, texts: list[str]) -> str:
    """A line of cells: headings (th) or others (td)."""
    return "<tr>" + "".join(f"<{kind} style='{CELL}'>{escape(text)}</{kind}>" for text in texts) + "</tr>"


def shared_floor(cells: Cells, column: str) -> float | None:
    """The floor of a column of several numbers, if it is the same for all, as it is shown."""
    floors = [number.floor for (_, of), number in cells.items() if of == column]
    shown = {None if floor is None else f"{floor:.2g}" for floor in floors}
    return floors[0] if len(floors) > 1 and len(shown) == 1 else None


def bare(number: "Number") -> "Number":
    """The number without its floor."""
    return replace(number, floor=None)
