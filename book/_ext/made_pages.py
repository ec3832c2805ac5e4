"""Pages made while the book is built: where a page says `<!-- made: NAME -->`, the Markdown of NAME is put in.

`room edu_diffusion.nets` is the reference of a room, from its docstrings. `zoo`, `claims` and `families` are what the
package's own commands say, `speed` what the benchmarks stored, so that no number in the book is typed by hand.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from api import room
from results import claims_page, families_page, speed_page, zoo_page
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MARK = re.compile(r"<!-- made: (.+?) -->")
ROOT = Path(__file__).resolve().parents[2]


def ask(command: str) -> list[dict]:
    """What `python -m edu_diffusion COMMAND --json` prints, in a clean process."""
    line = [sys.executable, "-m", "edu_diffusion", command, "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise ExtensionError(
            f"`python -m edu_diffusion {command} --json` failed, so its page cannot be made:\n{done.stderr}"
        )
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ExtensionError(f"`python -m edu_diffusion {command} --json` did not print JSON: {error}") from error


def lessons() -> dict[str, str]:
    """The lessons that are written: number -> page, as seen from the book's own folder."""
    return {path.name[:2]: f"notebooks/{path.name}" for path in ROOT.glob("notebooks/[0-9]*.ipynb")}


def markdown(what: str) -> str:
    """The Markdown that stands for one mark."""
    match what.split():
        case ["room", name]:
            return room(name)
        case ["zoo"]:
            return zoo_page(ask("zoo"))
        case ["claims"]:
            return claims_page(ask("claims"), lessons())
        case ["families"]:
            return families_page(ask("families"))
        case ["speed"]:
            return speed_page([json.loads(path.read_text()) for path in sorted(ROOT.glob("benchmarks/results/*.json"))])
    raise ExtensionError(f"no page can be made of {what!r}; known: room NAME, zoo, claims, families, speed")


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the made parts into a page before it is parsed."""
    source[0] = MARK.sub(lambda match: markdown(match[1]), source[0])


def outdated(app: Sphinx, env, added: set, changed: set, removed: set) -> list[str]:
    """Pages with a made part are read again in every build: what they show lies outside the book's folder."""
    known = env.found_docs - added - changed
    return [name for name in known if name.startswith("api/") or name in {"zoo", "claims", "families", "speed"}]


def setup(app: Sphinx) -> dict:
    app.connect("source-read", fill)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
