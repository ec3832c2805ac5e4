"""Exercises of lesson 03, the masked autoencoder: patches, masks, and the loss of what is hidden."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.exercises.core import Exercise, Mistake


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _chances(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def choose(chance, visible):
    return chance.argsort(1)[:, :visible]


CHOOSE = Exercise(
    "masked.choose",
    "Write choose(chance, visible): which patches are shown. chance, of shape (b, n), holds a random number for each "
    "patch of each picture; return the numbers of the `visible` patches with the smallest chance, smallest first, of "
    "shape (b, visible).",
    "chance.argsort(1) puts the numbers of each picture's patches in the order of their chances.",
    choose,
    [
        Mistake(
            "every picture has the same patches hidden: you sorted the chances of the first picture only. Sort each "
            "row by itself.",
            lambda chance, visible: chance[0].argsort()[:visible].expand(len(chance), -1),
        ),
        Mistake(
            "those are the hidden patches. Return the visible ones: the encoder is given what is shown.",
            lambda chance, visible: chance.argsort(1)[:, visible:],
        ),
        Mistake(
            "those with the largest chance: as good a lottery, but the smallest were asked for, so that your result "
            "can be compared.",
            lambda chance, visible: chance.argsort(1, descending=True)[:, :visible],
        ),
        Mistake(
            "a coin for each patch: some pictures then show more patches than others, and a batch no longer fits into "
            "one tensor. Sort, and take the first `visible`.",
            lambda chance, visible: chance < visible / chance.shape[1],
        ),
        Mistake(
            "you sorted along the pictures (axis 0). The lottery is among the patches of one picture: axis 1.",
            lambda chance, visible: chance.argsort(0)[:, :visible],
        ),
        Mistake(
            "those are ranks: which place in the order the first patches have. One argsort is enough; it gives the "
            "numbers of the patches.",
            lambda chance, visible: chance.argsort(1).argsort(1)[:, :visible],
        ),
        Mistake(
            "those are the chances themselves. Their places were asked for: argsort, not sort.",
            lambda chance, visible: chance.sort(1).values[:, :visible],
        ),
    ],
    lambda: [(_chances(4, 9), 3), (_chances(5, 49, seed=1), 12)],
)


def loss(guess, target, hide):
    error = (guess - target).square().mean(-1)
    return (error * hide).sum() / hide.sum()


LOSS = Exercise(
    "masked.loss",
    "Write loss(guess, target, hide): the mean squared error of the hidden patches, one number. guess and target have "
    "shape (b, n, d), hide has shape (b, n) and is True at the hidden patches.",
    "First one error for each patch: the mean over the last axis. Then the mean of those where hide is True.",
    loss,
    [
        Mistake(
            "all patches count. The visible ones were shown to the network: only the hidden ones are a question.",
            lambda guess, target, hide: (guess - target).square().mean(),
        ),
        Mistake(
            "the wrong ones count: those where hide is False. That pays for repeating what was shown.",
            lambda guess, target, hide: loss(guess, target, ~hide),
        ),
        Mistake(
            "only hidden patches are added up, but you divide by the number of all: the more you hide, the larger the "
            "loss would seem. Divide by hide.sum().",
            lambda guess, target, hide: ((guess - target).square().mean(-1) * hide).mean(),
        ),
        Mistake(
            "you add up and do not divide: the loss then grows with the batch. Divide by hide.sum().",
            lambda guess, target, hide: ((guess - target).square().mean(-1) * hide).sum(),
        ),
        Mistake(
            "the square of a patch's mean error: errors of both signs cancel. First square, then take the mean.",
            lambda guess, target, hide: ((guess - target).mean(-1).square() * hide).sum() / hide.sum(),
        ),
        Mistake(
            "you sum over the numbers of a patch. Take their mean, so that the loss is an error of one pixel.",
            lambda guess, target, hide: ((guess - target).square().sum(-1) * hide).sum() / hide.sum(),
        ),
        Mistake(
            "that is the root of the mean squared error. No root was asked for.",
            lambda guess, target, hide: loss(guess, target, hide).sqrt(),
        ),
        Mistake(
            "absolute errors. The squared error was asked for: its best guess is the mean.",
            lambda guess, target, hide: ((guess - target).abs().mean(-1) * hide).sum() / hide.sum(),
        ),
    ],
    lambda: [
        (_normal(3, 8, 4), _normal(3, 8, 4, seed=1), _chances(3, 8, seed=2).argsort(1) >= 2),
        (_normal(2, 6, 16, seed=3), _normal(2, 6, 16, seed=4), _chances(2, 6, seed=5).argsort(1) >= 3),
    ],
)


def patchify(x, patch):
    b, c, h, w = x.shape
    cut = x.reshape(b, c, h // patch, patch, w // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _strips(x, patch):
    return x.reshape(len(x), -1, patch**2)


def _cut(x, patch):
    """Axes: example, row of patches, row in a patch, column of patches, column in a patch."""
    return x[:, 0].unflatten(2, (-1, patch)).unflatten(1, (-1, patch))


def _scattered(x, patch):
    split = x[:, 0].unflatten(2, (patch, -1)).unflatten(1, (patch, -1))
    return split.permute(0, 2, 4, 1, 3).flatten(3).flatten(1, 2)


PATCHIFY = Exercise(
    "masked.patchify",
    "Write patchify(x, patch): grey pictures (b, 1, h, w) as lists of patches (b, n, patch * patch), row by row, from "
    "the upper left; inside a patch row by row too.",
    "Split height into (rows of patches, patch) and width into (columns of patches, patch), with unflatten. Bring the "
    "two axes that count patches to the front, with permute, then flatten twice.",
    patchify,
    [
        Mistake(
            "you only reshaped. That cuts the picture's long row of pixels into strips: the first 'patch' is a piece "
            "of the top rows, not a square. The axes must be permuted first.",
            _strips,
        ),
        Mistake(
            "the patches come column by column. Row by row was asked for: the axis of the rows goes first.",
            lambda x, patch: _cut(x, patch).permute(0, 3, 1, 2, 4).flatten(3).flatten(1, 2),
        ),
        Mistake(
            "the patches are right, but each lies on its side: its pixels come column by column.",
            lambda x, patch: _cut(x, patch).permute(0, 1, 3, 4, 2).flatten(3).flatten(1, 2),
        ),
        Mistake(
            "the last two axes are swapped: (b, numbers of a patch, patches). A transformer wants the list first: "
            "transpose them.",
            lambda x, patch: F.pixel_unshuffle(x, patch).flatten(2),
        ),
        Mistake(
            "each of your patches holds pixels from all over the picture: the two axes of a split are swapped. The "
            "outer one counts patches, the inner one counts pixels.",
            _scattered,
        ),
    ],
    lambda: [(_normal(2, 1, 8, 12), 4), (_normal(3, 1, 6, 4, seed=1), 2)],
)


def put_back(seen, keep, mask, count):
    everywhere = mask.expand(len(seen), count, -1)
    return everywhere.scatter(1, keep[..., None].expand_as(seen), seen)


def _at_the_end(seen, keep, mask, count):
    rest = mask.expand(len(seen), count - seen.shape[1], -1)
    return torch.cat([seen, rest], 1)


def _first_for_all(seen, keep, mask, count):
    out = mask.repeat(len(seen), count, 1)
    out[:, keep[0]] = seen
    return out


def _sorted(seen, keep, mask, count):
    return put_back(seen, keep.sort(1).values, mask, count)


PUT_BACK = Exercise(
    "masked.put_back",
    "Write put_back(seen, keep, mask, count): what the decoder gets. seen, (b, k, w), are the tokens of the visible "
    "patches; keep, (b, k), says at which of the `count` places each belongs; mask, (1, 1, w), goes to all other "
    "places. Return (b, count, w).",
    "Begin as if nothing were visible: the mask at every place. tensor.scatter(1, index, source) then writes source at "
    "the places in index; but index must have the shape of source, and keep has one axis less.",
    put_back,
    [
        Mistake(
            "the visible tokens stand first and the masks after them. Each token must go back to its own place, keep: "
            "the places are added next, and would be wrong.",
            _at_the_end,
        ),
        Mistake(
            "all pictures are put back by the first picture's places. Each has its own row in keep.",
            _first_for_all,
        ),
        Mistake(
            "the other places hold zeros. They must hold the mask token: it is learned, and says 'something is "
            "missing here'.",
            lambda seen, keep, mask, count: put_back(seen, keep, torch.zeros_like(mask), count),
        ),
        Mistake(
            "the visible tokens were added to the mask token. They must take its place.",
            lambda seen, keep, mask, count: put_back(seen + mask, keep, mask, count),
        ),
        Mistake(
            "you sorted the places, but not the tokens: token i belongs at place keep[:, i], in whatever order.",
            _sorted,
        ),
    ],
    lambda: [
        (_normal(3, 4, 5), _chances(3, 10, seed=1).argsort(1)[:, :4], _normal(1, 1, 5, seed=2), 10),
        (_normal(2, 2, 3, seed=3), _chances(2, 6, seed=4).argsort(1)[:, :2], _normal(1, 1, 3, seed=5), 6),
    ],
)


def normalise(patches):
    variance, mean = torch.var_mean(patches, -1, correction=0, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def _over(*axes):
    def wrong(patches):
        variance, mean = torch.var_mean(patches, axes, correction=0, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()

    return wrong


def _centred(patches):
    return patches - patches.mean(-1, keepdim=True)


def _some_patches() -> Tensor:
    """Patches of several brightnesses and contrasts; one of them is plain."""
    contrast, brightness = 0.1 + _chances(3, 4, 1, seed=1), _normal(3, 4, 1, seed=2)
    patches = contrast * _normal(3, 4, 9) + brightness
    patches[1, 2] = 0.5
    return patches


NORMALISE = Exercise(
    "masked.normalise",
    "Write normalise(patches): the target of the paper's best models. Of each patch, (b, n, d), subtract its own mean "
    "and divide by its own standard deviation, the root of variance + 0.000001 (a plain patch then becomes 0). The "
    "variance is the mean squared distance from the mean.",
    "patches.mean(-1, keepdim=True) is each patch's mean, shaped to broadcast; patches.var(-1, correction=0, "
    "keepdim=True) its variance.",
    normalise,
    [
        Mistake(
            "mean and deviation are those of the whole batch. Each patch has its own: the last axis alone.",
            _over(0, 1, 2),
        ),
        Mistake(
            "mean and deviation are those of the whole picture. Each patch has its own: the last axis alone.",
            _over(1, 2),
        ),
        Mistake(
            "mean and deviation are those of each pixel over pictures and patches, as a batch norm's. Each patch has "
            "its own: the last axis.",
            _over(0, 1),
        ),
        Mistake(
            "the mean is gone, but the contrast is still there: divide by the deviation.",
            _centred,
        ),
        Mistake(
            "you divide by the variance. Its root, the standard deviation, has the unit of the pixels.",
            lambda patches: _centred(patches) / (patches.var(-1, correction=0, keepdim=True) + 1e-6),
        ),
        Mistake(
            "you divided, but the mean was not subtracted.",
            lambda patches: patches / (patches.var(-1, correction=0, keepdim=True) + 1e-6).sqrt(),
        ),
        Mistake(
            "a plain patch gives NaN, 0 / 0: add 0.000001 to the variance before the root.",
            lambda patches: _centred(patches) / patches.var(-1, correction=0, keepdim=True).sqrt(),
        ),
        Mistake(
            "nearly: torch's var divides by d - 1. The mean squared distance divides by d: correction=0.",
            lambda patches: _centred(patches) / (patches.var(-1, keepdim=True) + 1e-6).sqrt(),
        ),
    ],
    lambda: [(_some_patches(),)],
)


def _block(n, width):
    return 12 * n * width**2 + 2 * n**2 * width


def saved(n, visible, width):
    cost = [12 * tokens * width**2 + 2 * tokens**2 * width for tokens in (n, visible)]
    return cost[0] / cost[1]


SAVED = Exercise(
    "masked.saved",
    "Write saved(n, visible, width): how many times fewer multiplications a block of the encoder makes for `visible` "
    "tokens than for n. For m tokens they are 12 m width**2 (each token by itself) plus 2 m**2 width (each pair).",
    "Count both, and divide.",
    saved,
    [
        Mistake(
            "that leaves out the pairs: attention compares every token with every other, 2 m**2 width.",
            lambda n, visible, width: n / visible,
        ),
        Mistake(
            "you count the pairs only. Most of the work is what each token does by itself: 12 m width**2.",
            lambda n, visible, width: (n / visible) ** 2,
        ),
        Mistake(
            "upside down: that is the share that is left.",
            lambda n, visible, width: 1 / saved(n, visible, width),
        ),
        Mistake(
            "the share of the work that is saved, and not how many times less it is.",
            lambda n, visible, width: 1 - 1 / saved(n, visible, width),
        ),
        Mistake(
            "you compare with the hidden patches. The encoder sees the visible ones.",
            lambda n, visible, width: _block(n, width) / _block(n - visible, width),
        ),
        Mistake(
            "the pairs cost twice: once for the scores, once for the weighted sum. 2 m**2 width, and you have half.",
            lambda n, visible, width: (12 * width + n) * n / ((12 * width + visible) * visible),
        ),
    ],
    lambda: [(49, 12, 128), (196, 49, 1024), (1024, 103, 64)],
)

EXERCISES: list[Exercise] = [CHOOSE, LOSS, PATCHIFY, PUT_BACK, NORMALISE, SAVED]
