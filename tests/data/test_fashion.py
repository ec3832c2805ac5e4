import gzip
import shutil
import struct

import pytest
import torch

from edu_diffusion.data import CLASSES, checksum, fashion
from edu_diffusion.data.fashion import read_idx, to_unit_range

MODULE = "edu_diffusion.data.fashion"


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """A copy of the small test-set files to break at will, with nothing cached."""
    import importlib

    module = importlib.import_module(MODULE)
    for name in module._SHA256:
        if name.startswith("t10k"):
            shutil.copy(module.FILES / name, tmp_path)
    monkeypatch.setattr(module, "FILES", tmp_path)
    fashion.cache_clear()
    yield tmp_path
    fashion.cache_clear()


def test_test_split_is_whole_and_balanced():
    data = fashion("test")
    assert len(data) == 10_000 and data.levels.shape == (10_000, 1, 28, 28)
    assert data.y.bincount().tolist() == [1000] * 10
    assert CLASSES[data.y[0]] == "Ankle boot"


def test_train_split_is_whole_and_balanced():
    data = fashion("train")
    assert data.levels.shape == (60_000, 1, 28, 28)
    assert data.y.bincount().tolist() == [6000] * 10
    # The published mean of the training pixels, 0.2860 on a scale of 0 to 1.
    assert data.levels.double().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_pictures_are_floats_from_minus_one_to_one():
    x = fashion("test").x
    assert x.dtype == torch.float32 and (x.min(), x.max()) == (-1, 1)


def test_levels_survive_the_change_of_range():
    levels = torch.arange(256, dtype=torch.uint8)
    assert ((to_unit_range(levels) + 1) * 127.5).round().byte().equal(levels)


def test_indexing_converts_only_what_is_named():
    data, index = fashion("test"), torch.tensor([5, 0, 7])
    batch = data[index]
    assert batch.x.equal(data.x[index]) and batch.y.equal(data.y[index])


def test_data_is_read_once():
    assert fashion("test") is fashion("test")


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'validation'"):
        fashion("validation")


def test_missing_file_says_what_to_do(own_files):
    (own_files / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="git checkout"):
        fashion("test")


def test_damaged_file_is_refused(own_files):
    path = own_files / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.*install the package again"):
        fashion("test")


def test_cut_file_is_refused(own_files):
    path = own_files / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        fashion("test")


def test_another_valid_file_in_its_place_is_refused(own_files):
    path = own_files / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"\3"))
    with pytest.raises(ValueError, match="damaged"):
        fashion("test")


def test_checksum_names_the_content_of_whole_files_only(own_files):
    with pytest.raises(FileNotFoundError, match="train-images"):
        checksum()


def test_checksum_is_stable():
    assert checksum() == "db968b44897a"


def test_idx_is_read_in_row_order():
    content = b"\0\0\x08\x02" + struct.pack(">ii", 2, 3) + bytes(range(6))
    assert read_idx(content).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\x89PNG....", b"\0\0\x0d\x01" + bytes(8)])
def test_what_is_not_idx_is_refused(content):
    with pytest.raises(ValueError, match="idx"):
        read_idx(content)


@pytest.mark.parametrize("content", [b"\0\0\x08\x01" + struct.pack(">i", 9) + b"abc", b"\0\0\x08\x02\0\0\0\1"])
def test_idx_of_the_wrong_length_is_refused(content):
    with pytest.raises(ValueError, match="idx"):
        read_idx(content)
