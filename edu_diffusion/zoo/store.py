"""Where weights and cards lie, and how they are read and written. Weights are safetensors: reading runs no code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edu_diffusion.training import write_atomically
from edu_diffusion.zoo.card import Card

HERE = Path(__file__).parent
LARGEST = 8 * 2**20  # bytes a weight file may have


def weights_path(name: str, folder: Path = HERE) -> Path:
    """Where an entry's weights lie."""
    return folder / "weights" / f"{name}.safetensors"


def card_path(name: str, folder: Path = HERE) -> Path:
    """Where an entry's card lies."""
    return folder / "cards" / f"{name}.json"


def read_card(name: str, folder: Path = HERE) -> Card:
    """An entry's card.

    Raises: FileNotFoundError if the entry has not been trained; ValueError if its card is damaged.
    """
    path = card_path(name, folder)
    if not path.exists():
        raise FileNotFoundError(f"{name!r} has no card yet: run `python -m edu_diffusion train {name}`")
    try:
        return Card.from_json(json.loads(path.read_text()))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the card {path.name} is damaged ({error}): restore it, or train {name} again") from error


def write_weights(name: str, modules: Mapping[str, nn.Module], folder: Path = HERE) -> tuple[int, str]:
    """Write the modules' weights in half precision. Returns the file's size in bytes and its SHA-256.

    Raises: ValueError if the file would be larger than the zoo allows; OSError if it could not be written.
    """
    tensors = {
        f"{part}.{key}": _halved(value)
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    data = safetensors.torch.save(tensors)
    if len(data) > LARGEST:
        raise ValueError(
            f"the weights of {name} take {len(data):,} bytes; the zoo allows {LARGEST:,}: make the network smaller"
        )
    write_atomically(weights_path(name, folder), lambda file: file.write(data))
    return len(data), hashlib.sha256(data).hexdigest()


def read_weights(card: Card, modules: Mapping[str, nn.Module], folder: Path = HERE) -> None:
    """Fill the modules with an entry's weights.

    Raises: FileNotFoundError if there are none; ValueError if the file is damaged, or holds another network's weights.
    """
    path = weights_path(card.name, folder)
    again = f"restore it, or run `python -m edu_diffusion train {card.name}`"
    if not path.exists():
        raise FileNotFoundError(f"the weights {path.name} are missing: {again}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.weight_sha256:
        raise ValueError(f"the weights {path.name} are damaged (their SHA-256 is not the card's): {again}")
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"the weights {path.name} are no safetensors file ({error}): {again}") from error
    for part, module in modules.items():
        own = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"the weights {path.name} do not fit this network: train {card.name} again") from error


def _halved(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.dtype == torch.float32 else value
