import hashlib
import json
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from edu_diffusion.zoo import card, load
from edu_diffusion.zoo.store import LARGEST, card_path, read_card, read_weights, weights_path, write_weights


def test_a_trained_entry_loads(zoo):
    assert load("tiny", "cpu", zoo).denoiser.schedule.T == 1000


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="no 'ddpm-fahsion'; did you mean 'ddpm-fashion'"):
        load("ddpm-fahsion")
    with pytest.raises(ValueError, match="did you mean 'ddpm-fashion'"):
        card("ddpm")


def test_an_entry_that_is_not_trained_says_how(tiny, tmp_path):
    for ask in (lambda: load("tiny", "cpu", tmp_path), lambda: card("tiny", tmp_path)):
        with pytest.raises(FileNotFoundError, match="python -m edu_diffusion train tiny"):
            ask()


def flip_a_byte(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [flip_a_byte, lambda data: data[:-100], lambda data: b""])
def test_damaged_weights_are_refused(zoo, damage):
    path = weights_path("tiny", zoo)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"tiny\.safetensors are damaged.*train tiny"):
        load("tiny", "cpu", zoo)


def test_missing_weights_are_refused(zoo):
    weights_path("tiny", zoo).unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny\.safetensors are missing.*train tiny"):
        load("tiny", "cpu", zoo)


def test_what_is_no_safetensors_file_is_refused_even_with_the_right_sum(zoo):
    data = b"not what it says"
    weights_path("tiny", zoo).write_bytes(data)
    made = replace(card("tiny", zoo), weight_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ValueError, match="no safetensors file"):
        read_weights(made, {"net": nn.Linear(2, 2)}, zoo)


def test_the_weights_of_another_network_are_refused(zoo, wide):
    with pytest.raises(ValueError, match=r"tiny\.safetensors do not fit this network"):
        load("tiny", "cpu", zoo)


def test_weights_of_a_part_that_is_not_there_are_refused(zoo):
    with pytest.raises(ValueError, match="do not fit"):
        read_weights(card("tiny", zoo), {"other": nn.Linear(2, 2)}, zoo)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-50],
        lambda text: "[]",
        lambda text: text.replace('"seed"', '"sead"'),
        lambda text: json.dumps(json.loads(text) | {"results": {"fd": {"value": 1}}}),
        lambda text: json.dumps(json.loads(text) | {"results": {"fd": 3}}),
        lambda text: json.dumps(json.loads(text) | {"results": None}),
    ],
)
def test_damaged_cards_are_refused(zoo, damage):
    path = card_path("tiny", zoo)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"the card tiny\.json is damaged"):
        load("tiny", "cpu", zoo)


def test_a_full_disk_keeps_the_card_that_was_there(zoo, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the file that was there is kept"):
        replace(card("tiny", zoo), minutes=99.0).save(card_path("tiny", zoo))
    assert card("tiny", zoo).minutes != 99.0


def test_results_come_back_from_the_card(zoo, tiny):
    read_card("tiny", zoo).with_results(tiny.measure(None)).save(card_path("tiny", zoo))
    again = read_card("tiny", zoo)
    assert again.results["fd"].floor == 0.5 and again.results["fd"].value == 1.5
    assert again.with_results({"other": again.results["fd"]}).results.keys() == {"other"}
    assert "Fréchet distance 1.5" in again._repr_html_()


def test_weights_keep_half_precision(tmp_path, tiny, zoo):
    net, again = nn.Linear(30, 20), nn.Linear(30, 20)
    size, digest = write_weights("linear", {"net": net}, tmp_path)
    assert size < 2 * 620 + 300
    made = replace(card("tiny", zoo), name="linear", weight_sha256=digest)
    read_weights(made, {"net": again}, tmp_path)
    assert again.weight.dtype == torch.float32
    assert again.weight.equal(net.weight.half().float()) and again.bias.equal(net.bias.half().float())


def test_weights_that_are_too_large_are_not_written(tmp_path):
    big = nn.Linear(LARGEST // 2 // 1000 + 1, 1000)
    with pytest.raises(ValueError, match=r"the zoo allows 8,388,608: make the network smaller"):
        write_weights("big", {"net": big}, tmp_path)
    assert not weights_path("big", tmp_path).exists()


def test_an_interrupted_write_keeps_the_weights_that_were_there(zoo, monkeypatch):
    before = weights_path("tiny", zoo).read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="free some space"):
        write_weights("tiny", {"net": nn.Linear(2, 2)}, zoo)
    assert weights_path("tiny", zoo).read_bytes() == before
    assert [path.name for path in (zoo / "weights").iterdir()] == ["tiny.safetensors"]
