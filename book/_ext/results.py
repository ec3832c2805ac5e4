"""The zoo and the ledger of claims as Markdown, from what `python -m edu_diffusion zoo|claims --json` prints."""


def words(key: str) -> str:
    """`weight_bytes` as a person says it."""
    return key.replace("_", " ")


def shown(value: object) -> str:
    """One value in a table's cell."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {shown(v)}" for key, v in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(rows: list[dict]) -> str:
    """Rows of values as a Markdown table, with a column for every key that occurs."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[words(column) for column in columns], ["---"] * len(columns)]
    lines += [[shown(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def result_rows(results: object) -> list[dict]:
    """The results of a zoo entry, a list of rows or a mapping from a name to a row, as rows."""
    if isinstance(results, dict):
        return [{"result": key} | (row if isinstance(row, dict) else {"value": row}) for key, row in results.items()]
    return list(results)


def zoo_page(entries: list[dict]) -> str:
    """A section for each entry: its card, then its measured results."""
    parts = []
    for entry in entries:
        card = {key: value for key, value in entry.items() if key not in ("name", "results")}
        rows = [{"card": words(key), "": value} for key, value in card.items()]
        parts.append(f"## {entry['name']}\n\n{table(rows)}")
        if entry.get("results"):
            parts.append(table(result_rows(entry["results"])))
    return "\n\n".join(parts) or "The zoo has no entry yet."


def claims_page(claims: list[dict]) -> str:
    """A section for each claim: the verdict, what was compared and why, the numbers, the command that remakes them."""
    parts = []
    for claim in claims:
        numbers = {key: value for key, value in claim.items() if isinstance(value, list | dict) and value}
        plain = [{"claim": words(key), "": value} for key, value in claim.items() if key not in numbers and key != "id"]
        parts.append(f"## {claim['id']}\n\n{table(plain)}")
        parts += [
            table(result_rows(value)) if rows_inside(value) else f"{words(key)}: {shown(value)}"
            for key, value in numbers.items()
        ]
    return "\n\n".join(parts) or "No claim has been measured yet."


def rows_inside(value: object) -> bool:
    """Whether a list or mapping holds rows and not single values."""
    inside = value.values() if isinstance(value, dict) else value
    return all(isinstance(row, dict) for row in inside)
