"""A table of results, numbers to three significant digits."""

import html
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

_CELL = "padding:0.25em 0.9em"


class Table:
    """Rows under column heads: shows as an HTML table, prints as aligned text."""

    def __init__(self, rows: Sequence[Sequence[object]], columns: Sequence[str], caption: str = ""):
        self.columns, self.caption = list(columns), caption
        self.rows = [[number(cell) for cell in row] for row in rows]
        # A column is set flush right if everything in it is a number.
        self._right = [all(isinstance(plain(row[i]), Real | None) for row in rows) for i in range(len(columns))]

    def _repr_html_(self) -> str:
        head = "".join(self._cell("th", i, text, ' scope="col"') for i, text in enumerate(self.columns))
        body = "".join(
            "<tr>" + "".join(self._cell("td", i, text) for i, text in enumerate(row)) + "</tr>" for row in self.rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cell(self, tag: str, column: int, text: str, more: str = "") -> str:
        side = "right" if self._right[column] else "left"
        return f'<{tag}{more} style="text-align:{side};{_CELL}">{html.escape(text)}</{tag}>'

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        sides = [str.rjust if right else str.ljust for right in self._right]
        text = [
            "  ".join(s(cell, w) for s, cell, w in zip(sides, line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([self.caption, *text] if self.caption else text)


def table(
    rows: Sequence[Mapping[str, object]] | Sequence[Sequence[object]],
    columns: Sequence[str] | None = None,
    caption: str = "",
) -> Table:
    """A table of `rows`, each a mapping from column to cell, or a sequence of cells under `columns`.

    Floats are shown with three significant digits, whole numbers in full, NaN and None as a dash.

    Raises: ValueError for no rows, a row of another length, or rows without columns.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("a table needs at least one row, got none")
    if isinstance(rows[0], Mapping):
        columns = list(columns or rows[0])
        rows = [[row.get(column) for column in columns] for row in rows]
    if columns is None:
        raise ValueError("rows that are sequences need columns: table(rows, columns=[...])")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"every row needs {len(columns)} cells, one for each of {list(columns)}; got {list(row)}")
    return Table(rows, columns, caption)


def plain(value: object) -> object:
    """The Python number inside a tensor or array of one element; anything else as it is."""
    if hasattr(value, "numel"):
        return value.item() if value.numel() == 1 else value
    return value.item() if getattr(value, "size", None) == 1 and hasattr(value, "item") else value


def number(value: object) -> str:
    """A cell's text: 0.12345 as 0.123, 12345.6 as 12,346, 60000 as 60,000, 1.2e-7 as 1.2e-07, True as yes."""
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if not isinstance(value, Real):
        return str(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:#.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.2e}"
    return "0" if value == 0 else text.rstrip(".")
