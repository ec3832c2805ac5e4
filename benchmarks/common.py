"""What the benchmarks share: the command line, alternating repeats, results as JSON, and a printed table.

Run as a script it does nothing.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from edu_diffusion.training.runtime import cpu_name, has_bf16_units

RESULTS = Path(__file__).parent / "results"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
LEAST = 5  # repeats, for a median that one disturbance cannot move

Seconds = dict[str, list[float]]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs: no measurement")
    options.add_argument("--repeats", type=int, default=7, help=f"rounds, at least {LEAST}; the median counts")
    options.add_argument("--threads", type=int, help="threads of torch; its own choice if not given")
    options.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu counts processor time: for a busy machine, with one thread"
    )
    options.add_argument("--note", default="", help="a remark to keep with the result")
    options.add_argument("--results", type=Path, help="folder for the result; with --quick none is kept without it")
    return options


def parse(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, and set the number of threads."""
    chosen = options.parse_args(arguments)
    if chosen.repeats < LEAST and not chosen.quick:
        options.error(f"--repeats must be at least {LEAST}, got {chosen.repeats}: fewer give no steady median")
    if chosen.quick:
        chosen.repeats = 1
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    return chosen


def alternate(arms: Mapping[str, Callable[[], object]], chosen: argparse.Namespace) -> Seconds:
    """The seconds of each arm in each round. All arms are in every round, so whatever disturbs, disturbs them alike."""
    clock = CLOCKS[chosen.clock]
    seconds: Seconds = {name: [] for name in arms}
    for turn in range(chosen.repeats + 1):
        for name, arm in arms.items():
            start = clock()
            arm()
            if turn > 0:  # the first round warms up
                seconds[name].append(clock() - start)
    return seconds


def times_faster(seconds: Seconds, ours: str, theirs: str) -> float:
    """How many times faster one arm is than another: the median over the rounds of their ratio."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def rate(seconds: Sequence[float], amount: float) -> dict[str, float]:
    """Something a second: the median, and how far the rounds lay apart."""
    each = sorted(amount / value for value in seconds)
    return {"median": statistics.median(each), "lowest": each[0], "highest": each[-1], "rounds": len(each)}


def environment(chosen: argparse.Namespace) -> dict:
    """What a number's reader must know of the machine, and of how busy it was."""
    return {
        "machine": cpu_name(),
        "bf16_units": has_bf16_units(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "clock": chosen.clock,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "date": date.today().isoformat(),
        "quick": chosen.quick,
        "note": chosen.note,
    }


def line(what: str, value: float, aim: str = "", **more: object) -> dict:
    """One row of a benchmark's summary, as the README and the book show it. `aim` is what was asked beforehand."""
    return {"measured": what, "value": value, "aim": aim} | more


def save(name: str, record: dict, chosen: argparse.Namespace) -> None:
    """Write NAME.json."""
    folder = chosen.results or (None if chosen.quick else RESULTS)
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(path)
    print(f"wrote {path}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a heading, numbers with four digits."""
    cells = [list(columns)] + [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
