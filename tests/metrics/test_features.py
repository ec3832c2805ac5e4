import inspect

import pytest
import torch
from torch import nn

from edu_diffusion.metrics import check_images, extract


def pictures(n: int = 20) -> torch.Tensor:
    return 2 * torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 1


def flat(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Dropout(0.5)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).flatten(1)


@pytest.mark.parametrize("batch", [1, 7, 20, 100])
def test_every_picture_is_read_in_order(batch):
    assert extract(flat, pictures(), batch).equal(flat(pictures()))


def test_a_module_works_in_evaluation_mode_and_comes_back_as_it_was():
    module = Dropping()
    module.inner.eval().train()
    assert extract(module.features, pictures()).equal(flat(pictures()))
    assert module.training and module.inner.training


def test_parts_that_were_frozen_stay_frozen():
    module = Dropping()
    module.inner.eval()
    extract(module.features, pictures())
    assert module.training and not module.inner.training


def test_the_mode_comes_back_after_an_error_too():
    module = Dropping()
    with pytest.raises(ValueError):
        extract(module.inner, pictures())  # pictures in, pictures out: no vectors
    assert module.inner.training


def test_no_gradients_are_kept():
    layer = nn.Linear(16, 3)
    assert not extract(lambda x: layer(x.flatten(1)), pictures()).requires_grad


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (pictures() * 1.1, r"outside|must lie in \[-1, 1\]"),
        (pictures() * 127.5 + 127.5, r"127\.5"),
        ((pictures() + 1) / 2, r"looks like \[0, 1\]"),
        (pictures() / 0, "finite"),
        (pictures()[:0], "n > 0"),
    ],
)
def test_bad_pictures_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        extract(flat, images)


def test_nan_hidden_among_good_pixels_is_refused():
    images = pictures()
    images[7, 0, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        extract(flat, images)


def test_flattened_pictures_are_refused():
    with pytest.raises(ValueError, match="n, channels, height, width"):
        inspect.unwrap(check_images)(flat(pictures()))  # without the shape check that only the tests have


def test_one_bright_picture_is_allowed():
    assert extract(flat, torch.ones(1, 1, 4, 4)).shape == (1, 16)


def test_features_must_be_vectors_and_finite():
    with pytest.raises(ValueError, match="one vector for each picture"):
        extract(lambda x: x, pictures())
    with pytest.raises(ValueError, match="one vector for each picture"):
        extract(lambda x: x.flatten(1).mean(0, keepdim=True), pictures())
    with pytest.raises(ValueError, match="finite"):
        extract(lambda x: x.flatten(1).log(), pictures())
