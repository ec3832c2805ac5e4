"""The types that rooms hand to each other."""

import jaxtyping
import pytest
import torch

from edu_diffusion.mode import fast, pick
from edu_diffusion.types import Batch, Cond


def test_conditions_join_select_and_expand():
    a = Cond(vec=torch.zeros(1, 2), tokens=torch.zeros(1, 3, 4))
    b = Cond(vec=torch.ones(2, 2), tokens=torch.ones(2, 3, 4))
    both = Cond.cat([a, b])
    assert len(both) == 3 and both.spatial is None
    assert both.select(torch.tensor([2, 0])).vec[:, 0].tolist() == [1, 0]
    assert len(a.expand(5)) == 5
    assert len(Cond()) == 0


def test_conditions_that_do_not_agree_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # outside the tests nothing checks shapes first
    with pytest.raises(ValueError, match="one batch size"):
        len(Cond(vec=torch.zeros(1, 2), spatial=torch.zeros(2, 1, 4, 4)))
    with pytest.raises(ValueError, match="'tokens'"):
        Cond.cat([Cond(vec=torch.zeros(1, 2)), Cond(vec=torch.zeros(1, 2), tokens=torch.zeros(1, 3, 4))])


def test_a_batch_knows_its_length():
    assert len(Batch(torch.zeros(4, 2))) == 4
    assert Batch(torch.zeros(4, 2)).to("cpu").y is None


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_fast_mode(monkeypatch, value, expected):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", value)
    assert fast() is expected
    assert pick("full", "quick") == ("quick" if expected else "full")


def test_fast_mode_is_on_or_off(monkeypatch):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", "yes")
    with pytest.raises(ValueError, match="0 or 1, got 'yes'"):
        fast()
