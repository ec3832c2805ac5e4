"""Build the book: the pages of book/ and the executed notebooks, as a site that needs no network.

    python tools/book.py [folder]      by default into book/_build/html     (make book)

The two are laid side by side in book/_build/source first, so that the notebooks stay where JupyterLab has them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from address import ROOT

BOOK = ROOT / "book"
SOURCE = BOOK / "_build/source"
HTML = BOOK / "_build/html"


def lay_out() -> None:
    """Copy the book's pages and the notebooks to SOURCE."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(BOOK, SOURCE, ignore=shutil.ignore_patterns("_*", "conf.py"))
    (SOURCE / "notebooks").mkdir()
    for notebook in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        shutil.copy2(notebook, SOURCE / "notebooks")


def build(out: Path = HTML) -> int:
    """Build the site into `out`, all of it anew; every warning is an error. Returns the exit status.

    A page that is not built again does not warn again: a second build of only what changed would pass.
    """
    lay_out()
    options = ["-q", "-E", "-a", "-W", "--keep-going", "-b", "html", "-c", BOOK, "-d", BOOK / "_build/doctrees"]
    return subprocess.run([sys.executable, "-m", "sphinx", *options, SOURCE, out]).returncode


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HTML
    if status := build(folder):
        sys.exit(status)
    print(f"The book is built: open {folder}/index.html")
