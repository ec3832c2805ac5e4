"""The zoo, the ledger of claims and the benchmarks as Markdown, from the JSON that the project's own commands write."""

from edu_diffusion.zoo.claims.core import Row
from edu_diffusion.zoo.claims.tables import number_tables


def words(key: str) -> str:
    """`weight_bytes` as a person says it."""
    return key.replace("_", " ")


def shown(value: object) -> str:
    """One value in a table's cell, floats to four significant digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {shown(v)}" for key, v in value.items() if v is not None)
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(rows: list[dict], columns: list[str] | None = None) -> str:
    """Rows of values as a Markdown table: `columns`, or every key that occurs; a column with nothing in it is left out.

    A column that holds only numbers is set flush right.
    """
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    columns = [key for key in columns if any(row.get(key) not in (None, "") for row in rows)]
    right = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in columns]
    lines = [[words(column) for column in columns], ["---:" if is_number else "---" for is_number in right]]
    lines += [[shown(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def facts(pairs: dict[str, str]) -> str:
    """Short facts, one below the other: the name bold, Markdown after it."""
    return "\n".join(f"- **{name}:** {text}" for name, text in pairs.items() if text)


def with_spread(row: dict) -> str:
    """A value with its spread over seeds and its unit."""
    spread = f" ± {row['spread']:.2g}" if row.get("spread") is not None else ""
    return f"{shown(row['value'])}{spread} {row.get('unit', '')}".strip()


def zoo_page(entries: list[dict]) -> str:
    """All entries in one table, then a section for each: how it was trained, and what was measured."""
    if not entries:
        return "The zoo has no entry yet."
    overview = [
        {
            "model": f"[{entry['name']}](#{entry['name']})",
            "system": entry["system"],
            "parameters": entry["parameters"],
            "minutes of training": entry["minutes"],
        }
        | {result["name"]: result["value"] for key, result in entry["results"].items() if key in ("fd", "accuracy")}
        for entry in entries
    ]
    return "\n\n".join([table(overview), *map(zoo_section, entries)])


def zoo_section(entry: dict) -> str:
    """One entry: its card as a list, its results as a table."""
    card = {
        "Training": f"{entry['images']:,} pictures in {entry['steps']:,} steps, {shown(entry['minutes'])} minutes on "
        f"{entry['machine']}; seed {entry['seed']}",
        "Recipe": shown(entry["recipe"]),
        "Size": f"{entry['parameters']:,} parameters, {entry['weight_bytes']:,} bytes",
        "Made with": shown(entry["versions"]),
        "Checksums": f"data `{entry['data_checksum']}`, weights `{entry['weight_sha256'][:12]}`",
        "Remade by": f"`python -m edu_diffusion train {entry['name']}`, then `evaluate {entry['name']}`",
    }
    rows = [
        {
            "result": result["name"],
            "value": with_spread(result),
            "real data": result.get("floor"),
            "by guessing": result.get("guess"),
            "samples": result["samples"],
            "seed": result["seed"],
        }
        for result in entry["results"].values()
    ]
    measured = table(rows) if rows else "Not measured yet."
    return f"({entry['name']})=\n## {entry['name']}\n\n{entry['about'].capitalize()}.\n\n{facts(card)}\n\n{measured}"


def claims_page(claims: list[dict], lessons: dict[str, str]) -> str:
    """All verdicts in one table, then a section for each claim. `lessons` maps a lesson's number to its page."""
    if not claims:
        return "No claim has been measured yet."
    overview = [
        {
            "claim": f"[{claim['id']}](#claim-{claim['id']})",
            "lesson": link(claim["lesson"], lessons),
            "verdict": claim["verdict"],
            "what was compared": claim["what"].split(" (each arm:")[0],
        }
        for claim in claims
    ]
    return "\n\n".join([table(overview), *(claim_section(claim, lessons) for claim in claims)])


def claim_section(claim: dict, lessons: dict[str, str]) -> str:
    """One claim: what the paper says, the verdict and why, the numbers, and the command that remakes them."""
    texts = {
        "Compared": shown(claim["what"]),
        "Paper": shown(claim["paper"]),
        "Here": f"**{claim['verdict']}**: {shown(claim['why'])}",
        "Remade by": f"`{claim['command']}` ({shown(claim['minutes'])} minutes on {claim['machine']})",
        "Lesson": link(claim["lesson"], lessons),
    }
    row = Row.from_json(claim)
    measured = f"{number_tables(row.numbers)}<p>({row.seeds})</p>"
    return f"(claim-{claim['id']})=\n## {claim['id']}\n\n{facts(texts)}\n\n{measured}"


def link(lesson: str, lessons: dict[str, str]) -> str:
    """A lesson's number, as a link where the lesson is written."""
    return f"[{lesson}]({lessons[lesson]})" if lesson in lessons else lesson


FAMILY_HEADS = {
    "family": "family",
    "fd": "FD",
    "precision": "precision",
    "recall": "recall",
    "class_entropy": "class entropy (bits)",
    "nearest": "nearest training picture (RMS)",
    "parameters": "parameters",
    "compute": "training (petaFLOP)",
    "minutes": "training (minutes)",
    "seconds": "seconds a picture",
    "samples": "samples",
}


def families_page(found: dict) -> str:
    """All families in one table, real pictures first, and where their times were counted."""
    scaled = [row | {"compute": row["compute"] and row["compute"] / 1e15} for row in found["rows"]]
    rows = table([{head: row[key] for key, head in FAMILY_HEADS.items()} for row in scaled])
    return "\n\n".join([rows, *found["notes"]])


def speed_page(records: list[dict]) -> str:
    """What each benchmark measured, beside what was aimed at, and on what machine."""
    return "\n\n".join(map(speed_section, records)) or "Nothing has been measured yet."


def speed_section(record: dict) -> str:
    """One benchmark: its numbers as a table, and the facts that a reader of them needs."""
    around = record["environment"]
    texts = {
        "Machine": f"{around['machine']}, {around['cores']} cores, {around['threads']} used"
        + (", bf16 matrix units" if around["bf16_units"] else ", no bf16 matrix units"),
        "Versions": f"torch {around['torch']}, diffusers {around['diffusers']}, Python {around['python']}",
        "Date": around["date"],
        "Remark": shown(around["note"]),
        "Remade by": f"`python benchmarks/{record['name']}.py`",
    }
    return f"## {words(record['name']).capitalize()}\n\n{table(record['summary'])}\n\n{facts(texts)}"
