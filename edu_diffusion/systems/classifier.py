"""The Fashion-MNIST classifier: the eyes with which the course's metrics compare pictures.

It is the zoo's `fashion-classifier`. Fréchet distances, precision and recall are measured between its 128 features,
as papers measure them between those of an Inception network.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.types import Batch, Rng


class Classifier(nn.Module):
    """Three convolutions, each followed by a halving of the picture, then two linear layers.

    GroupNorm treats each picture by itself, so the network answers the same in training and evaluation mode, and in
    any batch: what a metric says of a picture must not depend on the pictures measured along with it.
    """

    def __init__(self, classes: int = 10, width: int = 32, features: int = 128):
        super().__init__()
        self.body = nn.Sequential(_block(1, width), _block(width, 2 * width), _block(2 * width, 4 * width))
        self.to_features = nn.Linear(4 * width * 3 * 3, features)
        self.to_logits = nn.Linear(features, classes)

    def features(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n f"]:
        """What the last layer decides from, for pictures in [-1, 1]: never negative, and 0 for most of them.

        Raises: ValueError for pictures of another shape.
        """
        if x.shape[1:] != (1, 28, 28):
            raise ValueError(f"the classifier reads pictures of shape (n, 1, 28, 28), got {tuple(x.shape)}")
        return F.relu(self.to_features(self.body(x).flatten(1)))

    def forward(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        """The logits of the classes for pictures in [-1, 1]; softmax makes them probabilities."""
        return self.to_logits(self.features(x))


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    # Halving first leaves a quarter of the pixels to normalise.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.GroupNorm(channels_out // 8, channels_out),
        nn.ReLU(),
    )


@dataclass
class ClassifierRecipe:
    """How it is trained: cross-entropy with the right class, on pictures some of which are mirrored by `Batches`."""

    net: Classifier = field(default_factory=Classifier)

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: name the class. Measures the accuracy on the batch as well.

        Raises: ValueError when the batch has no labels.
        """
        if batch.y is None:
            raise ValueError("a classifier learns from labels, but this batch has none: give Batches data with y")
        logits = self.modules["net"](batch.x)
        yield "net", F.cross_entropy(logits, batch.y), {"accuracy": (logits.argmax(1) == batch.y).float().mean()}

    def finish(self) -> None:
        """What is left to do after training: give the features their unit, by 10,000 training pictures."""
        standardise(self.net, fashion("train")[slice(10_000)].x)


@torch.no_grad()
def accuracy(net: nn.Module, data: LabelledImages, batch: int = 500) -> float:
    """The share of pictures, 0..1, whose most likely class is the right one."""
    device = next(net.parameters()).device
    parts = (data[slice(start, start + batch)].to(device) for start in range(0, len(data), batch))
    right = sum((net(part.x).argmax(1) == part.y).sum().item() for part in parts)
    return right / len(data)


@torch.no_grad()
def standardise(net: Classifier, images: Float[Tensor, "n 1 28 28"]) -> None:
    """Give the features a unit: their variance over `images` becomes 1 on average. No prediction changes.

    Training leaves their scale to chance, and a Fréchet distance grows with its square. Done once, after training,
    this makes distances comparable between classifiers trained with other seeds. It works because a ReLU passes a
    positive factor through: what `to_features` is divided by, `to_logits` is multiplied by.
    """
    device = next(net.parameters()).device
    scale = torch.cat([net.features(part.to(device)) for part in images.split(500)]).var(dim=0).mean().sqrt()
    for parameter in net.to_features.parameters():
        parameter.div_(scale)
    net.to_logits.weight.mul_(scale)
