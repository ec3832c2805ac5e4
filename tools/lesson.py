"""Turn a lesson's text into its executed notebook, and back.

The text of a lesson is `notebooks/sources/NN_name.md` (MyST, the reviewable form); the notebook that readers open is
`notebooks/NN_name.ipynb`, executed and committed.

    python tools/lesson.py build 09     execute the text in full mode and write the notebook   (make execute NB=09)
    python tools/lesson.py build 09 --fast --out /some/folder/draft.ipynb     a quick try: fast mode, written elsewhere
    python tools/lesson.py prose 09     only words and alt texts were changed: take them over, the outputs stay
    python tools/lesson.py text 09      write the text again from a notebook that was edited in JupyterLab
    python tools/lesson.py results      something was measured again: show it in the cells `claim("...")`, `card("...")`
                                        and `families()`
    python tools/lesson.py check [09]   say what the tests would say about the committed notebooks

`build` writes nothing unless every cell ran and nothing is wrong with the outputs (see lesson_checks.py). The kernel
runs in notebooks/, where JupyterLab starts it too.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import address
import lesson_checks
import lesson_words

NOTEBOOKS = address.ROOT / "notebooks"
HOURS_PER_CELL = 2


def find(number: str, kind: str) -> Path:
    """The text (`kind="md"`) or notebook (`kind="ipynb"`) of lesson `number`, given as 9, 09 or 09_ddpm."""
    folder = NOTEBOOKS / "sources" if kind == "md" else NOTEBOOKS
    stem = number.zfill(2) if number.isdigit() else Path(number).stem
    found = sorted(p for p in folder.glob(f"{stem}*.{kind}") if p.stem == stem or p.stem.startswith(f"{stem}_"))
    if len(found) != 1:
        there = ", ".join(p.name for p in sorted(folder.glob(f"[0-9]*.{kind}"))) or "none yet"
        where = folder.relative_to(address.ROOT)
        sys.exit(f"Lesson {number!r}: expected one {kind} file in {where}/, found {len(found)}. There: {there}.")
    return found[0]


def read_text(path: Path) -> nbformat.NotebookNode:
    """The notebook that a lesson's text stands for, with cell ids that do not change from run to run."""
    notebook = jupytext.read(path, fmt="md:myst")
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem[:2]}-{index:03d}"
    return notebook


def execute(notebook: nbformat.NotebookNode, *, fast: bool) -> None:
    """Run every cell in place, in a fresh kernel; raises CellExecutionError at the first cell that fails."""
    os.environ["EDU_DIFFUSION_FAST"] = "1" if fast else "0"
    client = NotebookClient(
        notebook,
        timeout=HOURS_PER_CELL * 3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
        store_widget_state=True,
        on_cell_start=lambda cell, cell_index: print(f"  cell {cell_index}", end="\r", flush=True),
    )
    client.execute()


def clean(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Drop what depends on the machine, and give widgets ids that are the same at every build."""
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    text = json.dumps(notebook, ensure_ascii=False)
    for index, model in enumerate(re.findall(r'"([0-9a-f]{32})": \{"model_name"', text) or widgets.get("state", {})):
        text = text.replace(model, hashlib.md5(f"{name} {index}".encode()).hexdigest())
    return nbformat.from_dict(json.loads(text))


def save(path: Path, text: str) -> None:
    """Write a whole file or nothing: an interrupted build leaves the last good notebook in place."""
    part = path.with_suffix(path.suffix + ".tmp")
    part.write_text(text)
    part.replace(path)


def build(number: str, *, fast: bool, out: Path | None) -> None:
    """Execute lesson `number` and write its notebook (to `out` if given)."""
    source = find(number, "md")
    if (fresh := address.in_text(source.read_text(), address.address())) != source.read_text():
        save(source, fresh)
    notebook, start = read_text(source), time.monotonic()
    if problems := lesson_checks.width_problems(notebook):  # found now, not after minutes of computing
        sys.exit(f"{source.stem}: not executed.\n- " + "\n- ".join(problems))
    print(f"{source.stem}: executing in {'fast' if fast else 'full'} mode")
    try:
        execute(notebook, fast=fast)
    except CellExecutionError as error:
        sys.exit(f"{source.stem}: a cell failed, so nothing was written.\n{error}")
    notebook = clean(notebook, source.stem)
    text = nbformat.writes(notebook) + "\n"
    if problems := lesson_checks.problems(notebook, size=len(text.encode())):
        refused = Path(tempfile.mkdtemp()) / f"{source.stem}.ipynb"
        save(refused, text)
        sys.exit(f"{source.stem}: the notebook stays as it was; to look at: {refused}\n- " + "\n- ".join(problems))
    path = out or NOTEBOOKS / f"{source.stem}.ipynb"
    save(path, text)
    print(f"{path.name}: {len(notebook.cells)} cells, {len(text) / 2**20:.2f} MB, {time.monotonic() - start:.0f} s")


def write_text(number: str) -> None:
    """Write the text of lesson `number` from its notebook."""
    path = find(number, "ipynb")
    notebook = nbformat.read(path, as_version=4)
    keep = {"kernelspec": notebook.metadata["kernelspec"]}
    notebook.metadata = nbformat.from_dict(keep)
    save(NOTEBOOKS / "sources" / f"{path.stem}.md", jupytext.writes(notebook, fmt="md:myst"))


def prose(number: str, executed: Path | None) -> None:
    """Take over the words of lesson `number`; the outputs stay those of its notebook, or of the one given."""
    source, path = find(number, "md"), executed or find(number, "ipynb")
    try:
        notebook = lesson_words.reworded(nbformat.read(path, as_version=4), read_text(source))
    except ValueError as error:
        sys.exit(f"{source.stem}: {error}. So it must be executed: run `make execute NB={number}`")
    save(NOTEBOOKS / f"{source.stem}.ipynb", nbformat.writes(notebook) + "\n")
    print(f"{source.stem}: words taken over")


def results(number: str | None) -> None:
    """Run the cells that show a row of the ledger or a card again, and those alone: they depend on no other cell."""
    for path in [find(number, "ipynb")] if number else sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not lesson_checks.old_results(notebook):
            continue
        for cell in notebook.cells:
            today = lesson_checks.result_of(cell)
            if today is not None:
                cell.outputs[0].data = {"text/html": today._repr_html_(), "text/plain": repr(today)}
        save(path, nbformat.writes(notebook) + "\n")
        print(f"{path.name}: results brought up to date")


def check(number: str | None) -> None:
    """Print what is wrong with the committed notebooks; exit with an error if anything is."""
    paths = [find(number, "ipynb")] if number else sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    bad = [f"{path.name}: {problem}" for path in paths for problem in lesson_checks.file_problems(path)]
    print("\n".join(bad) or f"{len(paths)} notebook(s): nothing wrong")
    sys.exit(1 if bad else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["build", "prose", "text", "results", "check"])
    parser.add_argument(
        "number", nargs="?", help="the lesson's number, for example 09; results and check take all without it"
    )
    parser.add_argument(
        "--fast", action="store_true", help="fast mode (needs --out: full-mode outputs are what is kept)"
    )
    parser.add_argument("--out", type=Path, help="write the notebook here and not into notebooks/")
    parser.add_argument("--executed", type=Path, help="prose: take the outputs of this notebook, one of the same code")
    args = parser.parse_args()
    if args.command in ("build", "prose", "text") and args.number is None:
        parser.error(f"{args.command} needs the lesson's number, for example: {args.command} 09")
    if args.fast and args.out is None:
        parser.error("--fast needs --out: the notebooks in notebooks/ hold the outputs of the full mode")
    match args.command:
        case "build":
            build(args.number, fast=args.fast, out=args.out)
        case "text":
            write_text(args.number)
        case "prose":
            prose(args.number, args.executed)
        case "results":
            results(args.number)
        case "check":
            check(args.number)


if __name__ == "__main__":
    main()
