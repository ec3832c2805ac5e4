"""Labels as conditions, and conditions left out example by example."""

import pytest
import torch

from edu_diffusion.conditioning import Labels, drop
from edu_diffusion.types import Cond, Rng

LABELS = Labels(4)


def test_a_class_is_one_at_its_place():
    assert LABELS(torch.tensor([2, 0])).vec.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert LABELS.null.vec.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("wrong", [-1, 4])
def test_classes_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"0\.\.3, got {wrong}"):
        LABELS(torch.tensor([1, wrong]))


def test_about_the_share_is_left_out_example_by_example():
    cond = LABELS(torch.arange(2000) % 4)
    kept = drop(cond, LABELS.null, 0.25, Rng(0)).vec
    gone = kept.sum(1) == 0
    assert 0.2 < gone.float().mean() < 0.3
    assert kept[~gone].equal(cond.vec[~gone])


@pytest.mark.parametrize(("share", "left"), [(0.0, 50), (1.0, 0)])
def test_none_and_all(share, left):
    assert drop(LABELS(torch.arange(50) % 4), LABELS.null, share, Rng(0)).vec.sum() == left


def test_every_part_of_an_example_goes_together():
    parts = {"vec": torch.ones(40, 2), "tokens": torch.ones(40, 3, 2), "mask": torch.ones(40, 3, dtype=torch.bool)}
    null = Cond(vec=torch.zeros(1, 2), tokens=torch.zeros(1, 3, 2), mask=torch.zeros(1, 3, dtype=torch.bool))
    kept = drop(Cond(**parts), null, 0.5, Rng(0))
    there = [part.flatten(1).float().mean(1) for part in (kept.vec, kept.tokens, kept.mask)]
    assert set(there[0].tolist()) == {0.0, 1.0} and there[0].equal(there[1]) and there[0].equal(there[2])


def test_what_does_not_fit_is_refused():
    cond = LABELS(torch.arange(4))
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1\.5"):
        drop(cond, LABELS.null, 1.5, Rng(0))
    with pytest.raises(ValueError, match="only one of them has 'vec'"):
        drop(cond, Cond(spatial=torch.zeros(1, 1, 2, 2)), 0.5, Rng(0))
