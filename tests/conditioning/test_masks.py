"""Holes in pictures: where they lie, and that nothing of what they hide is shown."""

import pytest
import torch

from edu_diffusion.conditioning.masks import box, hole_cond, random_boxes, with_hole
from edu_diffusion.types import Cond, Rng


def test_the_hidden_part_is_not_told():
    x0, mask = torch.rand(2, 3, 8, 8) * 2 - 1, box((8, 8), 2, 3, 4, 2)
    changed = torch.where(mask, -x0, x0)
    told = with_hole(x0, mask)
    assert torch.equal(told, with_hole(changed, mask))
    assert told.shape == (2, 4, 8, 8)
    assert torch.equal(told[:, 3:], mask.float().expand(2, 1, 8, 8))
    assert torch.equal(told[:, :3][~mask.expand(2, 3, 8, 8)], x0[~mask.expand(2, 3, 8, 8)])


def test_grey_and_hidden_are_told_apart():
    grey = torch.zeros(1, 3, 8, 8)
    assert not torch.equal(with_hole(grey, box((8, 8), 0, 0, 2, 2)), with_hole(grey, box((8, 8), 4, 4, 2, 2)))


def test_a_condition_keeps_its_other_parts():
    cond = Cond(torch.ones(2, 5), torch.ones(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))
    joined = hole_cond(cond, torch.zeros(2, 3, 8, 8), box((8, 8), 0, 0, 2, 2))
    assert joined.vec is cond.vec and joined.tokens is cond.tokens and joined.mask is cond.mask
    assert joined.spatial.shape == (2, 4, 8, 8)


class TestRandomBoxes:
    def test_each_is_one_whole_box_within_the_shares(self):
        masks = random_boxes(400, (16, 12), Rng(0), least=0.25, most=0.75)[:, 0]
        for rows, low, high in ((masks.any(2), 4, 12), (masks.any(1), 3, 9)):
            lengths = rows.sum(1)
            assert lengths.min() == low and lengths.max() == high
            # one run of True: exactly one rise, counted with the edge
            rises = (rows.int().diff(dim=1, prepend=torch.zeros(400, 1, dtype=torch.int)) == 1).sum(1)
            assert (rises == 1).all()
        assert torch.equal(masks.sum((1, 2)), masks.any(2).sum(1) * masks.any(1).sum(1))

    def test_every_pixel_is_hidden_now_and_then_and_one_may_hide_all(self):
        masks = random_boxes(500, (8, 8), Rng(1))
        assert masks.any(0).all() and masks.flatten(1).all(1).any() and not masks.all(0).any()

    def test_the_same_seed_gives_the_same(self):
        assert torch.equal(random_boxes(5, (8, 8), Rng(2)), random_boxes(5, (8, 8), Rng(2)))

    @pytest.mark.parametrize("shares", [(0.0, 1.0), (0.5, 0.25), (0.5, 1.5)])
    def test_shares_out_of_range_are_refused(self, shares):
        with pytest.raises(ValueError, match="least"):
            random_boxes(5, (8, 8), Rng(0), *shares)


@pytest.mark.parametrize("where", [(0, 0, 0, 2), (7, 0, 2, 2), (0, -1, 2, 2), (0, 0, 9, 1)])
def test_a_box_that_is_empty_or_outside_is_refused(where):
    with pytest.raises(ValueError, match="does not lie inside"):
        box((8, 8), *where)
