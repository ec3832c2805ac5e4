"""Trained models, their cards and measured results, and the ledger of claims.

ddpm = load("ddpm-fashion")
pictures = generate(ddpm.denoiser, (16, 1, 28, 28), steps=50, rule=ddim())
card("ddpm-fashion").results["fd"]
"""

from edu_diffusion.zoo.card import Card
from edu_diffusion.zoo.chain import unclip
from edu_diffusion.zoo.claims import claim, ledger
from edu_diffusion.zoo.entries import ENTRIES, find
from edu_diffusion.zoo.entry import Entry, Plan
from edu_diffusion.zoo.eyes import fashion_classifier
from edu_diffusion.zoo.families import families
from edu_diffusion.zoo.loading import card, load

__all__ = [
    "ENTRIES",
    "Card",
    "Entry",
    "Plan",
    "card",
    "claim",
    "families",
    "fashion_classifier",
    "find",
    "ledger",
    "load",
    "unclip",
]
