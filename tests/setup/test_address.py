"""What is made from the public address: badges, and the first cell of each lesson."""

import ast
import json
import shutil
from pathlib import Path

import jupytext
import pytest

import address

URL = "https://github.com/someone/edu_diffusion"
LESSON = """\
---
kernelspec:
  display_name: Python 3
  name: python3
---

# A title

```{code-cell} ipython3
x = 1
```
"""


@pytest.fixture
def copy(tmp_path) -> Path:
    """A small repository with a README and one lesson, text and notebook."""
    (tmp_path / "notebooks/sources").mkdir(parents=True)
    shutil.copy(address.ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(f"# Title\n{address.START}\nold\n{address.END}\nrest\n")
    text = address.in_text(LESSON, None)
    (tmp_path / "notebooks/sources/01_try.md").write_text(text)
    (tmp_path / "notebooks/01_try.ipynb").write_text(jupytext.writes(jupytext.reads(text, "md:myst"), "ipynb"))
    return tmp_path


def with_address(root: Path) -> None:
    """Set the address as the README tells, and write what follows from it."""
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace(address.urls(root)["Repository"], URL + ".git"))
    for path, new in address.stale(root).items():
        path.write_text(new)


def test_nothing_in_the_repository_is_out_of_date():
    assert [str(path.name) for path in address.stale()] == [], "run `make address`"


def test_the_placeholder_counts_as_not_set(copy):
    text = (copy / "pyproject.toml").read_text()
    (copy / "pyproject.toml").write_text(text.replace(address.urls(copy)["Repository"], "https://github.com/OWNER/x"))
    assert address.address(copy) is None


def test_setting_the_address_reaches_readme_text_and_notebook(copy):
    with_address(copy)
    assert address.address(copy) == URL
    readme = (copy / "README.md").read_text()
    assert "colab.research.google.com/github/someone/edu_diffusion/blob/main/notebooks/00_start_here.ipynb" in readme
    assert "mybinder.org/v2/gh/someone/edu_diffusion/main" in readme
    assert readme.startswith("# Title\n") and readme.endswith("rest\n")
    text = jupytext.read(copy / "notebooks/sources/01_try.md", fmt="md:myst")
    notebook = json.loads((copy / "notebooks/01_try.ipynb").read_text())
    assert text.cells[1].source == "".join(notebook["cells"][1]["source"]) == address.cell_source(URL)
    assert address.stale(copy) == {}


def test_the_first_cell_comes_first_once_and_is_never_run():
    text = address.in_text(address.in_text(LESSON, None), URL)
    cells = [cell for cell in jupytext.reads(text, "md:myst").cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells] == [address.cell_source(URL), "x = 1"]
    assert {"nbval-skip", "skip-execution"} <= set(cells[0].metadata.tags)


def test_the_first_cell_without_an_address_says_what_to_set():
    code = address.cell_source(None)
    ast.parse(code)
    assert '"google.colab" in sys.modules' in code and "pyproject.toml" in code


def test_a_readme_without_the_marker_lines_is_an_error():
    with pytest.raises(SystemExit, match="missing"):
        address.in_readme("no markers", None)
