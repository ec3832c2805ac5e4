"""What may be reworded without running a lesson, and what may not."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lesson_words import reworded

CODE = 'show(x, "a shirt\'s left sleeve")\nload("a")'


def notebook(source=CODE, words="# Title", **cell):
    return new_notebook(cells=[new_markdown_cell(words), new_code_cell(source, **cell)])


@pytest.fixture
def executed():
    picture = new_output("display_data", {"text/html": '<img alt="a shirt&#x27;s left sleeve">', "text/plain": "a"})
    made = notebook(outputs=[picture], execution_count=1)
    made.metadata["widgets"] = {"state": {"html": '<img alt="a shirt&#x27;s left sleeve">'}}
    return made


def test_words_are_taken_over_and_outputs_stay(executed):
    found = reworded(executed, notebook(words="# Another"))
    assert found.cells[0].source == "# Another"
    assert found.cells[1].outputs == executed.cells[1].outputs and found.cells[1].execution_count == 1


def test_an_alt_text_is_exchanged_wherever_it_stands(executed):
    found = reworded(executed, notebook(CODE.replace("a shirt's left sleeve", "a blue boot's <left> sole")))
    wanted = '<img alt="a blue boot&#x27;s &lt;left&gt; sole">'
    assert found.cells[1].outputs[0].data["text/html"] == found.metadata.widgets["state"]["html"] == wanted
    assert found.cells[1].outputs[0].data["text/plain"] == "a"


@pytest.mark.parametrize(
    "changed, why",
    [
        ({"source": CODE.replace("show", "draw")}, "code was changed"),
        ({"source": CODE.replace('"a")', '"b")')}, "'a' was changed"),
        ({"source": CODE + "\n'one more sentence here'"}, "code was changed"),
        ({"metadata": {"tags": ["skip-execution"]}}, "tags"),
    ],
)
def test_more_than_words_is_refused(executed, changed, why):
    with pytest.raises(ValueError, match=why):
        reworded(executed, notebook(**changed))


def test_a_sentence_that_no_output_repeats_is_refused(executed):
    source = CODE.replace('"a"', '"some words of mine"')
    executed.cells[1].source = source
    with pytest.raises(ValueError, match="do not repeat"):
        reworded(executed, notebook(source.replace("mine", "yours")))


def test_another_number_of_cells_is_refused(executed):
    fresh = notebook()
    fresh.cells.append(new_code_cell("x = 1"))
    with pytest.raises(ValueError, match="added or removed"):
        reworded(executed, fresh)


def test_a_sentence_that_begins_another_leaves_that_one_whole():
    code = 'show("a red star here")\nshow("a red star here and a ring")'
    shown = [new_output("stream", text=text) for text in ("a red star here", "a red star here and a ring")]
    found = reworded(notebook(code, outputs=shown), notebook(code.replace("a red star here", "two red stars there", 1)))
    assert found.cells[1].outputs[0].text == "two red stars there"
    both = code.replace("a red star here and a ring", "all is blue").replace("a red star here", "two red stars there")
    found = reworded(notebook(code, outputs=shown), notebook(both))
    assert [output.text for output in found.cells[1].outputs] == ["two red stars there", "all is blue"]
