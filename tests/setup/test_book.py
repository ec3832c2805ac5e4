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


ENTRY = {
    "name": "ddpm",
    "about": "draws clothes",
    "system": "DDPM",
    "recipe": {"batch": 64, "ema": None},
    "seed": 0,
    "steps": 10,
    "images": 640,
    "minutes": 1.5,
    "machine": "a CPU",
    "versions": {"torch": "2.13.0"},
    "data_checksum": "abc",
    "parameters": 1_000_000,
    "weight_bytes": 5_000_000,
    "weight_sha256": "0123456789abcdef",
    "results": {"fd": {"name": "FD", "value": 5.25, "samples": 100, "seed": 0, "floor": 0.1, "unit": "x | y"}},
}
CLAIM = {
    "id": "fwd",
    "lesson": "06",
    "what": "this against that (each arm: short)",
    "paper": "says so",
    "numbers": {"one": {"value": 1.0, "seeds": 3, "spread": 0.1, "floor": None, "unit": "RMS"}},
    "verdict": "holds",
    "why": "it came out so",
    "command": "python -m edu_diffusion evaluate --claim fwd",
    "machine": "a CPU",
    "minutes": 2.0,
}


def test_a_zoo_entry_becomes_a_section_and_a_line_of_the_overview():
    page = results.zoo_page([ENTRY])
    assert "| [ddpm](#ddpm) | DDPM | 1,000,000 | 1.5 | 5.25 |" in page
    assert "1,000,000 parameters, 5,000,000 bytes" in page
    assert "| FD | 5.25 x \\| y | 0.1 | 100 | 0 |" in page
    assert ", ema" not in page, "what does not apply is left out"


def test_a_claim_becomes_a_section_and_a_line_of_the_overview():
    page = results.claims_page([CLAIM], {"06": "notebooks/06_forward_diffusion.ipynb"})
    assert "| [fwd](#claim-fwd) | [06](notebooks/06_forward_diffusion.ipynb) | holds | this against that |" in page
    assert "**holds**: it came out so" in page and "`python -m edu_diffusion evaluate --claim fwd`" in page
    assert ">one</td>" in page and ">1 ± 0.1 RMS</td>" in page and "(means over 3 seeds" in page


def test_the_families_become_one_table():
    real = dict.fromkeys(results.FAMILY_HEADS) | {"family": "real pictures", "fd": 0.104, "samples": 10_000}
    row = real | {"family": "DDPM", "fd": 4.25, "compute": 2.5e15, "parameters": 1_000_000}
    page = results.families_page({"rows": [real, row], "notes": ["Seconds a picture were counted on a CPU."]})
    assert "| family | FD | parameters | training (petaFLOP) | samples |" in page
    assert "| real pictures | 0.104 |" in page and "| DDPM | 4.25 | 1,000,000 | 2.5 | 10,000 |" in page
    assert page.endswith("\n\nSeconds a picture were counted on a CPU.")


def test_a_benchmark_becomes_a_section():
    around = {"machine": "a CPU", "cores": 2, "threads": 2, "bf16_units": False, "torch": "2.13.0"}
    around |= {"diffusers": "0.42", "python": "3.11", "date": "2026-11-24", "note": ""}
    row = {"measured": "times faster", "value": 6.25, "aim": "at least 2.2"}
    page = results.speed_page([{"name": "training_speed", "environment": around, "summary": [row]}])
    assert "## Training speed" in page and "| times faster | 6.25 | at least 2.2 |" in page
    assert "no bf16 matrix units" in page and "Remark" not in page


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
