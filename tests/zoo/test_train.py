import json

import pytest
import torch
from torch import nn

from edu_diffusion.data import checksum
from edu_diffusion.training import Checkpoint, pick_runtime
from edu_diffusion.zoo import card, load
from edu_diffusion.zoo.entry import Plan
from edu_diffusion.zoo.store import card_path, weights_path
from edu_diffusion.zoo.train import train_entry
from tests.zoo.conftest import STEPS, tiny_ddpm


def train(entry, path, **options):
    return list(train_entry(entry, path / "runs", folder=path, **options))


def x0(system) -> torch.Tensor:
    x_t = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return system.denoiser(x_t, 500).x0


def test_a_training_ends_with_weights_and_a_card(tiny, tmp_path):
    logs = train(tiny, tmp_path)
    made = card("tiny", tmp_path)
    assert logs[-1].step == made.steps == STEPS and made.images == 2 * STEPS
    assert made.weight_bytes == weights_path("tiny", tmp_path).stat().st_size
    assert made.parameters == sum(p.numel() for p in tiny.build().net.parameters())
    assert made.data_checksum == checksum() and made.seed == 0 and made.results == {}
    assert made.recipe["ema"] == 0.997 and set(made.versions) >= {"python", "torch"} and made.machine


def test_the_system_loaded_has_the_averaged_weights(tiny, tmp_path):
    train(tiny, tmp_path)
    state = Checkpoint(tmp_path / "runs/tiny/checkpoint.pt", "tiny").load()["ema"]["net"]
    kept = {key.removeprefix("module."): value.half().float() for key, value in state.items() if key != "n_averaged"}
    ours = tiny_ddpm()
    ours.net.load_state_dict(kept)
    ours.modules["net"] = pick_runtime("cpu").wrap(ours.net.eval())  # in half precision where the loaded one is
    loaded = load("tiny", "cpu", tmp_path)
    assert not loaded.net.training and not any(p.requires_grad for p in loaded.net.parameters())
    assert torch.allclose(x0(loaded), x0(ours), atol=1e-4)
    assert not torch.allclose(x0(loaded), x0(tiny_ddpm()), atol=1e-2)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tiny, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(tiny, whole)
    logs = train_entry(tiny, cut / "runs", folder=cut)
    assert next(logs).step == 20
    logs.close()
    assert not card_path("tiny", cut).exists()
    assert [log.step for log in train(tiny, cut)] == [STEPS]
    assert card("tiny", cut).weight_sha256 == card("tiny", whole).weight_sha256


def test_a_finished_training_only_writes_its_files_again(tiny, tmp_path):
    train(tiny, tmp_path)
    before = json.loads(card_path("tiny", tmp_path).read_text())
    card_path("tiny", tmp_path).unlink()
    assert train(tiny, tmp_path) == []
    assert json.loads(card_path("tiny", tmp_path).read_text()) == before


def test_steps_may_be_given(tiny, tmp_path):
    train(tiny, tmp_path, steps=3)
    assert card("tiny", tmp_path).steps == 3


def test_a_checkpoint_of_another_system_is_refused(tiny, tmp_path):
    path = tmp_path / "runs/tiny/checkpoint.pt"
    Checkpoint(path, "gan").save({})
    with pytest.raises(ValueError, match="'gan', not of 'tiny'"):
        train(tiny, tmp_path)


class TestPlan:
    def test_a_part_learns_more_slowly(self):
        module = nn.ModuleDict({"text": nn.Linear(2, 2), "unet": nn.Linear(2, 3)})
        groups = {group["lr"]: group["params"] for group in Plan(1, rate=0.1, slower={"text.": 0.2}).groups(module)}
        assert [id(p) for p in groups[0.1]] == [id(p) for p in module["unet"].parameters()]
        assert [id(p) for p in groups[0.2 * 0.1]] == [id(p) for p in module["text"].parameters()]

    def test_without_slower_parts_there_is_one_group(self):
        (group,) = Plan(1).groups(nn.Linear(2, 2))
        assert group["lr"] == Plan(1).rate and len(group["params"]) == 2

    def test_a_name_that_fits_nothing_is_refused(self):
        with pytest.raises(ValueError, match=r"no parameter's name begins as slower says \(text\.\)"):
            Plan(1, slower={"text.": 0.2}).groups(nn.Linear(2, 2))
