"""The five models of unCLIP, as small as they can be, untrained: for tests of what is done with them."""

import torch
from torch import nn
from torch.nn import functional as F

from edu_diffusion.conditioning.text import TextEncoder, Tokenizer
from edu_diffusion.systems.clip import CLIP, ClipRecipe, ImageTower, freeze
from edu_diffusion.systems.decoder import Decoder, DecoderNet
from edu_diffusion.systems.prior import DiffusionPrior, PriorNet
from edu_diffusion.systems.unclip import UnCLIP
from edu_diffusion.systems.upsampler import Upsampler, up_unet

WORDS = ("a", "red", "blue", "star", "ring", "above", "红色", "星星")
WIDTH, TEXT, LENGTH = 16, 32, 10
SMALL = {"widths": (16, 16), "attention": (False, True), "head_width": 16}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(net: nn.Module, seed: int = 1) -> nn.Module:
    """A network whose last layers are no longer 0, so that what it is told can be seen in what it says."""
    generator = seeded(seed)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


def tiny_clip(seed: int = 0, tokenizer: Tokenizer | None = None) -> ClipRecipe:
    tokenizer = tokenizer or Tokenizer(WORDS, LENGTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = TextEncoder(tokenizer.size, length=tokenizer.length, width=TEXT, depth=1)
        return freeze(ClipRecipe(CLIP(ImageTower(WIDTH, widths=(16, 16)), text, WIDTH), tokenizer))


def tiny_decoder(clip: ClipRecipe | None = None, *, text: bool = True, **options) -> Decoder:
    clip = clip or tiny_clip()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = DecoderNet(WIDTH, text=TEXT if text else None, **SMALL | options)
    return Decoder(clip=clip, net=net, tokenizer=clip.tokenizer)


def tiny_unclip(clip: ClipRecipe | None = None) -> UnCLIP:
    clip = clip or tiny_clip()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = DiffusionPrior(
            clip=clip, net=PriorNet(WIDTH, text=TEXT, length=clip.tokenizer.length, width=32, depth=1)
        )
        prior.fit(F.normalize(torch.randn(200, WIDTH), dim=1))
        decoder = tiny_decoder(clip)
        decoder.sign()
        narrow = {"widths": (16, 16), "attention": (False, False)}
        ups = [Upsampler(size=size, net=up_unet(size, **narrow)) for size in (32, 64)]
    for system in (prior, decoder, *ups):
        shaken(system.modules["net"])
    return UnCLIP(clip, prior, decoder, *ups)


def pictures(n: int = 4, size: int = 64) -> torch.Tensor:
    """Bright squares at different places on black."""
    x = -torch.ones(n, 3, size, size)
    for i in range(n):
        at = 4 + (7 * i) % (size // 2)
        x[i, i % 3, at : at + size // 3, at : at + size // 3] = 0.9
    return x
