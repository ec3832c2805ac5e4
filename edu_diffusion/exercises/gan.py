"""Exercises of lesson 01: the two losses, the best discriminator, the penalty, and what counts as a mode found."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def judge_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _with_logs(real, fake):
    return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


JUDGE = Exercise(
    "gan.judge_loss",
    "Write judge_loss(real, fake): minus the value V of equation (1), from the discriminator's logits, each of shape "
    "(b,), for real and for made examples. It must stay finite for logits like 200.",
    "Write -log sigmoid(a) with exp, without a fraction: torch.nn.functional has that function of -a, and computes it "
    "without overflow. For the second term: which a has sigmoid(a) = 1 - sigmoid(fake)?",
    judge_loss,
    [
        Mistake(
            "the labels are swapped: yours is small when the discriminator takes made examples for real ones.",
            lambda real, fake: F.softplus(real).mean() + F.softplus(-fake).mean(),
        ),
        Mistake(
            "the second term wants made examples to be called real, as the generator does. The discriminator wants a "
            "small D(G(z)): -log(1 - D) is softplus(fake).",
            lambda real, fake: F.softplus(-real).mean() + F.softplus(-fake).mean(),
        ),
        Mistake(
            "the first term wants real examples to be called made. -log D(x) is softplus(-real).",
            lambda real, fake: F.softplus(real).mean() + F.softplus(fake).mean(),
        ),
        Mistake(
            "that is V itself, which the discriminator wants large. A loss is what it wants small: minus V.",
            lambda real, fake: -judge_loss(real, fake),
        ),
        Mistake(
            "that is half of it: you took the mean over both kinds. Equation (1) adds the two means, and so a "
            "discriminator that knows nothing pays log 4 and not log 2.",
            lambda real, fake: judge_loss(real, fake) / 2,
        ),
        Mistake(
            "right, but you added up the batch. Take means, or the loss grows with the batch.",
            lambda real, fake: F.softplus(-real).sum() + F.softplus(fake).sum(),
        ),
        Mistake(
            "right as a formula, but it breaks for large logits: sigmoid(200) is 1 in float32, 1 - 1 is 0, and log 0 "
            "is minus infinity. softplus does not take that way.",
            _with_logs,
        ),
        Mistake(
            "you took the logits for probabilities. D(x) is sigmoid(logit).",
            lambda real, fake: -real.log().mean() - (1 - fake).log().mean(),
        ),
        Mistake(
            "you took the sigmoid twice: softplus(-a) has it inside already.",
            lambda real, fake: judge_loss(real.sigmoid(), fake.sigmoid()),
        ),
        Mistake("only the real examples count in yours.", lambda real, fake: F.softplus(-real).mean()),
        Mistake("only the made examples count in yours.", lambda real, fake: F.softplus(fake).mean()),
    ],
    lambda: [(_normal(6), _normal(6, seed=1) - 0.5), (_normal(4, seed=2) + 200, _normal(4, seed=3) + 200)],
)


def fool_loss(fake):
    return F.softplus(-fake).mean()


FOOL = Exercise(
    "gan.fool_loss",
    "Write fool_loss(fake): the non-saturating loss of the generator, equation (5), from the logits of made examples.",
    "The generator wants D(G(z)) large: minus the mean of log sigmoid(fake).",
    fool_loss,
    [
        Mistake(
            "that is the generator's half of equation (1), log(1 - D). It has the same goal, but its slope vanishes "
            "where the discriminator is sure.",
            lambda fake: -F.softplus(fake).mean(),
        ),
        Mistake(
            "that is the discriminator's own term: a generator that makes it small is caught every time.",
            lambda fake: F.softplus(fake).mean(),
        ),
        Mistake(
            "the sign: that is the mean of log D, which the generator wants large. A loss is wanted small.",
            lambda fake: -F.softplus(-fake).mean(),
        ),
        Mistake("that is the hinge's rule for the generator: it has no logarithm.", lambda fake: -fake.mean()),
        Mistake("D itself is not its logarithm: take -log sigmoid(fake).", lambda fake: -fake.sigmoid().mean()),
        Mistake("right, but you added up the batch. Take the mean.", lambda fake: F.softplus(-fake).sum()),
        Mistake(
            "right as a formula, but sigmoid(-200) is 0 in float32, and its logarithm is minus infinity. Use "
            "F.softplus(-fake).",
            lambda fake: -fake.sigmoid().log().mean(),
        ),
    ],
    lambda: [(_normal(6),), (_normal(4, seed=1) - 200,)],
)


def optimal(p_data, p_made):
    return p_data / (p_data + p_made)


OPTIMAL = Exercise(
    "gan.optimal",
    "Write optimal(p_data, p_made): the best discriminator's probability of 'real' where real examples have density "
    "p_data and made ones p_made, and both are shown equally often.",
    "Of all examples that appear at this place, which share is real?",
    optimal,
    [
        Mistake("that is the share of made examples.", lambda p_data, p_made: p_made / (p_data + p_made)),
        Mistake(
            "the ratio is not a probability. It is exp(logit): D / (1 - D) is the ratio, not D.",
            lambda p_data, p_made: p_data / p_made,
        ),
        Mistake(
            "that is the logit, log p_data - log p_made. The sigmoid of it is the probability.",
            lambda p_data, p_made: p_data.log() - p_made.log(),
        ),
        Mistake(
            "that is the best yes-or-no answer. Asked for a probability, it is not always sure: in between it says "
            "the share.",
            lambda p_data, p_made: (p_data > p_made).to(p_data),
        ),
        Mistake(
            "p_data alone is a density: it says how many real examples fall here, not how many of those that do are "
            "real.",
            lambda p_data, p_made: p_data,
        ),
        Mistake("a difference of densities is no probability.", lambda p_data, p_made: p_data - p_made),
        Mistake(
            "you halved it. Both kinds are shown equally often, so the two halves cancel in the share.",
            lambda p_data, p_made: p_data / (p_data + p_made) / 2,
        ),
    ],
    lambda: [(torch.tensor([0.4, 0.1, 0.02, 1.5]), torch.tensor([0.1, 0.1, 0.3, 0.5]))],
)


def penalty(discriminator, real):
    real = real.detach().requires_grad_()
    slope = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)[0]
    return slope.square().flatten(1).sum(1).mean() / 2


def _slope(discriminator, real):
    real = real.detach().requires_grad_()
    return torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)[0].flatten(1)


def _curved(x):
    """A discriminator whose gradient is different at each example."""
    return (x.flatten(1) ** 2).sum(1) + x.flatten(1)[:, 0]


PENALTY = Exercise(
    "gan.penalty",
    "Write penalty(discriminator, real): R1 of equation (7) without its weight gamma, for a batch of real examples of "
    "any shape: half the mean over examples of the squared length of the logit's gradient.",
    "torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)[0] has the shape of real. Square it, add "
    "up all that belongs to one example, then take the mean over examples.",
    penalty,
    [
        Mistake(
            "you took the mean over the pixels as well. The squared length is a sum over them; only over the examples "
            "it is a mean.",
            lambda discriminator, real: _slope(discriminator, real).square().mean() / 2,
        ),
        Mistake("the half is missing.", lambda discriminator, real: _slope(discriminator, real).square().sum(1).mean()),
        Mistake(
            "that is the length, not its square.",
            lambda discriminator, real: _slope(discriminator, real).norm(dim=1).mean() / 2,
        ),
        Mistake(
            "you added up the batch. Take the mean over the examples.",
            lambda discriminator, real: _slope(discriminator, real).square().sum() / 2,
        ),
        Mistake(
            "that is another penalty, WGAN-GP's, which wants a length of 1. R1 wants 0.",
            lambda discriminator, real: (_slope(discriminator, real).norm(dim=1) - 1).square().mean() / 2,
        ),
        Mistake(
            "you penalise the logit. R1 leaves it alone and penalises its gradient.",
            lambda discriminator, real: discriminator(real).square().mean() / 2,
        ),
        Mistake(
            "you took the gradient of the mean logit. Each example's gradient is then divided by the batch size: take "
            "that of the sum.",
            lambda discriminator, real: (_slope(discriminator, real) / len(real)).square().sum(1).mean() / 2,
        ),
    ],
    lambda: [(_curved, _normal(5, 1, 3, 3)), (_curved, _normal(4, 2, seed=1))],
)


def found(points, centres, radius):
    near = torch.cdist(points, centres) < radius
    return near.any(0).sum()


FOUND = Exercise(
    "gan.found",
    "Write found(points, centres, radius): at how many of the centres, of shape (k, 2), at least one of the points, of "
    "shape (n, 2), lies nearer than radius.",
    "torch.cdist(points, centres) has a row for each point and a column for each centre. Which columns have a small "
    "number somewhere?",
    found,
    [
        Mistake(
            "that counts the points that lie near a centre. A thousand points at one centre are one mode found.",
            lambda points, centres, radius: (torch.cdist(points, centres) < radius).any(1).sum(),
        ),
        Mistake(
            "that counts the centres which are nearest to some point, however far. A point between two modes has found "
            "neither.",
            lambda points, centres, radius: torch.cdist(points, centres).argmin(1).unique().numel(),
        ),
        Mistake(
            "you compared the squared distance with the radius.",
            lambda points, centres, radius: (torch.cdist(points, centres).square() < radius).any(0).sum(),
        ),
        Mistake(
            "you want all points at each centre. One is enough.",
            lambda points, centres, radius: (torch.cdist(points, centres) < radius).all(0).sum(),
        ),
        Mistake(
            "that counts pairs of a point and a centre.",
            lambda points, centres, radius: (torch.cdist(points, centres) < radius).sum(),
        ),
        Mistake(
            "those are the modes that were missed.",
            lambda points, centres, radius: (~(torch.cdist(points, centres) < radius).any(0)).sum(),
        ),
        Mistake(
            "that is a share. The number of modes is wanted.",
            lambda points, centres, radius: (torch.cdist(points, centres) < radius).any(0).float().mean(),
        ),
    ],
    lambda: [
        (
            # Three points at two centres close together, three at a third, one not quite near, one between.
            torch.tensor([[0, 0], [0.1, 0], [0, 0.1], [2, 0], [2.1, 0], [2, 0.1], [0, 1.75], [1.4, 1.4]]),
            torch.tensor(
                [[0, 0], [0.05, 0], [2, 0], [0, 2], [2, 2], [5, 5], [6, 5], [5, 6], [6, 6], [7, 7]],
                dtype=torch.float32,
            ),
            0.2,
        )
    ],
)

EQUILIBRIUM = Exercise(
    "gan.equilibrium",
    "At the end of a perfect training nobody can tell made examples from real ones. What is the discriminator's loss, "
    "minus V of equation (1), in nats? Give a number.",
    "It answers 1/2, whatever it is shown. Put D = 1/2 into both terms.",
    math.log(4),
    [
        Mistake("that is one of the two terms: log 2. Both are paid.", math.log(2)),
        Mistake("that is V. The loss is minus V.", -math.log(4)),
        Mistake("that is what it answers. Its loss is -log(1/2) - log(1 - 1/2).", 0.5),
        Mistake("a loss of 0 is that of a discriminator which is always right: the generator has lost.", 0.0),
        Mistake("that is log 4 to base 2: in bits. In nats it is smaller.", 2.0),
        Mistake("that is one of the two terms of V, which the discriminator wants large.", -math.log(2)),
    ],
    tolerance=0.01,
)

EXERCISES: list[Exercise] = [JUDGE, FOOL, OPTIMAL, PENALTY, FOUND, EQUILIBRIUM]
