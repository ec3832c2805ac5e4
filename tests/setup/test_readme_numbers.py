"""The README's numbers are those that were measured."""

import json

import pytest

import readme_numbers as numbers


def test_the_readme_shows_what_was_measured():
    text = (numbers.ROOT / "README.md").read_text()
    assert numbers.in_readme(text) == text, "out of date: run `make numbers`"


def test_a_changed_result_shows(tmp_path, monkeypatch):
    card = json.loads((numbers.CARDS / "ddpm-fashion.json").read_text())
    card["results"]["fd"]["value"] = 123.456
    (tmp_path / "ddpm-fashion.json").write_text(json.dumps(card))
    monkeypatch.setattr(numbers, "CARDS", tmp_path)
    assert "**123**" in numbers.in_readme(f"before\n{numbers.START}\nold\n{numbers.END}\nafter")


def test_a_readme_without_its_place_is_refused():
    with pytest.raises(SystemExit, match="are missing"):
        numbers.in_readme("no marks")
