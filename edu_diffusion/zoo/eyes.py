"""The classifier whose features the metrics compare pictures by."""

from functools import cache

from edu_diffusion.systems.classifier import Classifier
from edu_diffusion.training import pick_runtime
from edu_diffusion.zoo.store import read_card, read_weights


@cache
def fashion_classifier() -> Classifier:
    """The zoo's classifier, read once: `fashion_classifier().features` is what Frechet distances are measured in.

    Raises: FileNotFoundError or ValueError if its weights are missing or damaged.
    """
    net = Classifier()
    read_weights(read_card("fashion-classifier"), {"net": net})
    return pick_runtime().place(net.eval().requires_grad_(False))
