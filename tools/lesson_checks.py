"""What must be true of every committed notebook: asked by `lesson.py build` before it writes one, and by the tests."""

import re
from pathlib import Path

import jupytext
import nbformat
from jupytext.compare import NotebookDifference, compare_notebooks

LARGEST = 2 * 2**20
WIDEST = 88  # characters of a line of code: what fits in the book at a window of 1280 pixels
SKIP = {"nbval-skip", "skip-execution"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users)/[\w.]+|site-packages/|ipykernel_\d+")
ADDRESS_IN_MEMORY = re.compile(r"\bat 0x[0-9a-f]{6,}")
IMG = re.compile(r"<img\b[^>]*>", re.I)
ALT = re.compile(r"""\balt=(?:"[^"]*[^"\s][^"]*"|'[^']*[^'\s][^']*')""", re.I)


# A cell that shows a row of the ledger, a card of the zoo, or the table of families, and nothing else.
RESULT = re.compile(r"""(claim|card|families)\((?:"([\w-]+)")?\)""")


def result_of(cell: dict) -> object | None:
    """What a cell of the form `claim("...")`, `card("...")` or `families()` shows today; None for any other cell."""
    from edu_diffusion import zoo

    asked = RESULT.fullmatch(cell["source"].strip()) if cell["cell_type"] == "code" else None
    return getattr(zoo, asked[1])(*filter(None, asked.groups()[1:])) if asked else None


def old_results(notebook: dict) -> list[str]:
    """The cells that show a result as it was measured once, and no longer is."""
    found = []
    for i, cell in to_run(notebook):
        today = result_of(cell)
        if today is not None and cell["outputs"][0]["data"].get("text/html") != today._repr_html_():
            found.append(f"{name_of(i, cell)}: shows an old result; run `python tools/lesson.py results`")
    return found


def name_of(index: int, cell: dict) -> str:
    """How a problem names a cell: its place and its first line."""
    return f"cell {index} ({cell['source'].strip().splitlines()[0][:60]!r})"


def to_run(notebook: dict) -> list[tuple[int, dict]]:
    """The code cells that are executed, each with its place in the notebook."""
    cells = [(i, c) for i, c in enumerate(notebook["cells"]) if c["cell_type"] == "code" and c["source"].strip()]
    return [(i, c) for i, c in cells if not SKIP & set(c["metadata"].get("tags", []))]


def execution_problems(notebook: dict) -> list[str]:
    """Every code cell ran once, from top to bottom; a skipped one has both tags, one for nbval and one for nbclient."""
    cells = to_run(notebook)
    counts = [cell["execution_count"] for _, cell in cells]
    found = [] if cells else ["there is no code cell"]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"the cells were not executed once each from top to bottom: execution counts {counts}")
    for i, cell in enumerate(notebook["cells"]):
        if len(SKIP & set(cell["metadata"].get("tags", []))) == 1:
            found.append(f"{name_of(i, cell)}: a skipped cell needs both tags, nbval-skip and skip-execution")
    return found


def pictures_without_alt(html: str) -> list[str]:
    """The start of each <img> whose alt text is missing or empty."""
    return [tag[:60] for tag in IMG.findall(html) if not ALT.search(tag)]


def output_problems(output: dict, raises: bool) -> list[str]:
    """What is wrong with one output of a cell; `raises` says that the cell is meant to end in an error."""
    if output["output_type"] == "error":
        return [] if raises else [f"ended in an error: {output['ename']}: {output['evalue']}"]
    if output["output_type"] == "stream":
        return [f"wrote to stderr: {output['text'].strip()[:200]!r}"] if output["name"] == "stderr" else []
    data = output["data"]
    bare = [kind for kind in data if kind.startswith("image/")]
    found = [f"shows a bare {kind}, which has no alt text; show it with edu_diffusion.viz" for kind in bare]
    html = data.get("text/html", "")
    found += [f"a picture has no alt text: {tag}" for tag in pictures_without_alt(html)]
    if ADDRESS_IN_MEMORY.search(data.get("text/plain", "")) and "text/html" not in data:
        found.append(f"shows an address in memory, which no reader needs: {data['text/plain'][:80]!r}")
    return found


def widget_problems(notebook: dict) -> list[str]:
    """Pictures inside saved widgets have alt text as well, and no widget shows a bare picture."""
    saved = notebook["metadata"].get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    models = saved.get("state", {}).values()
    found = []
    for model in models:
        if model["model_name"] == "ImageModel":
            found.append("a widgets.Image has no alt text; use widgets.HTML with edu_diffusion.viz")
        html = str(model["state"].get("value", ""))
        found += [f"a widget's picture has no alt text: {tag}" for tag in pictures_without_alt(html)]
    uses = "application/vnd.jupyter.widget-view+json" in str([c.get("outputs") for c in notebook["cells"]])
    if uses and not models:
        found.append("it shows widgets but holds no saved widget state, so the book would show none")
    return found


def width_problems(notebook: dict) -> list[str]:
    """No line of code is so wide that a reader has to scroll sideways."""
    wide = [(i, line) for i, cell in to_run(notebook) for line in cell["source"].splitlines() if len(line) > WIDEST]
    return [
        f"cell {i}: a line of {len(line)} characters, at most {WIDEST} fit: {line.strip()[:50]!r}" for i, line in wide
    ]


def problems(notebook: dict, *, size: int) -> list[str]:
    """Everything wrong with an executed notebook of `size` bytes; an empty list if nothing is."""
    found = execution_problems(notebook) + width_problems(notebook) + widget_problems(notebook)
    for i, cell in to_run(notebook):
        raises = "raises-exception" in cell["metadata"].get("tags", [])
        for output in cell["outputs"]:
            found += [f"{name_of(i, cell)}: {problem}" for problem in output_problems(output, raises)]
    for i, cell in enumerate(notebook["cells"]):
        if "TODO" in cell["source"]:
            found.append(f"cell {i}: TODO")
        if cell["cell_type"] == "markdown" and re.search(r"^%%", cell["source"], re.M):
            found.append(f"cell {i}: a %% line is no comment in JupyterLab, where every reader sees it")
    if hit := MACHINE_PATH.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", nbformat.writes(nbformat.from_dict(notebook)))):
        found.append(f"it holds a path of a machine: {hit.group(0)}")
    if size > LARGEST:
        found.append(f"it is {size / 2**20:.2f} MB with its outputs; the most is {LARGEST / 2**20:.0f} MB")
    return found


def text_problems(notebook: dict, text: Path) -> list[str]:
    """The notebook's cells are those of its reviewable text."""
    if not text.exists():
        return [f"its text notebooks/sources/{text.name} is missing"]
    source = jupytext.read(text, fmt="md:myst")
    source.metadata = notebook.metadata
    try:
        compare_notebooks(notebook, source, fmt="md:myst")
    except NotebookDifference as difference:
        return [f"it differs from notebooks/sources/{text.name}; run `make execute NB={text.stem[:2]}`. {difference}"]
    return []


def file_problems(path: Path) -> list[str]:
    """Everything wrong with a committed notebook, read from `path`."""
    notebook = nbformat.read(path, as_version=4)
    text = path.parent / "sources" / f"{path.stem}.md"
    return problems(notebook, size=path.stat().st_size) + old_results(notebook) + text_problems(notebook, text)
