"""What the book makes of lessons, docstrings and results, without building it (tests/browser builds and opens it)."""

import json
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book/_ext"))

import api  # noqa: E402
import lesson_links  # noqa: E402
import made_pages  # noqa: E402
import results  # noqa: E402

GLOSSARY = (ROOT / "book/glossary.md").read_text()


def test_every_room_has_its_page():
    package = ROOT / "edu_diffusion"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {"types", "mode"}
    assert {path.stem for path in (ROOT / "book/api").glob("*.md")} == rooms | {"index"}


def test_glossary_terms_are_explained_in_two_sentences():
    entries = dict(zip(lesson_links.terms(GLOSSARY).values(), _bodies(), strict=True))
    assert len(entries) >= 60
    assert {term for term, body in entries.items() if not body.endswith(".") or body.count(". ") < 1} == set()


def _bodies() -> list[str]:
    return [line.strip() for line in GLOSSARY.splitlines() if line.startswith("  ")]


def test_a_lesson_reaches_the_glossary_and_the_notation():
    known = lesson_links.terms(GLOSSARY)
    text = "A [forward\nprocess](../book/glossary.md#forward-process), [signs](../book/notation.md)"
    assert (
        lesson_links.book_links(text, known) == "A {term}`forward process <forward process>`, [signs](../notation.md)"
    )


def test_a_link_to_a_term_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="no-such-term"):
        lesson_links.book_links("[x](../book/glossary.md#no-such-term)", {})


def test_a_docstring_becomes_markdown():
    def f(x: "Thing") -> None:
        """Compute a < b with `a < b`.

        Raises: ValueError always.
        Source: a paper.
        """

    text = api.docstring(f)
    assert "a &lt; b with `a < b`" in text
    assert "\n\n**Raises.** ValueError always.\n\n**Source.** a paper." in text.replace("\n\n\n", "\n\n")
    assert api.signature(f) == "(x: Thing) -> None"


def test_a_room_lists_every_public_name():
    text = api.room("edu_diffusion.diffusion")
    import edu_diffusion.diffusion as room

    assert [name for name in room.__all__ if f"}} {name}" not in text] == []
    assert text.index("## schedule") < text.index("## samplers"), (
        "files come in the order that the room's docstring names"
    )


def test_results_become_tables():
    row = {"name": "a", "weight_bytes": 5_000_000, "results": [{"metric": "FD", "value": 5.25, "why": "x | y"}]}
    page = results.zoo_page([row])
    assert "| weight bytes | 5,000,000 |" in page
    assert "| FD | 5.25 | x \\| y |" in page
    claim = {"id": "fwd", "verdict": "holds", "numbers": [{"arm": "one", "value": 1.0, "spread": 0.1}]}
    assert "| one | 1 | 0.1 |" in results.claims_page([claim]) and "## fwd" in results.claims_page([claim])


@pytest.mark.parametrize("status, out", [(1, ""), (0, "not JSON")])
def test_a_command_that_fails_stops_the_book(monkeypatch, status, out):
    done = types.SimpleNamespace(returncode=status, stdout=out, stderr="the reason")
    monkeypatch.setattr(made_pages.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(made_pages.ExtensionError, match="zoo --json"):
        made_pages.ask("zoo")


def test_a_command_that_works_is_read(monkeypatch):
    done = types.SimpleNamespace(returncode=0, stdout=json.dumps([{"id": 1}]), stderr="")
    monkeypatch.setattr(made_pages.subprocess, "run", lambda *_, **__: done)
    assert made_pages.ask("claims") == [{"id": 1}]
