"""Exercises of lesson 14: each accepts its solution, names its mistakes, and agrees with the package."""

import torch

from edu_diffusion.exercises.clip import FOUND, LOSS, PROMPTS
from edu_diffusion.systems.clip import contrastive_loss


def test_the_loss_is_the_packages():
    image, text = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    unit = (torch.nn.functional.normalize(part, dim=1) for part in (image, text))
    torch.testing.assert_close(LOSS.answer(image, text, 7.0), contrastive_loss(*unit, 7.0))


def test_own_ways_are_right_too():
    def by_softmax(image, text, scale):
        cosines = torch.nn.functional.cosine_similarity(image[:, None], text[None], dim=-1)
        both = (scale * cosines).log_softmax(1) + (scale * cosines).log_softmax(0)
        return -both.diagonal().mean() / 2

    assert LOSS.check(by_softmax).right
    assert PROMPTS.check(lambda emb: emb.sum(1) / emb.sum(1).norm(dim=-1, keepdim=True)).right
    assert FOUND.check(lambda a, b: sum(int((x @ b.T).argmax() == i) for i, x in enumerate(a)) / len(a)).right
