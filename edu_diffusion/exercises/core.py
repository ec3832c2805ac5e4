"""What an exercise is: a question, a solution, the usual mistakes, and inputs on which they all differ.

A check runs the learner's answer on fixed inputs. If the result is not the solution's, it is compared with what each
known mistake would give: the learner is told which one it was, not only that it is wrong.
"""

import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer: what to tell the learner, and a function (or value) that makes the mistake."""

    message: str
    answer: object


@dataclass(frozen=True)
class Reply:
    """What the learner sees. Shown as text in a terminal and as a coloured line in a notebook."""

    right: bool
    text: str

    def __repr__(self) -> str:
        return f"{'Right' if self.right else 'Not yet'}: {self.text}"

    def _repr_html_(self) -> str:
        colour, verdict = ("#2a7d4f", "Right") if self.right else ("#b5451b", "Not yet")
        return _paragraph(f"<b>{verdict}.</b> {_marked(self.text[:1].upper() + self.text[1:])}", colour)


class Text(str):
    """Words for the learner: a paragraph in a notebook, plain text in a terminal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return _paragraph(_marked(self), "#888")


class Code(str):
    """Python source: highlighted in a notebook, plain text in a terminal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.rstrip()}\n```"


@dataclass(frozen=True, repr=False)
class Exercise:
    """One exercise. `answer` is the solution: a function, or a value where the question has one.

    `inputs()` gives the argument tuples on which functions are compared; they must be such that every mistake shows.
    """

    name: str
    question: str
    clue: str
    answer: object
    mistakes: Sequence[Mistake] = ()
    inputs: Callable[[], Iterable[tuple]] = field(default=lambda: [()])
    tolerance: float = 1e-4

    def check(self, attempt: object) -> Reply:
        """Compare the learner's function or value with the solution and with the usual mistakes."""
        wanted = self._outcome(self.answer)
        try:
            given = self._outcome(attempt)
        except Exception as error:
            line = traceback.format_exception_only(error)[-1].strip()
            return Reply(False, f"your answer raised {line}. Try {self._hint_call()}.")
        if self._same(given, wanted):
            return Reply(True, "it gives what the package gives.")
        for mistake in self.mistakes:
            if self._same(given, self._outcome(mistake.answer)):
                return Reply(False, mistake.message)
        return Reply(False, f"{self._difference(given, wanted)} Try {self._hint_call()}.")

    def __repr__(self) -> str:
        return f"Exercise {self.name}: {self.question}"

    def _repr_html_(self) -> str:
        return _paragraph(f"<b>{self.name}</b>: {_marked(self.question)}", "#888")

    def hint(self) -> Text:
        """A nudge, not the answer."""
        return Text(self.clue)

    def solution(self) -> Code:
        """The answer's source, or the value."""
        return Code(inspect.getsource(self.answer) if callable(self.answer) else repr(self.answer))

    def _outcome(self, answer: object) -> list:
        if not callable(self.answer):
            return [answer]
        if not callable(answer):
            raise TypeError(f"this exercise wants a function, got {type(answer).__name__}")
        return [answer(*arguments) for arguments in self.inputs()]

    def _same(self, given: list, wanted: list) -> bool:
        return all(_close(a, b, self.tolerance) for a, b in zip(given, wanted, strict=True))

    def _difference(self, given: list, wanted: list) -> str:
        for a, b in zip(given, wanted, strict=True):
            if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape != b.shape:
                return f"your result has shape {tuple(a.shape)}, but it should be {tuple(b.shape)}."
            if type(a) is not type(b) and not _numbers(a, b):
                return f"your result is a {type(a).__name__}, but it should be a {type(b).__name__}."
        return "the result has the right form but other values than the solution, and is none of the usual mistakes."

    def _hint_call(self) -> str:
        return f'`exercise("{self.name}").hint()`'


def _paragraph(html: str, colour: str) -> str:
    return f'<p style="border-left:4px solid {colour};padding-left:0.7em">{html}</p>'


def _marked(text: str) -> str:
    """Words as HTML: what stands in backticks as code, a *word* between stars slanted."""
    return re.sub(r"(?<!\S)\*(\w+)\*", r"<em>\1</em>", re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))


def _close(a: object, b: object, tolerance: float) -> bool:
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        # Where one number is wanted, the same number in every place is as good. Two NaN are the same mistake.
        fits = a.shape == b.shape or b.ndim == 0
        return fits and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if _numbers(a, b):
        return abs(float(a) - float(b)) <= tolerance * max(1.0, abs(float(b)))
    return type(a) is type(b) and a == b


def _numbers(a: object, b: object) -> bool:
    return all(
        (isinstance(x, int | float) and not isinstance(x, bool)) or (isinstance(x, Tensor) and x.ndim == 0)
        for x in (a, b)
    )
