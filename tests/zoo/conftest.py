import shutil
from functools import partial

import pytest

from edu_diffusion.data import LabelledImages, fashion
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.ddpm import DDPM, ddpm_unet
from edu_diffusion.zoo import ENTRIES, Entry, Plan
from edu_diffusion.zoo.train import train_entry

STEPS = 22  # two logs


def few_pictures() -> LabelledImages:
    train = fashion("train")
    return LabelledImages(train.levels[:64], train.y[:64])


def tiny_ddpm(width: int = 16) -> DDPM:
    return DDPM(net=ddpm_unet(widths=(width, 32), attention=(False, False)))


def fake_measure(system, seed=0, samples=8):
    return {"fd": Measured("Fréchet distance", 1.5, samples, seed, floor=0.5)}


TINY = Entry("tiny", "for tests", tiny_ddpm, Plan(steps=STEPS, batch=2), fake_measure, few_pictures)


@pytest.fixture
def tiny(monkeypatch) -> Entry:
    """An entry of the zoo that trains in a second."""
    monkeypatch.setitem(ENTRIES, "tiny", TINY)
    return TINY


@pytest.fixture
def wide(monkeypatch, tiny) -> Entry:
    """The same entry, its network wider than the one that was trained."""
    entry = Entry("tiny", "for tests", partial(tiny_ddpm, 32), TINY.plan, fake_measure, few_pictures)
    monkeypatch.setitem(ENTRIES, "tiny", entry)
    return entry


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for _ in train_entry(TINY, folder / "runs", folder=folder, steps=2):
        pass
    return folder


@pytest.fixture
def zoo(tiny, trained, tmp_path):
    """A folder with one trained entry, to damage as you like."""
    return shutil.copytree(trained, tmp_path / "zoo")
