"""Fast mode: the checks run every lesson with short trainings and few samples."""

import os
from typing import TypeVar

Value = TypeVar("Value")

VARIABLE = "EDU_DIFFUSION_FAST"


def fast() -> bool:
    """Whether fast mode is on: the environment variable `EDU_DIFFUSION_FAST` is 1.

    Raises: ValueError if the variable holds anything but 0, 1 or nothing.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE} must be 0 or 1, got {value!r}")
    return value == "1"


def pick(full: Value, quick: Value) -> Value:
    """`full` for a reader, `quick` in fast mode: `steps = pick(2_000, 20)`."""
    return quick if fast() else full
