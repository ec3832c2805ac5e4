"""Write the README's table of numbers from the zoo's cards and the benchmarks' results.

    python tools/readme_numbers.py            write it       (make numbers)
    python tools/readme_numbers.py --check    fail if it is out of date

No number in the README is typed by hand.
"""

import argparse
import json
import sys

from address import ROOT

START, END = "<!-- numbers: written by tools/readme_numbers.py -->", "<!-- end of numbers -->"
CARDS = ROOT / "edu_diffusion/zoo/cards"
RESULTS = ROOT / "benchmarks/results"


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def models() -> str:
    """A line for each model of the zoo: its first result, beside what real data or guessing score, and what it took.

    A model that was drawn from in more than one way has a line for each.
    """
    heads = ("model", "measured", "real data, or guessing", "samples", "trained in")
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | ---: | ---: | --- |"]
    for path in sorted(CARDS.glob("*.json")):
        card = json.loads(path.read_text())
        first, others = list(card["results"].items())[:1], [one for one in card["results"].items() if "_fd" in one[0]]
        for _, result in first + others:
            beside = result.get("floor", result.get("guess"))
            real = "" if beside is None else short(beside)
            value = f"{result['name']} **{short(result['value'])}**"
            cost = f"{card['minutes']:.0f} minutes, {card['machine']}, seed {card['seed']}"
            lines.append(f"| `{card['name']}` | {value} | {real} | {result['samples']:,} | {cost} |")
    return "\n".join(lines)


def speed() -> str:
    """A line for each number of the benchmarks that something was asked of beforehand."""
    lines = ["| side by side in one run, diffusers' network of equal size | measured | asked |", "| --- | ---: | --- |"]
    machines = set()
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        around = record["environment"]
        machines.add(f"{around['machine']}, {around['threads']} of {around['cores']} cores, torch {around['torch']}")
        lines += [
            f"| {row['measured']} | {short(row['value'])} | {row['aim']} |" for row in record["summary"] if row["aim"]
        ]
    return "\n".join([*lines, "", f"Measured on {'; '.join(sorted(machines))}."])


def in_readme(text: str) -> str:
    """The README with the tables between the two marker lines."""
    if START not in text or END not in text:
        sys.exit(f"README.md: the lines {START!r} and {END!r} are missing; put them where the numbers belong.")
    made = f"{START}\n{models()}\n\n{speed()}\n{END}"
    return text.split(START)[0] + made + text.split(END, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the README is out of date")
    path = ROOT / "README.md"
    old = path.read_text()
    new = in_readme(old)
    if parser.parse_args().check:
        sys.exit(None if new == old else "README.md: the numbers are out of date; run `make numbers`")
    path.write_text(new)


if __name__ == "__main__":
    main()
