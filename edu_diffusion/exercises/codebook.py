"""Exercises of lesson 05: choosing a code, the gradient past the choice, learning a codebook, and writing codes."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, repr=False)
class WithGradients(Exercise):
    """An exercise whose answer is judged by its value and by where its gradient flows.

    Every input that asks for a gradient gets its own back, of a fixed weighting of the answer's numbers.
    """

    def _outcome(self, answer: object) -> list:
        if not callable(answer):
            return super()._outcome(answer)
        return [_value_and_gradients(answer(*arguments), arguments) for arguments in self.inputs()]


def _value_and_gradients(result: object, arguments: tuple) -> tuple[Tensor, ...]:
    if not isinstance(result, Tensor):
        raise TypeError(f"the answer must be a tensor, got {type(result).__name__}")
    leaves = [one for one in arguments if isinstance(one, Tensor) and one.requires_grad]
    if not result.requires_grad:
        found = [None] * len(leaves)
    else:
        weighted = (result * (1 + torch.arange(result.numel()).view(result.shape))).sum()
        found = torch.autograd.grad(weighted, leaves, allow_unused=True)
    gradients = [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]
    return (result.detach(), *gradients)


def nearest(z, codebook):
    distance = (z[:, None] - codebook).square().sum(-1)
    return distance.argmin(1)


def _differences(z, codebook):
    return z[:, None] - codebook


NEAREST = Exercise(
    "codebook.nearest",
    "Write nearest(z, codebook): for each row of z, of shape (n, d), the number of the nearest row of codebook, of "
    "shape (k, d), as in equation (1). The result has shape (n,).",
    "Give z an axis of length 1 in the middle: then a difference with the codebook has all n times k pairs. Which axis "
    "is summed over, and over which one do you look for the smallest?",
    nearest,
    [
        Mistake(
            "you take the farthest: argmin, not argmax.",
            lambda z, codebook: _differences(z, codebook).square().sum(-1).argmax(1),
        ),
        Mistake(
            "that is the largest scalar product. It prefers long vectors: ||z - e||^2 = ||z||^2 - 2 z.e + ||e||^2, and "
            "the last term counts.",
            lambda z, codebook: (z @ codebook.T).argmax(1),
        ),
        Mistake(
            "the wrong axis: that is the nearest row of z for each code. Every row of z asks, so there are n answers.",
            lambda z, codebook: _differences(z, codebook).square().sum(-1).argmin(0),
        ),
        Mistake(
            "you sum the differences with their signs, and they cancel each other. Square them first.",
            lambda z, codebook: _differences(z, codebook).sum(-1).argmin(1),
        ),
        Mistake(
            "you square the sum of the differences. Sum the squares.",
            lambda z, codebook: _differences(z, codebook).sum(-1).square().argmin(1),
        ),
        Mistake(
            "that is the distance along the axes, the sum of absolute differences. The paper's is the Euclidean one.",
            lambda z, codebook: _differences(z, codebook).abs().sum(-1).argmin(1),
        ),
        Mistake(
            "that is the distance and not the code: argmin in place of min.",
            lambda z, codebook: _differences(z, codebook).square().sum(-1).amin(1),
        ),
        Mistake(
            "that is the vector and not its number. The code is a whole number.",
            lambda z, codebook: codebook[nearest(z, codebook)],
        ),
    ],
    lambda: [
        (_normal(9, 3), 2 * _normal(6, 3, seed=1)),
        (1 + _normal(8, 2, seed=2), _normal(5, 2, seed=3)),
        (torch.tensor([[0.0, 0.0], [4.0, 1.0]]), torch.tensor([[3.0, 0.0], [2.0, 2.0]])),
    ],
)


def straight_through(z, e):
    return z + (e - z).detach()


STRAIGHT = WithGradients(
    "codebook.straight_through",
    "Write straight_through(z, e): the value of e, but with a gradient that goes to z as if nothing had been done, and "
    "none to e.",
    "tensor.detach() is the same numbers with no way back. Add to z something that has the right value and no "
    "gradient.",
    straight_through,
    [
        Mistake(
            "that is e as it is: its gradient goes to the codebook, and the encoder learns nothing. (z + (e - z) is no "
            "more than that: detach the difference.)",
            lambda z, e: e + 0 * z.detach(),
        ),
        Mistake(
            "the value is right, but no gradient reaches z: the encoder learns nothing. (If you detached e alone, -z "
            "takes back what z brings: detach the whole difference.)",
            lambda z, e: e.detach(),
        ),
        Mistake(
            "you return z. The gradient is right, but the decoder would be shown what was never chosen.",
            lambda z, e: z + 0 * e.detach(),
        ),
        Mistake(
            "you detached z alone. The gradient goes to both: the encoder is right, but the decoder's error also pulls "
            "at the codebook.",
            lambda z, e: z + (e - z.detach()),
        ),
        Mistake(
            "the other way round: the value is that of z, and the gradient goes to e.",
            lambda z, e: e + (z - e).detach(),
        ),
        Mistake(
            "half of each: the decoder must see e and nothing else.",
            lambda z, e: (z + e.detach()) / 2,
        ),
    ],
    lambda: [(_normal(4, 3).requires_grad_(), _normal(4, 3, seed=1).requires_grad_())],
)


def loss(x, drawn, z, e, commit_weight):
    error = F.mse_loss(drawn, x)
    codebook = F.mse_loss(e, z.detach())
    commit = F.mse_loss(z, e.detach())
    return error + codebook + commit_weight * commit


SHAPES = ((2, 8), (2, 3), (2, 3))  # of the picture drawn again, of z and of e


def _loss(second, third):
    """The loss with other second and third terms, each given z, e and the weight."""
    return lambda x, drawn, z, e, weight: F.mse_loss(drawn, x) + second(z, e, weight) + third(z, e, weight)


def _to_e(z, e, weight=1.0):
    return weight * F.mse_loss(e, z.detach())


def _to_z(z, e, weight=1.0):
    return weight * F.mse_loss(z, e.detach())


def _to_both(z, e, weight=1.0):
    return weight * F.mse_loss(z, e)


LOSS = WithGradients(
    "codebook.loss",
    "Write loss(x, drawn, z, e, commit_weight): equation (4), all three errors as means. The second term may move e "
    "alone, the third, with the weight, z alone.",
    "The numbers of the second and the third term are equal. They differ in which side is detached.",
    loss,
    [
        Mistake(
            "the value is right, but nothing is detached: z and e are both pulled by the sum of the weights. Equation "
            "(4) stops z in the second term and e in the third.",
            _loss(lambda z, e, w: _to_both(z, e), _to_both),
        ),
        Mistake(
            "the two stops are swapped: your weight brakes the codebook, and the encoder is pulled with full strength.",
            _loss(lambda z, e, w: _to_z(z, e), _to_e),
        ),
        Mistake(
            "both of your terms move z: nothing moves the codebook.",
            _loss(lambda z, e, w: _to_z(z, e), _to_z),
        ),
        Mistake(
            "both of your terms move e: nothing keeps the encoder near its codes.",
            _loss(lambda z, e, w: _to_e(z, e), _to_e),
        ),
        Mistake(
            "the weight belongs to the commitment alone, not to the codebook's term too.",
            _loss(_to_e, _to_z),
        ),
        Mistake(
            "the weight is missing: the third term has one.",
            _loss(lambda z, e, w: _to_e(z, e), lambda z, e, w: _to_z(z, e)),
        ),
        Mistake(
            "the codebook's term is missing: in equation (4) the codebook is learned by it.",
            _loss(lambda z, e, w: 0.0, _to_z),
        ),
        Mistake(
            "the commitment is missing: the encoder may then run away from its codes.",
            _loss(lambda z, e, w: _to_e(z, e), lambda z, e, w: 0.0),
        ),
        Mistake(
            "you summed the squares over all numbers. Then the three terms weigh by how many numbers each has: take "
            "means.",
            lambda x, drawn, z, e, w: (
                (drawn - x).square().sum() + (e - z.detach()).square().sum() + w * (z - e.detach()).square().sum()
            ),
        ),
    ],
    lambda: [
        (_normal(2, 8), *(_normal(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(SHAPES, 1)), 0.25)
    ],
)


def follow(count, sums, z, codes, decay):
    chose = F.one_hot(codes, len(count)).to(z)
    count = decay * count + (1 - decay) * chose.sum(0)
    sums = decay * sums + (1 - decay) * chose.T @ z
    return count, sums, sums / count[:, None]


def _follow(decay_of=lambda decay: decay, counted=lambda chose: chose.sum(0), total=lambda chose, z: chose.T @ z):
    """The update with another decay, another count or another total of a batch."""

    def wrong(count, sums, z, codes, decay):
        chose, keep = F.one_hot(codes, len(count)).to(z), decay_of(decay)
        count, sums = keep * count + (1 - keep) * counted(chose), keep * sums + (1 - keep) * total(chose, z)
        return count, sums, sums / count[:, None]

    return wrong


def _without_factor(count, sums, z, codes, decay):
    chose = F.one_hot(codes, len(count)).to(z)
    count, sums = decay * count + chose.sum(0), decay * sums + chose.T @ z
    return count, sums, sums / count[:, None]


def _mean_of_means(count, sums, z, codes, decay):
    chose = F.one_hot(codes, len(count)).to(z)
    before, now = sums / count[:, None], chose.T @ z / chose.sum(0)[:, None].clamp(min=1)
    count, new = decay * count + (1 - decay) * chose.sum(0), decay * sums + (1 - decay) * chose.T @ z
    return count, new, decay * before + (1 - decay) * now


def _no_running_count(count, sums, z, codes, decay):
    chose = F.one_hot(codes, len(count)).to(z)
    new = decay * sums + (1 - decay) * chose.T @ z
    return decay * count + (1 - decay) * chose.sum(0), new, new / chose.sum(0)[:, None].clamp(min=1)


FOLLOW = Exercise(
    "codebook.follow",
    "Write follow(count, sums, z, codes, decay): the running count N of shape (k,), the running sum m of shape (k, d) "
    "and the vectors e = m / N after one more batch, as in equation (5). z has shape (n, d), codes (n,). Return all "
    "three.",
    "F.one_hot(codes, len(count)).to(z) has a 1 where a row chose a code. Its sum over the rows is the count, and "
    "its transpose times z is the sum.",
    follow,
    [
        Mistake(
            "decay and 1 - decay are swapped: nearly all of the past is forgotten with every batch.",
            _follow(decay_of=lambda decay: 1 - decay),
        ),
        Mistake(
            "you add the batch without the factor 1 - decay, to the count and to the sum.",
            _without_factor,
        ),
        Mistake(
            "m is a running sum, and you gave it the batch's mean: a code that few chose then weighs as much as one "
            "that many chose.",
            _follow(total=lambda chose, z: chose.T @ z / chose.sum(0)[:, None].clamp(min=1)),
        ),
        Mistake(
            "N counts the choices, and you only noted whether there was one.",
            _follow(counted=lambda chose: (chose.sum(0) > 0).to(chose)),
        ),
        Mistake(
            "your vectors are running means of the batches' means. A code that nothing chose in a batch is then pulled "
            "to 0. Divide the running sum by the running count.",
            _mean_of_means,
        ),
        Mistake(
            "you divided by the count of this batch. The sum runs over many batches, so the count must too.",
            _no_running_count,
        ),
        Mistake(
            "every code got the sum of all of z. Only what chose a code counts for it.",
            _follow(total=lambda chose, z: z.sum(0).expand(chose.shape[1], -1)),
        ),
    ],
    lambda: [
        (
            1 + 4 * torch.rand(4, generator=torch.Generator().manual_seed(5)),
            _normal(4, 2, seed=6),
            _normal(9, 2, seed=7),
            torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2]),
            0.9,
        )
    ],
)


def perplexity(codes, size):
    shares = torch.bincount(codes, minlength=size) / len(codes)
    shares = shares[shares > 0]
    return 2 ** -(shares * shares.log2()).sum()


PERPLEXITY = Exercise(
    "codebook.perplexity",
    "Write perplexity(codes, size): 2 to the power of the entropy, in bits, of the frequencies of the codes, as in "
    "equation (7).",
    "torch.bincount(codes, minlength=size) counts. Leave out what never occurs: 0 log 0 is 0, but a computer says NaN.",
    perplexity,
    [
        Mistake(
            "that is the entropy. The perplexity is 2 to its power, and counts codes.",
            lambda codes, size: perplexity(codes, size).log2(),
        ),
        Mistake(
            "two bases: you took the logarithm to base 2, and e to its power. Take both to one base.",
            lambda codes, size: perplexity(codes, size).log2().exp(),
        ),
        Mistake(
            "two bases: you took the natural logarithm, and 2 to its power. Take both to one base.",
            lambda codes, size: 2 ** perplexity(codes, size).log(),
        ),
        Mistake(
            "that is how many codes occur at all. Perplexity counts a rare one for less.",
            lambda codes, size: torch.tensor(float(len(codes.unique()))),
        ),
        Mistake(
            "the sign: entropy is minus the sum of p log p.",
            lambda codes, size: 1 / perplexity(codes, size),
        ),
        Mistake(
            "a code that never occurs has p log p = 0 times minus infinity, which is NaN here. Leave those out.",
            lambda codes, size: torch.tensor(float("nan")),
        ),
        Mistake(
            "that is one over the sum of the squared shares: another measure of the same kind, not the paper's.",
            lambda codes, size: 1 / (torch.bincount(codes, minlength=size) / len(codes)).square().sum(),
        ),
        Mistake(
            "you averaged p log p over the codes. An entropy is a sum.",
            lambda codes, size: 2 ** (perplexity(codes, size).log2() / size),
        ),
    ],
    lambda: [(torch.tensor([0, 0, 0, 0, 0, 2, 2, 3]), 6), (torch.tensor([1, 1, 1, 0, 4]), 5)],
)


def tokens(start, codes):
    return torch.cat([start[:, None], codes[:, :-1]], 1)


TOKENS = Exercise(
    "codebook.tokens",
    "Write tokens(start, codes): what a causal network is given so that its answer at place i is a guess of "
    "codes[:, i]. start, of shape (b,), stands for the class; codes has shape (b, n). The result has shape (b, n).",
    "At place i the network sees the tokens up to i, that one included. So token i must be the last thing that is "
    "known before code i.",
    tokens,
    [
        Mistake(
            "token i is code i itself: the network would only have to copy what it sees. Its loss falls to 0, and it "
            "cannot write.",
            lambda start, codes: codes,
        ),
        Mistake(
            "shifted the other way: token i is the code after i. Nobody has that when the picture is being written.",
            lambda start, codes: torch.cat([codes[:, 1:], start[:, None]], 1),
        ),
        Mistake(
            "the last code came round to the front. The first place knows nothing but the class.",
            lambda start, codes: codes.roll(1, 1),
        ),
        Mistake(
            "one token too many: what would follow the last code is never guessed.",
            lambda start, codes: torch.cat([start[:, None], codes], 1),
        ),
        Mistake(
            "you put the class in place of the first code, and shifted nothing: from the second place on the network "
            "sees what it should guess.",
            lambda start, codes: torch.cat([start[:, None], codes[:, 1:]], 1),
        ),
        Mistake(
            "shifted by two: token i is code i - 2, and the nearest neighbour is kept back.",
            lambda start, codes: torch.cat([start[:, None], start[:, None], codes[:, :-2]], 1),
        ),
        Mistake(
            "the first code is missing: only the last one may be left out, for nothing comes after it.",
            lambda start, codes: codes[:, :-1],
        ),
    ],
    lambda: [(torch.tensor([91, 92]), torch.arange(12).view(2, 6))],
)


def sharpen(logits, temperature, top_k):
    least = logits.topk(top_k, dim=1).values[:, -1:]
    kept = logits.masked_fill(logits < least, float("-inf"))
    return (kept / temperature).softmax(1)


def _keep(logits, top_k):
    return logits.masked_fill(logits < logits.topk(top_k, dim=1).values[:, -1:], float("-inf"))


def _smallest(logits, temperature, top_k):
    most = (-logits).topk(top_k, dim=1).values[:, -1:]
    return (logits.masked_fill(-logits < most, float("-inf")) / temperature).softmax(1)


def _unscaled(logits, temperature, top_k):
    chances = (logits / temperature).softmax(1)
    return chances * (chances >= chances.topk(top_k, dim=1).values[:, -1:])


SHARPEN = Exercise(
    "codebook.sharpen",
    "Write sharpen(logits, temperature, top_k): the chances from which a code is drawn. Keep the top_k largest logits "
    "of each row, divide by the temperature, and let softmax make chances of them; all others have chance 0.",
    "logits.topk(top_k, dim=1).values[:, -1:] is the smallest logit that is kept, of each row. A logit of minus "
    "infinity has chance 0.",
    sharpen,
    [
        Mistake(
            "you multiply by the temperature. A low one must make the likely codes likelier: divide.",
            lambda logits, temperature, top_k: (_keep(logits, top_k) * temperature).softmax(1),
        ),
        Mistake(
            "you set chances to 0 after the softmax, and the rest do not sum to 1 any more.",
            _unscaled,
        ),
        Mistake(
            "you divide the chances by the temperature, not the logits: nothing gets sharper, and the sum is not 1.",
            lambda logits, temperature, top_k: _keep(logits, top_k).softmax(1) / temperature,
        ),
        Mistake(
            "the temperature is missing.",
            lambda logits, temperature, top_k: _keep(logits, top_k).softmax(1),
        ),
        Mistake(
            "top_k is missing: the codes of the long tail may still be drawn.",
            lambda logits, temperature, top_k: (logits / temperature).softmax(1),
        ),
        Mistake(
            "you set the logits of the others to 0. That is no chance of 0: softmax makes e^0 of it.",
            lambda logits, temperature, top_k: (_keep(logits, top_k).nan_to_num(neginf=0.0) / temperature).softmax(1),
        ),
        Mistake(
            "you kept the smallest logits.",
            _smallest,
        ),
        Mistake(
            "the softmax runs over the rows, that is over the pictures. Each picture draws for itself.",
            lambda logits, temperature, top_k: (_keep(logits, top_k) / temperature).softmax(0).nan_to_num(),
        ),
        Mistake(
            "that is one code too few: the smallest of the kept ones is to stay as well.",
            lambda logits, temperature, top_k: sharpen(logits, temperature, top_k - 1),
        ),
    ],
    lambda: [(2 * _normal(4, 6), 0.5, 3), (2 * _normal(3, 8, seed=1), 1.7, 4)],
)


def bits(chances):
    return -chances.log2().sum(1)


BITS = Exercise(
    "codebook.bits",
    "Write bits(chances): how many bits it costs to send each picture, if chances, of shape (b, n), are what a prior "
    "gave to each of its n codes, given those before.",
    "The chance of a picture is the product of the chances of its codes. A thing of chance p costs -log2 p bits.",
    bits,
    [
        Mistake(
            "those are nats. Bits take the logarithm to base 2.",
            lambda chances: -chances.log().sum(1),
        ),
        Mistake(
            "the sign: the logarithm of a chance is negative, and a cost is not.",
            lambda chances: chances.log2().sum(1),
        ),
        Mistake(
            "that is the mean over the codes, the bits of a code. A picture costs the sum.",
            lambda chances: -chances.log2().mean(1),
        ),
        Mistake(
            "you averaged over the pictures. Each picture has its own cost.",
            lambda chances: -chances.log2().mean(0),
        ),
        Mistake(
            "you took the logarithm of the sum. Chances of things that all happen are multiplied, so logarithms add.",
            lambda chances: -chances.sum(1).log2(),
        ),
        Mistake(
            "that is an entropy, weighted by the chances once more. These chances belong to codes that have occurred: "
            "each counts once.",
            lambda chances: -(chances * chances.log2()).sum(1),
        ),
        Mistake(
            "that is the chance itself. Its cost is minus its logarithm.",
            lambda chances: chances.prod(1),
        ),
        Mistake(
            "that is what it costs if nothing is known, with every code equally likely: the prior was not asked.",
            lambda chances: torch.full((len(chances),), chances.shape[1] * math.log2(128)),
        ),
    ],
    lambda: [(torch.rand(3, 5, generator=torch.Generator().manual_seed(8)),)],
)

EXERCISES: list[Exercise] = [NEAREST, STRAIGHT, LOSS, FOLLOW, PERPLEXITY, TOKENS, SHARPEN, BITS]
