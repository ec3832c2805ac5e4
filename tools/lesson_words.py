"""Rewording a lesson without running it: its words may change, and the alt texts that its outputs repeat; no code."""

import ast
import html
from typing import Any

import nbformat


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
    for before, after in sorted(changes, key=lambda change: -len(change[0])):  # one may be the beginning of another
        exchanged = _exchanged(kept, before, after)
        if len(before.split()) < 3 or exchanged == kept:
            raise ValueError(f"the string {before!r} was changed, and the outputs do not repeat it as a sentence")
        kept = exchanged
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


def _exchanged(value: Any, before: str, after: str) -> Any:
    """The same with one sentence in place of another in every text of it; in HTML it stands escaped."""
    if isinstance(value, str):
        written = html.escape if "<" in value else str
        return value.replace(written(before), written(after))
    if isinstance(value, dict):
        return {key: _exchanged(inner, before, after) for key, inner in value.items()}
    if isinstance(value, list):
        return [_exchanged(inner, before, after) for inner in value]
    return value


def _strings(tree: ast.AST) -> list[ast.Constant]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _skeleton(tree: ast.AST) -> str:
    """The code without the text of its strings. Changes the tree."""
    for node in _strings(tree):
        node.value = ""
    return ast.dump(tree)
