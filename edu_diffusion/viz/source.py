"""The package's own source, shown in a lesson."""

import ast
import inspect
import textwrap


class Source:
    """The source of a function or class; shows highlighted, in the colours of the page."""

    def __init__(self, name: str, where: str, code: str):
        self.name, self.where, self.code = name, where, code

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/markdown": f"`{self.where}`\n\n```python\n{self.code}\n```", "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Source of {self.name}, {self.where}"


def source(thing: object, *, docstring: bool = True) -> Source:
    """The source of a function, method or class of the package, as the last line of a cell.

    `docstring=False` leaves the docstrings out, where the lesson has just said the same.

    Raises: TypeError if Python has no source for it (built-in functions, values).
    """
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        code = textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (TypeError, OSError):
        raise TypeError(f"source needs a function, method or class written in Python, got {thing!r}") from None
    where = f"{thing.__module__.replace('.', '/')}.py"
    return Source(thing.__qualname__, where, code if docstring else _without_docstrings(code))


def _without_docstrings(code: str) -> str:
    lines = code.splitlines()
    drop = set()
    for node in ast.walk(ast.parse(code)):
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
            and len(node.body) > 1
        ):
            first = node.body[0]
            drop.update(range(first.lineno - 1, first.end_lineno))
            # In a class, the blank line after its docstring goes too.
            if isinstance(node, ast.ClassDef) and not lines[first.end_lineno].strip():
                drop.add(first.end_lineno)
    return "\n".join(line for i, line in enumerate(lines) if i not in drop)
