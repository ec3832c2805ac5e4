"""Each thing that must not be in a notebook, put into a good one: the checks find it."""

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import lesson
import lesson_checks

PICTURE = '<img src="data:image/png;base64,AAAA" alt="a shirt">'
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"


def notebook(*outputs, **cell):
    """A title and one executed cell."""
    code = new_code_cell(outputs=list(outputs), **{"source": "x = 1", "execution_count": 1} | cell)
    return new_notebook(cells=[new_markdown_cell("# Title"), code])


def found(nb, size=1000):
    return " | ".join(lesson_checks.problems(nb, size=size))


def html(text):
    return new_output("display_data", {"text/html": text, "text/plain": "a picture"})


def widget(name, **state):
    nb = notebook(new_output("display_data", {VIEW: {"model_id": "a" * 32}}))
    nb.metadata["widgets"] = {STATE: {"state": {"a" * 32: {"model_name": name, "state": state}}}}
    return nb


def test_a_good_notebook_has_no_problem():
    assert found(notebook(html(PICTURE), new_output("stream", name="stdout", text="ok"))) == ""
    assert found(widget("HTMLModel", value=PICTURE)) == ""


def test_what_was_meant_for_writers_is_not_left_in_the_text():
    nb = notebook()
    nb.cells.append(new_markdown_cell("The result:\n\n%% look this up"))
    assert "no comment in JupyterLab" in found(nb)
    nb.cells[-1].source = "The result: TODO"
    assert "TODO" in found(nb)


def test_a_result_that_was_measured_again_is_an_old_one():
    from edu_diffusion.zoo import claim

    row = claim("fwd-prior")
    now = new_output("execute_result", {"text/html": row._repr_html_(), "text/plain": "a row"})
    old = new_output("execute_result", {"text/html": row._repr_html_().replace("e-05", "e-04"), "text/plain": "a row"})
    assert lesson_checks.old_results(notebook(now, source='claim("fwd-prior")')) == []
    assert "shows an old result" in lesson_checks.old_results(notebook(old, source='claim("fwd-prior")'))[0]
    assert lesson_checks.old_results(notebook(old, source='print(claim("fwd-prior"))')) == []
    assert "shows an old result" in lesson_checks.old_results(notebook(old, source="families()"))[0]


@pytest.mark.parametrize(
    "nb, words",
    [
        (notebook(execution_count=None), "top to bottom"),
        (notebook(execution_count=2), "top to bottom"),
        (notebook(metadata={"tags": ["nbval-skip"]}), "both tags"),
        (notebook(new_output("error", ename="ValueError", evalue="no")), "ValueError"),
        (notebook(new_output("stream", name="stderr", text="a warning")), "stderr"),
        (notebook(new_output("display_data", {"image/png": "AAAA"})), "bare image/png"),
        (notebook(new_output("display_data", {"image/svg+xml": "<svg/>"})), "bare image/svg+xml"),
        (notebook(html('<img src="x">')), "no alt text"),
        (notebook(html('<img src="x" alt="">')), "no alt text"),
        (notebook(html('<img src="x" alt="  ">')), "no alt text"),
        (notebook(html(PICTURE + '<img src="y">')), "no alt text"),
        (notebook(new_output("stream", name="stdout", text="/" + "home/someone/x.py")), "path of a machine"),
        (notebook(new_output("execute_result", {"text/plain": "<A at 0x7f00aa00bb00>"})), "address in memory"),
        (widget("HTMLModel", value='<img src="x">'), "widget's picture has no alt text"),
        (widget("ImageModel", value=""), "widgets.Image"),
        (notebook(new_output("display_data", {VIEW: {"model_id": "a" * 32}})), "no saved widget state"),
        (new_notebook(cells=[new_markdown_cell("# Title")]), "no code cell"),
        (notebook(source="x = " + "1" * 90), "at most 88 fit"),
    ],
)
def test_each_fault_is_found(nb, words):
    assert words in found(nb)


def test_an_error_that_is_meant_is_none():
    error = new_output("error", ename="ValueError", evalue="no")
    assert found(notebook(error, metadata={"tags": ["raises-exception"]})) == ""


def test_a_large_notebook_is_found():
    assert "MB" in found(notebook(), size=3 * 2**20)


def test_text_and_notebook_must_agree(tmp_path):
    (tmp_path / "sources").mkdir()
    path, text = tmp_path / "01_try.ipynb", tmp_path / "sources/01_try.md"
    nbformat.write(notebook(), path)
    assert "is missing" in str(lesson_checks.file_problems(path))
    jupytext.write(notebook(), text, fmt="md:myst")
    assert lesson_checks.file_problems(path) == []
    text.write_text(text.read_text().replace("x = 1", "x = 2"))
    assert "differs" in str(lesson_checks.file_problems(path))


def test_cleaning_makes_widget_ids_the_same_at_every_build():
    nb = widget("HTMLModel", value=PICTURE)
    first = lesson.clean(nb, "01_try")
    second = lesson.clean(nbformat.from_dict(dict(first)), "01_try")
    (model,) = first.metadata["widgets"][STATE]["state"]
    assert model != "a" * 32 and first.cells[1].outputs[0].data[VIEW]["model_id"] == model
    assert first == second
