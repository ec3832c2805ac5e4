"""A claim's numbers as tables: what stands in which row and column, and that none is lost."""

import re

import pytest

from edu_diffusion.zoo.claims import CLAIMS
from edu_diffusion.zoo.claims.core import Number, read_row, row_path
from edu_diffusion.zoo.claims.tables import number_tables


def tables(numbers: dict[str, Number]) -> list[list[list[str]]]:
    """The texts of all cells, by table and line."""
    found = re.findall("<table>(.*?)</table>", number_tables(numbers))
    return [
        [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in re.findall("<tr>(.*?)</tr>", one)] for one in found
    ]


def test_several_measures_are_columns():
    numbers = {"scale 1: FD": Number(2.0), "scale 1: recall": Number(0.8), "scale 2: FD": Number(3.0)}
    numbers["scale 2: recall"] = Number(0.7)
    assert tables(numbers) == [[["", "FD", "recall"], ["scale 1", "2", "0.8"], ["scale 2", "3", "0.7"]]]


def test_of_one_measure_the_first_word_is_the_column():
    numbers = {f"{rule}, {n} steps: FD": Number(n / 10) for n in (5, 10) for rule in ("ddim", "ancestral")}
    assert tables(numbers) == [[["", "ddim", "ancestral"], ["5 steps", "0.5", "0.5"], ["10 steps", "1", "1"]]]
    assert number_tables(numbers).startswith("FD<table>")


def test_what_is_measured_otherwise_has_a_table_of_its_own():
    numbers = {"a: FD": Number(1.0), "b: FD": Number(2.0), "c: bits": Number(3.0), "alone": Number(4.0)}
    assert tables(numbers) == [
        [["", "FD"], ["a", "1"], ["b", "2"]],
        [["", "bits"], ["c", "3"]],
        [["alone", "4"]],
    ]


def test_a_floor_that_all_share_is_a_row_and_others_stay_in_their_cells():
    numbers = {"a: FD": Number(1.0, floor=0.36), "b: FD": Number(2.0, floor=0.36)}
    assert tables(numbers) == [[["", "FD"], ["a", "1"], ["b", "2"], ["floor", "0.36"]]]
    numbers["b: FD"] = Number(2.0, floor=0.5)
    assert tables(numbers) == [[["", "FD"], ["a", "1 (floor 0.36)"], ["b", "2 (floor 0.5)"]]]


def test_large_numbers_have_all_their_digits():
    assert str(Number(1_030_826)) == "1,030,826" and str(Number(999.4)) == "999"


@pytest.mark.parametrize("name", [name for name in CLAIMS if row_path(name).exists()])
def test_no_number_of_the_ledger_is_lost(name):
    numbers = read_row(name).numbers
    cells = [cell for one in tables(numbers) for line in one for cell in line]
    assert len([cell for cell in cells if re.match(r"-?\d", cell)]) >= len(numbers)
    for number in numbers.values():
        assert any(cell.startswith(str(number).split(" (floor")[0]) for cell in cells)
