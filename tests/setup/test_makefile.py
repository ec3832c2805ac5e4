"""The commands a newcomer types, without running what they start."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*words: str) -> subprocess.CompletedProcess:
    """`make WORDS`, as if typed in a fresh shell."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=ROOT, env=env, capture_output=True, text=True)


def test_lab_opens_lesson_00_on_this_machine_only():
    planned = make("-n", "lab").stdout
    assert "--ServerApp.ip=127.0.0.1" in planned
    assert "/lab/tree/notebooks/00_start_here.ipynb" in planned
    assert ("--allow-root" in planned) == (os.geteuid() == 0)
    assert re.search(r"jupyter trust notebooks/\*\.ipynb", planned)


def test_the_pins_are_used_and_the_news_prompt_is_off(tmp_path):
    planned = make("-n", "lab", f"VENV={tmp_path}/env").stdout
    assert "-c constraints.txt -e '.[lab]'" in planned
    assert 'labextension disable "@jupyterlab/apputils-extension:announcements"' in planned


def test_a_python_that_does_not_fit_is_a_clear_error(tmp_path):
    done = make("setup", "PYTHON=", f"VENV={tmp_path}/env")
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in done.stdout + done.stderr


def test_execute_asks_for_the_lesson():
    done = make("execute")
    assert done.returncode != 0 and "make execute NB=09" in done.stdout


def test_help_lists_every_command():
    listed = re.findall(r"^(\w+) ", make("help").stdout, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert listed == phony


@pytest.mark.parametrize("path", [".ci/run", ".github/workflows/ci.yml"])
def test_continuous_integration_runs_the_same_checks(path):
    wanted = {".ci/run": "make test", ".github/workflows/ci.yml": "bash .ci/run"}
    assert wanted[path] in (ROOT / path).read_text()
