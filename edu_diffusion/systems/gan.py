"""GAN: generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661), on one page.

Two networks play against each other. The generator makes a picture of random numbers. The discriminator sees real and
made pictures and says of each, by a logit, whether it is real. Nobody writes down what a good picture is: the
discriminator learns it, and its gradient tells the generator where to go.

The networks are DCGAN's (Radford et al. 2015, arXiv:1511.06434) at the course's size.

    GAN()                            stabilised: non-saturating loss and R1 (Mescheder et al. 2018, arXiv:1801.04406)
    GAN(gamma=0.0)                   plain, as in 2014
    GAN(loss=HINGE, turns=(5, 1))    other rules; five turns of the discriminator to one of the generator
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from edu_diffusion.nets import group_norm
from edu_diffusion.types import Batch, Rng, check_pictures

Logits = Float[Tensor, "b"]
Phase = tuple[str, Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class GanLoss:
    """The rules of a game: what each side wants small, one number a batch, from the discriminator's logits.

    `discriminator(real, fake)` sees the logits of real and of made examples, `generator(fake)` those of made ones.
    """

    name: str
    discriminator: Callable[[Logits, Logits], Float[Tensor, ""]]
    generator: Callable[[Logits], Float[Tensor, ""]]


def cross_entropy(real: Logits, fake: Logits) -> Float[Tensor, ""]:
    """What naming real and made examples costs, in nats. A discriminator that cannot tell them apart pays log 4."""
    # Goodfellow et al. eq. 1, turned round: -V = -E log D(x) - E log(1 - D(G(z))), with D = sigmoid(logit)
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def not_caught(fake: Logits) -> Float[Tensor, ""]:
    """The generator's half of the same game. Where the discriminator is sure its slope is 0, and nothing is learned."""
    # E log(1 - D(G(z)))
    return -F.softplus(fake).mean()


def believed(fake: Logits) -> Float[Tensor, ""]:
    """The same wish put otherwise. Its slope is largest where the discriminator is sure that the example is made."""
    # -E log D(G(z)): Goodfellow et al. section 3
    return F.softplus(-fake).mean()


def margins(real: Logits, fake: Logits) -> Float[Tensor, ""]:
    """Real logits are wanted above 1, the others below -1; what lies beyond counts no more (Lim and Ye 2017)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def raised(fake: Logits) -> Float[Tensor, ""]:
    """Higher logits, wherever they are."""
    return -fake.mean()


MINIMAX = GanLoss("minimax", cross_entropy, not_caught)
NON_SATURATING = GanLoss("non-saturating", cross_entropy, believed)
HINGE = GanLoss("hinge", margins, raised)  # Geometric GAN, arXiv:1705.02894


class Generator(nn.Module):
    """From `latent` normal numbers to a picture of 28x28 pixels in [-1, 1], by way of 7x7 and 14x14 places.

    `norm` makes the norm for so many channels. GroupNorm treats each picture by itself. `nn.BatchNorm2d` is DCGAN's:
    with it, put the network in evaluation mode to sample, and sample from the network itself. The statistics that it
    keeps are those of the present weights; an `Ema` copies them, and they do not belong to its averaged weights.
    """

    def __init__(
        self,
        latent: int = 64,
        widths: tuple[int, int] = (96, 64),
        channels: int = 1,
        norm: Callable[[int], nn.Module] = group_norm,
    ):
        super().__init__()
        wide, narrow = widths
        self.latent, self.wide = latent, wide
        self.enter = nn.Linear(latent, wide * 7 * 7)
        self.layers = nn.Sequential(
            *(norm(wide), nn.ReLU(), nn.Conv2d(wide, wide, 3, padding=1)),
            *(norm(wide), nn.ReLU(), nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)),
            *(norm(narrow), nn.ReLU(), nn.Conv2d(narrow, narrow, 3, padding=1)),
            *(norm(narrow), nn.ReLU(), nn.ConvTranspose2d(narrow, channels, 4, stride=2, padding=1)),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c 28 28"]:
        """One picture for each row of numbers."""
        return self.layers(self.enter(z).view(len(z), self.wide, 7, 7))


class Discriminator(nn.Module):
    """From a picture of 28x28 pixels to a logit: above 0 it takes the picture for real.

    No norm: R1 asks how the logit of one picture depends on that picture, and its neighbours must not come into it.
    """

    def __init__(self, widths: tuple[int, int, int] = (56, 112, 224), channels: int = 1):
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in pairwise((channels, *widths)):  # 28 pixels become 14, 7 and 3
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Linear(widths[-1] * 3 * 3, 1)

    def forward(self, x: Float[Tensor, "b c 28 28"]) -> Logits:
        """One logit for each picture."""
        return self.leave(self.layers(x).flatten(1)).squeeze(1)


class PointGenerator(nn.Module):
    """From `latent` normal numbers to a point in the plane."""

    def __init__(self, latent: int = 2, width: int = 128, layers: int = 3):
        super().__init__()
        self.latent = latent
        self.layers = dense(latent, width, layers, 2)

    def forward(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b 2"]:
        """One point for each row of numbers."""
        return self.layers(z)


class PointDiscriminator(nn.Module):
    """From a point, in the plane or on a line, to a logit."""

    def __init__(self, size: int = 2, width: int = 128, layers: int = 3):
        super().__init__()
        self.layers = dense(size, width, layers, 1)

    def forward(self, x: Float[Tensor, "b size"]) -> Logits:
        """One logit for each point."""
        return self.layers(x).squeeze(1)


def dense(inside: int, width: int, layers: int, outside: int) -> nn.Sequential:
    """`layers` hidden layers between two sizes. With ReLU, a discriminator finds small modes sooner than with SiLU."""
    hidden: list[nn.Module] = []
    for before, after in pairwise([inside] + [width] * layers):
        hidden += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, outside))


class Count:
    """How many turns the discriminator has had; a checkpoint keeps it."""

    def __init__(self):
        self.done = 0

    def state_dict(self) -> dict:
        """The number, for a checkpoint."""
        return {"done": self.done}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.done = state["done"]


@dataclass
class GAN:
    """The recipe, with two phases: "discriminator" at every step, and "generator".

    After every `turns[0]` turns of the discriminator the generator has `turns[1]`. `gamma` is the weight of R1; 0 is
    off. R1 is computed at every `lazy`-th turn only, and then counts `lazy` times (StyleGAN2, arXiv:1912.04958).

    Pictures must be in [-1, 1]; points of another kind (2-D toys) may lie anywhere.

    Raises: ValueError for a negative gamma, or turns or lazy below 1.
    """

    generator: nn.Module = field(default_factory=Generator)
    discriminator: nn.Module = field(default_factory=Discriminator)
    loss: GanLoss = NON_SATURATING
    gamma: float = 1.0
    lazy: int = 4
    turns: tuple[int, int] = (1, 1)

    def __post_init__(self):
        if self.gamma < 0 or self.lazy < 1 or min(self.turns) < 1:
            raise ValueError(
                "gamma must not be negative, lazy and both turns must be at least 1, got "
                f"gamma={self.gamma}, lazy={self.lazy}, turns={self.turns}"
            )
        self.modules: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        self.memory = {"turns": Count()}

    @property
    def period(self) -> int:
        """After how many steps all that happens in them has come round: the cost of training is a mean over these."""
        return math.lcm(self.turns[0], self.lazy if self.gamma else 1)

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        if batch.x.ndim == 4:
            check_pictures(batch.x)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[Phase]:
        """A turn of the discriminator, then, where it is due, the generator's (Goodfellow et al. algorithm 1).

        Measures "game", the discriminator's loss without the penalty, and "right", the share it judges rightly.
        """
        turn, (judged, made) = self.memory["turns"], self.turns
        turn.done += 1
        yield self.discriminate(batch.x, rng)
        if turn.done % judged == 0:
            for _ in range(made):
                yield "generator", self.fool(batch.x, rng), {}

    def discriminate(self, x: Float[Tensor, "b ..."], rng: Rng) -> Phase:
        """The discriminator's phase, on real examples x and as many made ones, which are given: no gradient leaves."""
        with torch.no_grad():
            fake = self.modules["generator"](self.latents(x, rng))
        logits = self.modules["discriminator"](torch.cat([x, fake])).float()
        real, fake = logits.chunk(2)
        game = self.loss.discriminator(real, fake)
        right = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return "discriminator", game + self.penalty(x), {"game": game, "right": right}

    def fool(self, x: Float[Tensor, "b ..."], rng: Rng) -> Float[Tensor, ""]:
        """The generator's loss, for as many examples as x has. Of x itself nothing is used."""
        with frozen(self.modules["discriminator"]) as judge:
            return self.loss.generator(judge(self.modules["generator"](self.latents(x, rng))).float())

    def penalty(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
        """gamma times R1 at the turns where it is due, in float32 whatever the runtime's precision."""
        if self.gamma == 0 or self.memory["turns"].done % self.lazy:
            return x.new_zeros(())
        with torch.autocast(x.device.type, enabled=False):
            return self.lazy * self.gamma * r1(self.modules["discriminator"], x)

    def latents(self, x: Float[Tensor, "b ..."], rng: Rng) -> Float[Tensor, "b latent"]:
        """What the generator makes examples of: as many as x has."""
        return rng.normal_like(x.new_empty(len(x), self.generator.latent))

    def pictures(self, count: int, generator: torch.Generator) -> Float[Tensor, "n ..."]:
        """`count` pictures in [-1, 1], or points, in one pass of the network as it is.

        A generator with BatchNorm must be in evaluation mode: else each picture depends on the others in the batch.
        """
        return self.from_latent(torch.randn(count, self.generator.latent, generator=generator))

    @torch.no_grad()
    def from_latent(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n ..."]:
        """The pictures of given numbers: near ones give pictures that are alike."""
        net = self.modules["generator"]
        return net(z.to(next(net.parameters()).device))


def r1(discriminator: Callable[[Tensor], Logits], real: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """Half the mean squared length of the logit's gradient at real examples.

    Where data lie nothing should pull any more: once the generator has come there, the discriminator is to be flat.
    """
    # Mescheder et al.: R_1 = gamma / 2 E_data ||grad_x D(x)||^2
    return pull(discriminator, real, create_graph=True).square().flatten(1).sum(1).mean() / 2


def pull(
    discriminator: Callable[[Tensor], Logits], x: Float[Tensor, "b ..."], create_graph: bool = False
) -> Float[Tensor, "b ..."]:
    """The gradient of the logit at each x: the direction in which an example is drawn. The generator follows it.

    With `create_graph` the result can be differentiated in its turn, by the discriminator's weights.
    """
    with torch.enable_grad():
        # The copy is for torch's counter of operations, which cannot follow a gradient to a leaf.
        x = x.detach().requires_grad_().clone()
        # Each logit depends on its own x alone, so the gradient of the sum holds the gradient of each.
        return torch.autograd.grad(discriminator(x).sum(), x, create_graph=create_graph)[0]


@contextmanager
def frozen(net: nn.Module) -> Iterator[nn.Module]:
    """The network with its weights as constants: gradients flow through it to its input, and none stay in it."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield net
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def optimal_discriminator(log_data: Float[Tensor, "n"], log_made: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The best discriminator's probability of "real", from the log-densities of real and made examples at n places."""
    # D*(x) = p_data(x) / (p_data(x) + p_g(x)): Goodfellow et al. proposition 1. Its logit is log p_data - log p_g.
    return torch.sigmoid(log_data - log_made)


def best_value(log_data: Float[Tensor, "n"], log_made: Float[Tensor, "n"], width: float) -> float:
    """The value of the game against the best discriminator, by a sum over n even cells of this width (or area).

    It is -log 4 where the two densities agree, and larger, up to 0, where they differ.
    """
    # C(G) = E_data log D* + E_made log(1 - D*): Goodfellow et al. eq. 4
    logit = log_data - log_made
    cells = log_data.exp() * F.logsigmoid(logit) + log_made.exp() * F.logsigmoid(-logit)
    return cells.sum().item() * width
