"""Convolutions that know no time: sizes, a start as the identity, and what one place sees."""

import pytest
import torch

from edu_diffusion.nets import ConvDecoder, ConvEncoder, Residual


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("channels", "widths", "side"), [(1, (32, 64), 7), (3, (16, 32, 32), 4), (1, (16,), 14)])
def test_a_picture_becomes_a_map_and_comes_back(channels, widths, side):
    pixels = side * 2 ** len(widths)
    encoder, decoder = (
        ConvEncoder(5, channels=channels, widths=widths),
        ConvDecoder(5, channels=channels, widths=widths),
    )
    code = encoder(normal(2, channels, pixels, pixels))
    assert code.shape == (2, 5, side, side)
    assert decoder(code).shape == (2, channels, pixels, pixels)


def test_blocks_are_counted_on_both_sides():
    for blocks in (1, 3):
        for net in (ConvEncoder(4, blocks=blocks), ConvDecoder(4, blocks=blocks)):
            assert sum(isinstance(part, Residual) for part in net.modules()) == 2 * blocks


def test_a_residual_block_starts_as_the_identity():
    x = normal(2, 32, 5, 5)
    assert torch.equal(Residual(32)(x), x)


def test_every_pixel_has_a_say_and_every_pixel_is_written():
    torch.manual_seed(0)
    encoder, decoder = ConvEncoder(4), ConvDecoder(4)
    x = normal(1, 1, 28, 28).requires_grad_()
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    code = normal(1, 4, 7, 7).requires_grad_()
    decoder(code).square().sum().backward()
    assert (code.grad != 0).all()


def test_pictures_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    encoder, x = ConvEncoder(4), normal(3, 1, 28, 28)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))
