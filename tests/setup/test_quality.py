"""Lint, the floors of the house, and the files that a repository should have."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> str:
    """The command's output; an AssertionError with it if the command fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked() -> list[Path]:
    return [ROOT / name for name in run("git", "ls-files", "-z").split("\0") if name]


def test_ruff():
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_floors():
    """A room imports only from lower floors; the rooms of the first floor are blind to each other."""
    run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")


@pytest.mark.parametrize("name", ["LICENSE", "DATA_LICENSES.md", "CITATION.cff", "README.md", "environment.yml"])
def test_files_a_reader_looks_for(name):
    assert len((ROOT / name).read_text()) > 200


def test_no_path_of_a_machine_is_committed():
    kinds = {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".txt", ".cfg", ".cff"}
    local = re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/[\w.]+")
    texts = {path: path.read_text() for path in tracked() if path.suffix in kinds and path.exists()}
    assert {str(path): hit.group() for path, text in texts.items() if (hit := local.search(text))} == {}


def test_files_end_in_one_newline():
    kinds = {".py", ".md", ".toml", ".yml", ".txt", ".ipynb", ".cff"}
    texts = {path: path.read_text() for path in tracked() if path.suffix in kinds and path.exists()}
    assert [str(path) for path, text in texts.items() if text and not re.search(r"[^\n]\n\Z", text)] == []
