"""Write everything that is made from the repository's public address.

The address stands in one place: `Repository` under `[project.urls]` in pyproject.toml. From it come the launch badges
of the README (between two marker lines) and the first code cell of every lesson, which installs the package on a GPU
runtime.

    python tools/address.py            write them
    python tools/address.py --check    say what is out of date, and fail if anything is
"""

import argparse
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- launch badges: written by tools/address.py -->", "<!-- end of launch badges -->"
FIRST_LESSON = "notebooks/00_start_here.ipynb"
TAGS = ["remove-cell", "nbval-skip", "skip-execution"]
METADATA = {"jupyter": {"source_hidden": True}, "tags": TAGS}  # folded in JupyterLab, where it is of no use
FIRST_LINE = "# On a GPU runtime (Colab): install the course. Written by tools/address.py."


def urls(root: Path = ROOT) -> dict[str, str]:
    """The addresses in pyproject.toml, as they stand there."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]


def address(root: Path = ROOT) -> str | None:
    """The repository's public address, or None while it is not set."""
    url = urls(root)["Repository"].rstrip("/").removesuffix(".git")
    return None if "OWNER" in url else url


def badges(url: str | None) -> str:
    """The README's launch badges; a sentence in their place while there is no address."""
    if url is None:
        return "*Launch badges appear here once the repository has a public address.*"
    slug = url.split("github.com/")[-1]
    colab = f"https://colab.research.google.com/github/{slug}/blob/main/{FIRST_LESSON}"
    binder = f"https://mybinder.org/v2/gh/{slug}/main?urlpath=lab/tree/{FIRST_LESSON}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Launch on Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def cell_source(url: str | None) -> str:
    """The first code cell of a lesson: on Colab it installs the package (loose ranges); elsewhere it does nothing."""
    head = f'{FIRST_LINE}\nimport sys\n\nif "google.colab" in sys.modules:\n'
    if url is None:
        return head + (
            "    raise RuntimeError(\n"
            '        "This copy does not know its public address yet: set Repository "\n'
            '        "under [project.urls] in pyproject.toml and run `python tools/address.py`."\n'
            "    )"
        )
    return head + f"    %pip install --quiet 'edu-diffusion @ git+{url}'"


def in_text(text: str, url: str | None) -> str:
    """A lesson's MyST text with its first code cell brought up to date, or put in before the first code cell."""
    options = f"---\njupyter:\n  source_hidden: true\ntags: [{', '.join(TAGS)}]\n---"
    cell = f"```{{code-cell}} ipython3\n{options}\n\n{cell_source(url)}\n```"
    lines = r"(?:(?!^```).*\n)*"
    old = re.search(rf"^```\{{code-cell\}}.*\n{lines}?{re.escape(FIRST_LINE)}\n{lines}```", text, re.M)
    if old:
        return text[: old.start()] + cell + text[old.end() :]
    first = re.search(r"^```\{code-cell\}", text, re.M)
    return text if first is None else text[: first.start()] + cell + "\n\n" + text[first.start() :]


def in_notebook(text: str, url: str | None) -> str:
    """An executed notebook's JSON with the source of that cell and metadata brought up to date; the outputs stay."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if "".join(cell["source"]).startswith(FIRST_LINE):
            cell["source"] = cell_source(url).splitlines(keepends=True)
            cell["metadata"] = METADATA
            return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return text


def in_readme(text: str, url: str | None) -> str:
    """The README with the badges between the two marker lines."""
    if START not in text or END not in text:
        sys.exit(f"README.md: the lines {START!r} and {END!r} are missing; put them where the badges belong.")
    return text.split(START)[0] + f"{START}\n{badges(url)}\n{END}" + text.split(END, 1)[1]


def stale(root: Path = ROOT) -> dict[Path, str]:
    """Each file that is out of date, with what it should hold."""
    url = address(root)
    wanted = {root / "README.md": in_readme}
    wanted |= {path: in_text for path in sorted((root / "notebooks/sources").glob("[0-9]*.md"))}
    wanted |= {path: in_notebook for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))}
    new = {path: write(path.read_text(), url) for path, write in wanted.items()}
    return {path: text for path, text in new.items() if text != path.read_text()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    for path, text in stale().items():
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text)
    if check and stale():
        sys.exit("Run `python tools/address.py`.")


if __name__ == "__main__":
    main()
