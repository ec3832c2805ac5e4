"""Tables round to three digits and print the same everywhere; `source` shows the package's own code."""

import ast
import math

import numpy as np
import pytest
import torch

from edu_diffusion import viz
from edu_diffusion.diffusion import NoiseSchedule, linear, q_sample
from edu_diffusion.viz.tables import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (6.0, "6.00"),
        (99.96, "100"),
        (-123.4, "-123"),
        (12345.6, "12,346"),
        (60000, "60,000"),
        (1.23456e-7, "1.23e-07"),
        (0.0, "0"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
        (True, "yes"),
        ("ddim", "ddim"),
        (np.float32(2.5), "2.50"),
        (torch.tensor(7), "7"),
    ],
)
def test_three_significant_digits(value, text):
    assert number(value) == text


def test_a_table_as_text_and_html():
    table = viz.table([{"rule": "ddim", "FD": 6.1234}, {"rule": "<b>", "FD": 12}], caption="Samplers")
    assert repr(table) == "Samplers\nrule    FD\nddim  6.12\n<b>     12"
    markup = table._repr_html_()
    assert "<caption>Samplers</caption>" in markup and "&lt;b&gt;" in markup and markup.count("<tr>") == 3
    assert markup.count("text-align:right") == 3, "the column of numbers is flush right, with its head"


def test_bad_tables_say_why():
    with pytest.raises(ValueError, match="at least one row"):
        viz.table([])
    with pytest.raises(ValueError, match="need columns"):
        viz.table([[1, 2]])
    with pytest.raises(ValueError, match="needs 2 cells"):
        viz.table([[1, 2], [3]], columns=["a", "b"])


def test_source_of_a_function():
    shown = viz.source(q_sample)
    assert shown.code.startswith("def q_sample(") and '"""' in shown.code
    assert repr(shown) == "Source of q_sample, edu_diffusion/diffusion/process.py"
    assert f"```python\n{shown.code}\n```" in shown._repr_mimebundle_()["text/markdown"]


@pytest.mark.parametrize("thing", [q_sample, NoiseSchedule, NoiseSchedule.log_snr, linear])
def test_source_without_docstrings_is_still_python(thing):
    code = viz.source(thing, docstring=False).code
    nodes = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert nodes and all(ast.get_docstring(node) is None for node in nodes)


def test_source_of_a_value_is_refused():
    with pytest.raises(TypeError, match="written in Python"):
        viz.source(math.sin)
    with pytest.raises(TypeError, match="got 3"):
        viz.source(3)
