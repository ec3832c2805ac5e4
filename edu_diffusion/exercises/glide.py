"""Exercises of lesson 17: what is told and what is hidden, where a changed picture begins, and who pushes whom."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.diffusion import cosine
from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def put_back(x_s, x0, mask, signal, noise, eps):
    return torch.where(mask, x_s, signal * x0 + noise * eps)


def _put_back_inputs() -> list[tuple]:
    schedule, mask = cosine(100), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2] = True
    x_s, x0, eps = _normal(2, 3, 4, 4), _normal(2, 3, 4, 4, seed=1).tanh(), _normal(2, 3, 4, 4, seed=2)
    levels = [(schedule.signal(s, x0), schedule.noise(s, x0)) for s in (70, 30)]
    return [(x_s, x0, mask, *level, eps) for level in levels]


PUT_BACK = Exercise(
    "glide.put_back",
    "Write put_back(x_s, x0, mask, signal, noise, eps): x_s where the mask is True, and outside it the known picture "
    "x0 as it would be at time s. signal and noise belong to s, eps is fresh normal noise.",
    "Outside the mask you know x0, so you can make x_s yourself, in one step (lesson 06). `torch.where(mask, a, b)` "
    "takes a where the mask is True.",
    put_back,
    [
        Mistake(
            "outside the mask you put the clean picture. The network expects x_s there, with as much noise as "
            "everywhere else: signal x0 + noise eps.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, x_s, x0),
        ),
        Mistake(
            "the mask is turned round: you kept what was to be painted, and painted what was to be kept. It is True "
            "where something new is wanted.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, signal * x0 + noise * eps, x_s),
        ),
        Mistake(
            "the known part has noise, but is not shrunk: x_s = signal x0 + noise eps.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, x_s, x0 + noise * eps),
        ),
        Mistake(
            "the known part is shrunk, but has no noise: x_s = signal x0 + noise eps.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, x_s, signal * x0),
        ),
        Mistake(
            "noise is a standard deviation already: do not square it, nor take its root.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, x_s, signal * x0 + noise**2 * eps),
        ),
        Mistake(
            "signal and noise are exchanged.",
            lambda x_s, x0, mask, signal, noise, eps: torch.where(mask, x_s, noise * x0 + signal * eps),
        ),
    ],
    _put_back_inputs,
)


def begin(T, strength, steps):
    start, count = round(strength * T), round(strength * steps)
    return [round(start * (count - i) / count) for i in range(count + 1)]


BEGIN = Exercise(
    "glide.begin",
    "Write begin(T, strength, steps): the times at which image-to-image stops, evenly spaced from strength T down to "
    "0. It takes its share of the steps of a whole walk: with strength 1/2 and steps 20, ten steps, so eleven times.",
    "`round(start * (count - i) / count)` for i from 0 to count, where start and count are both a share.",
    begin,
    [
        Mistake(
            "you begin at T: the picture would be noise there, and nothing of it is left. Begin at strength T.",
            lambda T, strength, steps: [round(T * (steps - i) / steps) for i in range(steps + 1)],
        ),
        Mistake(
            "you begin where you should, but take all steps for a part of the way. That is more work, and not what is "
            "asked: take strength times as many.",
            lambda T, strength, steps: [round(strength * T * (steps - i) / steps) for i in range(steps + 1)],
        ),
        Mistake(
            "strength is turned round: 1 must change most, and so begin at T. You begin at (1 - strength) T.",
            lambda T, strength, steps: begin(T, 1 - strength, steps),
        ),
        Mistake(
            "the last time must be 0. It is missing, and the picture would keep some noise.",
            lambda T, strength, steps: begin(T, strength, steps)[:-1],
        ),
        Mistake(
            "these times rise. The walk goes from noise to the picture: they must fall.",
            lambda T, strength, steps: begin(T, strength, steps)[::-1],
        ),
    ],
    lambda: [(1000, 0.6, 25), (1000, 0.25, 40), (100, 0.8, 10)],
)


def hole(x0, mask):
    return torch.cat([torch.where(mask, torch.zeros_like(x0), x0), mask.to(x0)], dim=1)


def _hole_inputs() -> list[tuple]:
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[0, :, 1:3, :2] = True
    mask[1, :, 2:] = True
    return [(_normal(2, 3, 4, 4).tanh(), mask)]


HOLE = Exercise(
    "glide.hole",
    "Write hole(x0, mask): the four channels that a model tuned to inpaint is shown: the three of the picture, 0 where "
    "the mask is True, and then the mask itself as a channel of 0 and 1.",
    "`torch.cat([...], dim=1)` joins channels. The network must not see what it is to paint.",
    hole,
    [
        Mistake(
            "you show the whole picture, the hidden part too. In training the network would copy it, and at work it "
            "would have learned nothing.",
            lambda x0, mask: torch.cat([x0, mask.to(x0)], dim=1),
        ),
        Mistake(
            "the mask is turned round: you hide what is known, and show what is to be painted.",
            lambda x0, mask: torch.cat([torch.where(mask, x0, torch.zeros_like(x0)), mask.to(x0)], dim=1),
        ),
        Mistake(
            "the hole is cut right, but the mask channel is 1 where the picture is known. It is to be 1 in the hole.",
            lambda x0, mask: torch.cat([torch.where(mask, torch.zeros_like(x0), x0), 1 - mask.to(x0)], dim=1),
        ),
        Mistake(
            "the fourth channel is missing. 0 is a grey as well: a hole and a grey ground would look the same.",
            lambda x0, mask: torch.where(mask, torch.zeros_like(x0), x0),
        ),
        Mistake(
            "the mask must come after the picture's channels: weights belong to places in the list.",
            lambda x0, mask: torch.cat([mask.to(x0), torch.where(mask, torch.zeros_like(x0), x0)], dim=1),
        ),
    ],
    _hole_inputs,
)


def worsen(low, signal, noise, eps):
    return F.interpolate(signal * low + noise * eps, scale_factor=2, mode="bilinear")


WORSEN = Exercise(
    "glide.worsen",
    "Write worsen(low, signal, noise, eps): what an upsampler is shown. The low picture is noised first, as x_t would "
    "be, and then enlarged to twice its size by straight lines. eps is normal noise.",
    '`F.interpolate(x, scale_factor=2, mode="bilinear")` enlarges. Which shape has eps?',
    worsen,
    [
        Mistake(
            "you enlarged the picture by straight lines, and its noise by repeating. Noise the small picture, where "
            "another model's mistakes will be too, and enlarge what comes of it.",
            lambda low, signal, noise, eps: (
                signal * F.interpolate(low, scale_factor=2, mode="bilinear")
                + noise * F.interpolate(eps, scale_factor=2, mode="nearest")
            ),
        ),
        Mistake(
            "there is no noise. In training the low picture would be perfect, and at work it is not.",
            lambda low, signal, noise, eps: F.interpolate(low, scale_factor=2, mode="bilinear"),
        ),
        Mistake(
            "the low picture is not shrunk: noise it as x_t is made, signal low + noise eps.",
            lambda low, signal, noise, eps: F.interpolate(low + noise * eps, scale_factor=2, mode="bilinear"),
        ),
        Mistake(
            "you repeated pixels. Straight lines between them are smoother.",
            lambda low, signal, noise, eps: F.interpolate(signal * low + noise * eps, scale_factor=2, mode="nearest"),
        ),
        Mistake(
            "noise is a standard deviation already: do not square it.",
            lambda low, signal, noise, eps: F.interpolate(
                signal * low + noise**2 * eps, scale_factor=2, mode="bilinear"
            ),
        ),
    ],
    lambda: [(_normal(2, 3, 4, 4).tanh(), 0.96, 0.28, _normal(2, 3, 4, 4, seed=1))],
)


def clip_push(eps, image_emb, text_emb, gradient_of, noise, scale):
    return eps - noise * scale * gradient_of((image_emb * text_emb).sum())


def _clip_push_inputs() -> list[tuple]:
    """A linear image tower: embedding = x A. The gradient of the dot product is then known by autograd."""
    inputs = []
    for seed, scale in ((0, 1.0), (3, 4.0)):
        x, tower = _normal(3, 4, seed=seed).requires_grad_(True), _normal(4, 2, seed=seed + 1)
        text_emb, eps = _normal(3, 2, seed=seed + 2), _normal(3, 4, seed=seed + 5)

        def gradient_of(value, x=x):
            return torch.autograd.grad(value, x, retain_graph=True)[0].detach()

        inputs.append((eps, x @ tower, text_emb, gradient_of, 0.6, scale))
    return inputs


CLIP_PUSH = Exercise(
    "glide.clip_push",
    "Write clip_push(eps, image_emb, text_emb, gradient_of, noise, scale): the guess eps of the noise, moved by CLIP "
    "guidance. image_emb and text_emb are (b, d), one row a picture; gradient_of(value) is the gradient of one number "
    "with respect to x_t, and noise is sqrt(1 - alpha_bar).",
    "A classifier moves eps by - noise scale grad log p (lesson 12). Here the place of log p is taken by the dot "
    "product of each picture with its own caption; their sum has the gradient of each.",
    clip_push,
    [
        Mistake(
            "the sign: eps points away from the data, so it moves *against* the gradient. With plus you walk away from "
            "the caption.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps + noise * scale * gradient_of((image_emb * text_emb).sum())
            ),
        ),
        Mistake(
            "the factor sqrt(1 - alpha_bar) is missing: it makes a score into noise.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps - scale * gradient_of((image_emb * text_emb).sum())
            ),
        ),
        Mistake(
            "you compared every picture with every caption. Each is to be pushed to its own: multiply row by row.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps - noise * scale * gradient_of((image_emb @ text_emb.T).sum())
            ),
        ),
        Mistake(
            "you took the mean over the batch. Then the push depends on how many pictures happen to be drawn together: "
            "take the sum.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps - noise * scale * gradient_of((image_emb * text_emb).sum(1).mean())
            ),
        ),
        Mistake(
            "the scale is missing.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps - noise * gradient_of((image_emb * text_emb).sum())
            ),
        ),
        Mistake(
            "noise is a standard deviation already: do not square it.",
            lambda eps, image_emb, text_emb, gradient_of, noise, scale: (
                eps - noise**2 * scale * gradient_of((image_emb * text_emb).sum())
            ),
        ),
    ],
    _clip_push_inputs,
)

EXERCISES: list[Exercise] = [PUT_BACK, BEGIN, HOLE, WORSEN, CLIP_PUSH]
