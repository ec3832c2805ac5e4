"""Every claim of the course, and the ledger of what was measured."""

import difflib
from pathlib import Path

from edu_diffusion.zoo.claims import (
    adm,
    autoencoder,
    clip,
    ddpm,
    decoder,
    edits,
    families,
    forward,
    gan,
    glide,
    guidance,
    improved,
    mae,
    prior,
    reverse,
    samples,
    sampling,
    telling,
    unet,
    vae,
    vqvae,
)
from edu_diffusion.zoo.claims.core import (
    Arms,
    Claim,
    Finding,
    Number,
    Pending,
    Row,
    measure,
    over_seeds,
    read_row,
    row_path,
)
from edu_diffusion.zoo.store import HERE

LESSONS = (
    *(gan, autoencoder, mae, vae, vqvae),
    *(forward, reverse, unet, ddpm, samples, improved, sampling, adm, families, guidance),
    *(clip, telling, glide, prior, decoder, edits),
)
CLAIMS: dict[str, Claim] = {claim.id: claim for lesson in LESSONS for claim in lesson.CLAIMS}


def find_claim(name: str) -> Claim:
    """The claim of this id.

    Raises: ValueError, naming the nearest ids, if there is none.
    """
    if name not in CLAIMS:
        near = difflib.get_close_matches(name, CLAIMS, n=3) or sorted(CLAIMS)
        raise ValueError(f"no claim {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return CLAIMS[name]


def claim(name: str, folder: Path = HERE) -> Row | Pending:
    """The measured row of a claim; or, if nobody has measured it yet, one that says so.

    Raises: ValueError for an unknown id or a damaged row.
    """
    asked = find_claim(name)
    if not row_path(name, folder).exists():
        return Pending(asked.id, asked.lesson, asked.what, asked.paper)
    return read_row(asked.id, folder)


def pending(folder: Path = HERE) -> list[Pending]:
    """The claims that have not been measured, in the order of the lessons."""
    return [row for name in CLAIMS if isinstance(row := claim(name, folder), Pending)]


def ledger(folder: Path = HERE) -> list[Row]:
    """Every row that has been measured, in the order of the lessons."""
    return [read_row(name, folder) for name in CLAIMS if row_path(name, folder).exists()]


__all__ = [
    "CLAIMS",
    "Arms",
    "Claim",
    "Finding",
    "Number",
    "Pending",
    "Row",
    "claim",
    "find_claim",
    "ledger",
    "measure",
    "over_seeds",
    "pending",
    "read_row",
]
