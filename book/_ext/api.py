"""The reference of a room: each public name with its signature and docstring, as MyST Markdown.

The docstrings are plain prose with a little Markdown, so they are read as Markdown and not as reStructuredText.
"""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

LEAD = re.compile(r"^(Raises|Source|Sources):", re.MULTILINE)


def room(name: str) -> str:
    """Every public name of package `name`, grouped by the file that defines it, in the order of the source."""
    package = importlib.import_module(name)
    groups: dict[str, dict[str, object]] = {}
    for module in [package] if hasattr(package, "__all__") else [package, *files(package)]:
        for key in public(module):
            thing = getattr(module, key)
            groups.setdefault(home(thing, module.__name__), {})[key] = thing
    parts = [docstring(package)]
    for where in sorted(groups, key=lambda where: reading_order(where, package)):
        if where != name:
            parts.append(f"## {where.removeprefix(name + '.')}\n\n{docstring(importlib.import_module(where))}")
        parts.append(f"```{{py:currentmodule}} {name if hasattr(package, '__all__') else where}\n```")
        parts += [entry(key, thing) for key, thing in sorted(groups[where].items(), key=lambda item: line_of(item[1]))]
    return "\n\n".join(parts)


def reading_order(where: str, package: ModuleType) -> int:
    """A file's place: where the package's docstring last names it; files that are not named come last."""
    found = (package.__doc__ or "").rfind(where.split(".")[-1])
    return found if found >= 0 else 10**6


def files(package: ModuleType) -> list[ModuleType]:
    """The files of a package, imported; none for a single module."""
    names = sorted(info.name for info in pkgutil.iter_modules(getattr(package, "__path__", [])))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def public(module: ModuleType) -> list[str]:
    """The names a module offers: its `__all__`, or the functions and classes it defines itself."""
    own = [
        k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__ and not k.startswith("_")
    ]
    return list(getattr(module, "__all__", own))


def home(thing: object, module: str) -> str:
    """The module in which a name is defined, or `module` itself for a plain value."""
    where = getattr(thing, "__module__", None) or ""
    return where if where.startswith(module) else module


def line_of(thing: object) -> int:
    """Where in its file a function or class starts; values come last."""
    try:
        return inspect.getsourcelines(thing)[1]
    except (TypeError, OSError):
        return 10**6


def docstring(thing: object) -> str:
    """A docstring as Markdown: "Raises:" and "Source:" open paragraphs of their own, comparison signs stay text."""
    text = inspect.getdoc(thing) or ""
    outside_code = re.split(r"(`[^`]*`)", LEAD.sub(r"\n**\1.**", text))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in outside_code)


def signature(thing: object) -> str:
    """`(x_t: Float[Tensor, 'b ...'], t: int) -> Tensor`: a signature without the names of modules.

    `torch.device` keeps its name: the book would take a mere `device` for one of our own properties of that name.
    """
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "(...)"
    text = re.sub(r"<function (\w+)[^>]*>|<[\w.]*?(\w+) object[^>]*>", r"\1\2", text)
    text = re.sub(r"\b(?!torch\.device\b)(?:[a-zA-Z_]\w*\.)+(?=[A-Za-z_])", "", text)
    return re.sub(r"(?<=[:>|] )'(\w+)'", r"\1", text)


def block(kind: str, head: str, body: str, ticks: int) -> str:
    fence = "`" * ticks
    return f"{fence}{{py:{kind}}} {head}\n\n{body}\n{fence}"


def entry(key: str, thing: object) -> str:
    """One name as a MyST directive of the Python domain, a class with its public methods."""
    if inspect.isclass(thing):
        return block("class", key + signature(thing).removesuffix(" -> None"), class_body(thing), 5)
    if callable(thing) and hasattr(thing, "__code__"):
        return block("function", key + signature(thing), docstring(thing), 5)
    return block("data", key, docstring(thing) if type(thing).__module__.startswith("edu_diffusion") else "", 5)


def class_body(cls: type) -> str:
    """A class's docstring and, below it, its public methods and properties that have a docstring."""
    parts = [docstring(cls)]
    for key, member in vars(cls).items():
        if key.startswith("_") and key != "__call__":
            continue
        if isinstance(member, property) and member.__doc__:
            parts.append(block("property", key, docstring(member), 4))
        elif inspect.isfunction(member) and member.__doc__:
            parts.append(block("method", key + re.sub(r"^\(self(, )?", "(", signature(member)), docstring(member), 4))
    return "\n\n".join(parts)
