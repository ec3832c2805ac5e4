"""Rewording a lesson without running it: its words may change, and the alt texts that its outputs repeat; no code."""

import ast
import html
import json
from collections.abc import Callable

import nbformat

# How a string of a cell may stand in the outputs.
FORMS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
)


def reworded(executed: nbformat.NotebookNode, fresh: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The fresh notebook with the outputs of the executed one, in which changed sentences are exchanged.

    A sentence is a string of several words, and the outputs must repeat it: anything else may be more than words.

    Raises: ValueError if more than sentences differ.
    """
    new = [cell for cell in fresh.cells if cell.cell_type == "code"]
    old = [cell for cell in executed.cells if cell.cell_type == "code"]
    if len(old) != len(new):
        raise ValueError("a code cell was added or removed")
    changes = [change for pair in zip(old, new, strict=True) for change in _changes(*pair)]
    kept = {"outputs": [cell.outputs for cell in old], "metadata": executed.metadata}
    text = json.dumps(kept, ensure_ascii=False)
    for before, after in changes:
        text = _exchanged(text, before, after)
    kept = json.loads(text)
    for cell, outputs, was in zip(new, kept["outputs"], old, strict=True):
        cell.outputs, cell.execution_count = nbformat.from_dict(outputs), was.execution_count
    return nbformat.from_dict(executed | {"metadata": kept["metadata"], "cells": fresh.cells})


def _changes(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """The strings that differ between two cells of the same code."""
    if old.metadata != new.metadata:
        raise ValueError("a cell's tags were changed")
    if old.source == new.source:
        return []
    trees = [ast.parse(cell.source) for cell in (old, new)]
    texts = [[node.value for node in _strings(tree)] for tree in trees]
    if len({_skeleton(tree) for tree in trees}) > 1:
        raise ValueError("code was changed")
    return [(before, after) for before, after in zip(*texts, strict=True) if before != after]


def _exchanged(text: str, before: str, after: str) -> str:
    """JSON text with one sentence in place of another, in every form in which it stands there."""
    found = {json.dumps(form(before), ensure_ascii=False)[1:-1]: form for form in FORMS}
    found = {old: form for old, form in found.items() if old in text}
    if len(before.split()) < 3 or not found:
        raise ValueError(f"the string {before!r} was changed, and the outputs do not repeat it as a sentence")
    for old, form in found.items():
        text = text.replace(old, json.dumps(form(after), ensure_ascii=False)[1:-1])
    return text


def _strings(tree: ast.AST) -> list[ast.Constant]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _skeleton(tree: ast.AST) -> str:
    """The code without the text of its strings. Changes the tree."""
    for node in _strings(tree):
        node.value = ""
    return ast.dump(tree)
