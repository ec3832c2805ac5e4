"""From a name to a trained system, or to its card."""

from pathlib import Path

from edu_diffusion.training import Recipe, pick_runtime
from edu_diffusion.zoo.card import Card
from edu_diffusion.zoo.entries import find
from edu_diffusion.zoo.store import HERE, read_card, read_weights


def load(name: str, device: str | None = None, folder: Path = HERE) -> Recipe:
    """A trained system, ready to use: weights read, in evaluation mode, on the best device there is.

    Raises: ValueError for an unknown name or damaged weights; FileNotFoundError if it has not been trained.
    """
    entry = find(name)
    trained = read_card(name, folder)
    system = entry.build()
    read_weights(trained, system.modules, folder)
    runtime = pick_runtime(device)
    for part, module in system.modules.items():
        system.modules[part] = runtime.wrap(module.eval().requires_grad_(False))
    return system


def card(name: str, folder: Path = HERE) -> Card:
    """An entry's card: recipe, training time, machine, results.

    Raises: ValueError for an unknown name; FileNotFoundError if it has not been trained.
    """
    return read_card(find(name).name, folder)
