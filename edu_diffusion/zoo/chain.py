"""From the zoo to unCLIP: its five models, each loaded by its name, as one system."""

from functools import cache
from pathlib import Path

from edu_diffusion.systems.decoder import Decoder
from edu_diffusion.systems.unclip import UnCLIP
from edu_diffusion.zoo.loading import card, load
from edu_diffusion.zoo.store import HERE

CLIP, PRIOR, DECODER, UP1, UP2 = "clip-scenes", "prior-diffusion", "decoder-16", "up-32", "up-64"
PARTS = (CLIP, PRIOR, DECODER, UP1, UP2)


def unclip(
    device: str | None = None, folder: Path = HERE, *, prior: str = PRIOR, decoder: Decoder | None = None
) -> UnCLIP:
    """The whole system. `prior` may be "prior-ar"; `decoder`, if given, takes the place of the zoo's.

    Raises: FileNotFoundError, saying which part has not been trained; ValueError if one is damaged, or if they were not
    trained with one and the same CLIP.
    """
    parts = {name: load(name, device, folder) for name in (CLIP, prior, UP1, UP2)}
    return UnCLIP(parts[CLIP], parts[prior], decoder or load(DECODER, device, folder), parts[UP1], parts[UP2])


@cache
def zoo_unclip() -> UnCLIP:
    """The same, read once: for measurements that come back to it."""
    return unclip()


def digests(*names: str) -> dict[str, str]:
    """The SHA-256 of the weights that the zoo has of these entries now."""
    return {name: card(name).weight_sha256 for name in names}
