"""Checkpoints: whole or not at all, and only into what they came from."""

import errno
import hashlib
import io
import os

import pytest
import torch

from edu_diffusion.training import Checkpoint


def test_what_was_saved_comes_back(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "run.pt", "a system")
    assert not checkpoint.exists()
    checkpoint.save({"step": 3, "weights": torch.arange(4)})
    assert checkpoint.exists()
    assert checkpoint.load()["step"] == 3
    assert torch.equal(checkpoint.load()["weights"], torch.arange(4))


def test_an_interrupted_save_keeps_the_last_good_one(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "run.pt", "a system")
    checkpoint.save({"step": 1})

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"step": 2})
    assert checkpoint.load()["step"] == 1
    assert os.listdir(tmp_path) == ["run.pt"]


def test_a_full_disk_keeps_the_last_good_one_and_says_so(tmp_path):
    """A real one: /dev/full answers every write as a full disk does."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    checkpoint = Checkpoint(tmp_path / "run.pt", "a system")
    checkpoint.save({"step": 1})

    def full(directory, prefix, suffix):
        name = tmp_path / "part.tmp"
        name.touch()
        return os.open("/dev/full", os.O_WRONLY), str(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.mkstemp", lambda dir, prefix, suffix: full(dir, prefix, suffix))
        with pytest.raises(OSError, match="free some space"):
            checkpoint.save({"step": 2, "weights": torch.zeros(10_000)})
    assert checkpoint.load()["step"] == 1
    assert os.listdir(tmp_path) == ["run.pt"]


def test_a_failing_disk_is_an_oserror_that_names_the_file(tmp_path, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match=r"could not write .*run\.pt"):
        Checkpoint(tmp_path / "run.pt", "a system").save({"step": 1})


def test_another_systems_checkpoint_is_refused(tmp_path):
    Checkpoint(tmp_path / "run.pt", "a gan").save({})
    with pytest.raises(ValueError, match="checkpoint of 'a gan', not of 'a ddpm'"):
        Checkpoint(tmp_path / "run.pt", "a ddpm").load()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "one bit"])
def test_a_damaged_one_is_refused(tmp_path, damage):
    path = tmp_path / "run.pt"
    Checkpoint(path, "a system").save({"weights": torch.zeros(1000)})
    good = path.read_bytes()
    flipped = good[:2000] + bytes([good[2000] ^ 1]) + good[2001:]
    bad = {"truncated": good[:500], "garbage": b"not a checkpoint" * 99, "empty": b"", "one bit": flipped}
    path.write_bytes(bad[damage])
    with pytest.raises(ValueError, match="damaged"):
        Checkpoint(path, "a system").load()


def test_one_that_cannot_be_read_is_not_called_damaged(tmp_path):
    with pytest.raises(OSError, match=r"run\.pt"):
        (tmp_path / "run.pt").mkdir()
        Checkpoint(tmp_path / "run.pt", "a system").load()


def test_a_missing_one_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Checkpoint(tmp_path / "none.pt", "a system").load()


def test_reading_runs_no_code(tmp_path):
    """A pickle that would run a command when loaded the unsafe way."""
    path, proof = tmp_path / "run.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    buffer = io.BytesIO()
    torch.save({"system": "a system", "state": Evil()}, buffer)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(ValueError, match="no checkpoint of this course"):
        Checkpoint(path, "a system").load()
    assert not proof.exists()
