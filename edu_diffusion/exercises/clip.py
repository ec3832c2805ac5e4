"""Exercises of lesson 14, CLIP: the loss, the temperature, prompts, and what is counted."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(_normal(*shape, seed=seed), dim=-1)


def loss(image, text, scale):
    image, text = F.normalize(image, dim=1), F.normalize(text, dim=1)
    logits = scale * image @ text.T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _both_ways(logits):
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _cosines(image, text):
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T


def _one_way(image, text, scale):
    return F.cross_entropy(scale * _cosines(image, text), torch.arange(len(image)))


def _other_way(image, text, scale):
    return _one_way(text, image, scale)


def _each_pair_by_itself(image, text, scale):
    return F.binary_cross_entropy_with_logits(scale * _cosines(image, text), torch.eye(len(image)))


LOSS = Exercise(
    "clip.loss",
    "Write loss(image, text, scale): CLIP's loss of n pictures and their captions, one number. image and text, (n, d), "
    "are what the towers say, of any length: bring each row to length 1 first. scale is one over the temperature.",
    "F.normalize(image, dim=1) has rows of length 1. logits = scale * image @ text.T is (n, n); the right answer of "
    "row i is i. F.cross_entropy(logits, torch.arange(n)) asks the pictures; with logits.T it asks the captions. Take "
    "the mean of both.",
    loss,
    [
        Mistake(
            "you did not bring the rows to length 1. A tower could then lower the loss by making its vectors long: the "
            "temperature would mean nothing.",
            lambda image, text, scale: _both_ways(scale * image @ text.T),
        ),
        Mistake(
            "only the pictures are asked for their captions. Each caption must find its picture too: logits.T.",
            _one_way,
        ),
        Mistake(
            "only the captions are asked for their pictures. Each picture must find its caption too.",
            _other_way,
        ),
        Mistake(
            "the scale is missing. Cosines lie between -1 and 1, so even a perfect answer would be far from sure.",
            lambda image, text, scale: loss(image, text, 1.0),
        ),
        Mistake(
            "you divide by the scale. It is one over the temperature already: multiply.",
            lambda image, text, scale: loss(image, text, 1 / scale),
        ),
        Mistake(
            "you add the two directions and do not halve. Their mean was asked for.",
            lambda image, text, scale: 2 * loss(image, text, scale),
        ),
        Mistake(
            "each pair is judged by itself, as yes or no (a sigmoid; SigLIP does this). CLIP chooses one of n: "
            "F.cross_entropy over each row.",
            _each_pair_by_itself,
        ),
        Mistake(
            "you only look at the right pairs (the diagonal). Without wrong ones, all vectors may become the same, and "
            "the loss is at its best: it must also push the wrong ones away.",
            lambda image, text, scale: -(scale * _cosines(image, text)).diagonal().mean(),
        ),
    ],
    lambda: [(3 * _normal(5, 8), _normal(5, 8, seed=1), 4.0), (_normal(7, 4, seed=2), 2 * _normal(7, 4, seed=3), 2.5)],
)


def scale(log_scale):
    return log_scale.clamp(max=math.log(100)).exp()


SCALE = Exercise(
    "clip.scale",
    "Write scale(log_scale): the factor on all cosines. What is learned is its logarithm, a tensor; the factor itself "
    "may be 100 at most.",
    "exp undoes the logarithm. Either clamp the result at 100, or clamp log_scale at log(100) first.",
    scale,
    [
        Mistake(
            "the clamp is missing. Without it the factor can grow until one wrong pair decides the whole gradient.",
            lambda log_scale: log_scale.exp(),
        ),
        Mistake(
            "you clamped the logarithm at 100: the factor could be exp(100). It is the factor that stays below 100.",
            lambda log_scale: log_scale.clamp(max=100).exp(),
        ),
        Mistake(
            "that is the temperature, one over the factor.",
            lambda log_scale: 1 / log_scale.clamp(max=math.log(100)).exp(),
        ),
        Mistake(
            "you return the logarithm itself. exp makes the factor of it, so that it can never be negative.",
            lambda log_scale: log_scale.clamp(max=math.log(100)),
        ),
        Mistake(
            "you clamped from below: 100 would be the smallest factor. Use max=.",
            lambda log_scale: log_scale.exp().clamp(min=100),
        ),
    ],
    lambda: [(torch.tensor(value, dtype=torch.float64),) for value in (math.log(1 / 0.07), 0.0, 4.5, 4.7, 120.0)],
)


def prompts(emb):
    return F.normalize(emb.mean(1), dim=-1)


PROMPTS = Exercise(
    "clip.prompts",
    "Write prompts(emb): one vector for each class. emb, (classes, wordings, d), holds unit vectors of several "
    "captions for each class; return (classes, d), of length 1.",
    "First the mean over the wordings (axis 1), then F.normalize over the last axis.",
    prompts,
    [
        Mistake(
            "the mean of unit vectors is shorter than 1. A class whose wordings disagree would always score low: bring "
            "it back to length 1.",
            lambda emb: emb.mean(1),
        ),
        Mistake(
            "you took the mean over the classes (axis 0): one vector for each wording.",
            lambda emb: F.normalize(emb.mean(0), dim=-1),
        ),
        Mistake("that is the first wording alone.", lambda emb: emb[:, 0]),
        Mistake(
            "you divided each number by the length over the classes. The length is that of a vector: dim=-1.",
            lambda emb: F.normalize(emb.mean(1), dim=0),
        ),
    ],
    lambda: [(_unit(4, 3, 8),), (_unit(3, 5, 6, seed=1),)],
)


def found(image_emb, text_emb):
    right = (image_emb @ text_emb.T).argmax(1) == torch.arange(len(image_emb))
    return right.float().mean()


def _near(n: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Pairs that belong together roughly, so that some are found and some are not."""
    image = _unit(n, 6, seed=seed)
    return image, F.normalize(image + noise * _normal(n, 6, seed=seed + 1), dim=-1)


FOUND = Exercise(
    "clip.found",
    "Write found(image_emb, text_emb): the share of pictures that find their own caption, a number from 0 to 1. Both "
    "are (n, d), of length 1, and row i belongs to row i.",
    "(image_emb @ text_emb.T).argmax(1) is the caption that each picture takes. It is right where it equals "
    "torch.arange(n).",
    found,
    [
        Mistake(
            "that is the share of captions that find their picture: argmax over the other axis. The pictures were to "
            "choose.",
            lambda image_emb, text_emb: found(text_emb, image_emb),
        ),
        Mistake(
            "that is how many, not which share: divide by n.",
            lambda image_emb, text_emb: found(image_emb, text_emb) * len(image_emb),
        ),
        Mistake(
            "that is the share that is wrong.",
            lambda image_emb, text_emb: 1 - found(image_emb, text_emb),
        ),
        Mistake(
            "you took the caption that fits worst: argmin is for distances. With dot products, the largest is nearest.",
            lambda image_emb, text_emb: found(image_emb, -text_emb),
        ),
        Mistake(
            "that is the mean cosine of the right pairs. Whether a pair is found depends on the wrong ones too.",
            lambda image_emb, text_emb: (image_emb * text_emb).sum(1).mean(),
        ),
    ],
    lambda: [_near(12, 0.5, 0), _near(20, 0.6, 2)],
)


START = Exercise(
    "clip.start",
    "Before any training all pairs look about equally likely. How large is CLIP's loss with a batch of 256 pairs? Give "
    "a number (in nats).",
    "The right caption then gets a share of 1/256, and the loss is minus its natural logarithm.",
    math.log(256),
    [
        Mistake("that is in bits: log2(256). The loss uses the natural logarithm.", 8.0),
        Mistake("that is the share itself. The loss is minus its logarithm.", 1 / 256),
        Mistake("the two directions are averaged, not added.", 2 * math.log(256)),
        Mistake("the sign: shares are below 1 and their logarithms negative; the loss is minus that.", -math.log(256)),
    ],
)

EXERCISES: list[Exercise] = [LOSS, SCALE, PROMPTS, FOUND, START]
