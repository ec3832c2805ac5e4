"""Every committed notebook: executed from top to bottom, clean, with alt text, and the same as its reviewable text."""

from pathlib import Path

import pytest

import lesson_checks

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_there_are_lessons():
    assert [path.name[:2] for path in ALL][:1] == ["00"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_nothing_is_wrong(path):
    assert lesson_checks.file_problems(path) == []


def test_every_text_has_its_notebook():
    texts = {path.stem for path in (NOTEBOOKS / "sources").glob("[0-9]*.md")}
    assert texts == {path.stem for path in ALL}
