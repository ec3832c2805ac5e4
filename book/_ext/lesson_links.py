"""What a lesson writes for JupyterLab and for the book alike, made right for the book.

In JupyterLab `[beta](../book/glossary.md#beta)` opens the glossary; here it becomes a glossary reference, so a term
that is missing there is an error of the build. Display formulas go to MathJax as they are written: Sphinx would wrap
formulas of several lines in an environment in which `\\tag` is not allowed.
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = Path(__file__).resolve().parents[1] / "glossary.md"
TERM = re.compile(r"\[([^\]]+)\]\(\.\./book/glossary\.md#([^)\s]+)\)")


def slug(term: str) -> str:
    """A term as its anchor: small letters, hyphens for everything else."""
    return re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def terms(glossary: str) -> dict[str, str]:
    """Anchor -> term, for every term of the glossary's text: a line that is followed by an indented one."""
    return {slug(term): term for term in re.findall(r"^(\S.*)\n(?=\s{2,}\S)", glossary, re.MULTILINE)}


def book_links(markdown: str, known: dict[str, str]) -> str:
    """Markdown of a lesson with its links to the glossary and to other pages of the book rewritten."""

    def reference(match: re.Match) -> str:
        text, anchor = " ".join(match[1].split()), match[2]
        if anchor not in known:
            raise ValueError(f"a lesson links to the glossary term {anchor!r}, which book/glossary.md does not have")
        return f"{{term}}`{text} <{known[anchor]}>`"

    return TERM.sub(reference, markdown).replace("](../book/", "](../")


def read_lesson(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite the links in a notebook's Markdown cells before it is parsed."""
    if not docname.startswith("notebooks/"):
        return
    notebook, known = json.loads(source[0]), terms(GLOSSARY.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = book_links("".join(cell["source"]), known)
    source[0] = json.dumps(notebook)


def keep_formulas(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Hand every unnumbered display formula to MathJax untouched."""
    for node in list(doctree.findall(nodes.math_block)):
        if app.builder.format == "html" and not node.get("number") and not node.get("nowrap"):
            formula = html.escape(node.astext(), quote=False)
            div = f'<div class="math notranslate nohighlight">\\[{formula}\\]</div>'
            node.replace_self(nodes.raw("", div, format="html"))


def setup(app: Sphinx) -> dict:
    app.connect("source-read", read_lesson)
    app.connect("doctree-resolved", keep_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
