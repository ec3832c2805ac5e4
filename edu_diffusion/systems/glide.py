"""GLIDE: text-guided diffusion and editing (Nichol et al. 2021, arXiv:2112.10741), on one page.

A caption takes the place of the class. A transformer reads it: the caption's own vector is added to the time embedding,
and the words are looked at by attention, beside the picture's places. A third way is ours, for a network as small as
this: the vector as a small map, joined to the noisy picture. For one example in ten the caption is left out, so the
network can be guided without a classifier, as in lesson 13.

The transformer may be new, and learn along with the U-Net, as in the paper. `Glide.from_clip` takes a trained CLIP's
text tower: here that is what makes captions heard at all in an hour of one core. It may stay as it is, or learn along,
but then more slowly than the rest.

    glide.pictures(["a red star"], generator)                a picture for each caption
    glide.change(x, ["a blue star"], generator, 0.6)         image-to-image: the same picture, another caption
    glide.paint(x, mask, ["a red star"], generator)          something new where the mask is True
    glide.clip_guided(clip, ["a red star"], scale)           the other kind of guidance, by a CLIP

`GlideInpaint` is the same network, tuned to paint into a hole: it is shown the picture around it, at every step.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor, nn

from edu_diffusion.conditioning import drop
from edu_diffusion.conditioning.masks import HOLE_CHANNELS, hole_cond, random_boxes, with_hole
from edu_diffusion.conditioning.text import TextEncoder, Tokenizer, real, scene_tokenizer
from edu_diffusion.diffusion import (
    ClassifierFree,
    ClassifierGuided,
    ClipX0,
    NoiseSchedule,
    Rule,
    Target,
    V,
    cosine,
    ddim,
    generate,
)
from edu_diffusion.diffusion.editing import Beside, check_mask, composite, holding, image_to_image
from edu_diffusion.nets import UNet
from edu_diffusion.nets.layers import zeroed
from edu_diffusion.nets.layout import LayoutMap
from edu_diffusion.systems.clip import ClipRecipe
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import bare
from edu_diffusion.types import Batch, Cond, Rng, check_pictures

Pictures = Float[Tensor, "b 3 h w"]
Captions = Sequence[str] | Int64[Tensor, "b length"]
SIDE = 32  # the height and width of its pictures
SCALE, STEPS = 3.0, 25  # of guidance, and of sampling, where nothing else is said


class TextUNet(nn.Module):
    """A U-Net and the text encoder it listens to: one network, so that one average and one file hold both.

    `layout` is how many channels of 8 by 8 places the caption's vector is turned into, beside the paper's two ways; 0
    for none. `spatial` are channels of a condition of its own (a hole). If not `learn_text`, the text encoder stays as
    it is. Other options are the U-Net's. A caption is read once, by `read`; what comes out serves for every step.
    """

    def __init__(self, text: TextEncoder, *, layout: int = 8, spatial: int = 0, learn_text: bool = True, **options):
        super().__init__()
        self.text, self.learn_text, self.spatial = text.requires_grad_(learn_text), learn_text, spatial
        self.to_map = LayoutMap(text.width, layout) if layout else None
        told = {"vec": text.width, "tokens": text.width, "spatial": layout + spatial}
        self.unet = UNet(3, **{"widths": (64, 128), "attention": (False, True)} | options | told)

    def read(self, tokens: Int64[Tensor, "b length"]) -> Cond:
        """What the U-Net is told of captions: a vector for each caption, and one for each of its words."""
        states, pooled = self.text(tokens)
        return Cond(pooled, states, real(tokens))

    def forward(self, x_t: Pictures, t: Float[Tensor, "b"], cond: Cond | None = None) -> Float[Tensor, "b o h w"]:
        """The U-Net's output, told captions that have been read."""
        if self.to_map is not None and cond is not None:
            layout = self.to_map(cond.vec, x_t)
            # A hole's channels come last, where `widened` puts them.
            both = layout if cond.spatial is None else torch.cat([layout, cond.spatial], dim=1)
            cond = replace(cond, spatial=both)
        return self.unet(x_t, t, cond)


def text_unet(tokenizer: Tokenizer | None = None, *, width: int = 128, depth: int = 2, **options) -> TextUNet:
    """GLIDE's network at the course's size, for 32x32 pictures in colour, with a new text encoder: 2.4M parameters.

    `width` and `depth` are the text encoder's; it reads the captions of the scenes, if nothing else is said.
    """
    tokenizer = tokenizer or scene_tokenizer()
    return TextUNet(TextEncoder(tokenizer.size, length=tokenizer.length, width=width, depth=depth), **options)


@dataclass
class Glide(DDPM):
    """The recipe: DDPM's training step, told the caption of each picture, or none with probability `p_uncond`.

    The paper predicts eps. Here the target is v: the caption matters most where there is most noise, and there the loss
    of eps hardly asks for it (by a factor of the signal-to-noise ratio).
    """

    net: nn.Module | None = None
    schedule: NoiseSchedule = field(default_factory=cosine)
    target: Target = V
    tokenizer: Tokenizer = field(default_factory=scene_tokenizer)
    p_uncond: float = 0.1

    @classmethod
    def from_clip(cls, clip: ClipRecipe, *, learn_text: bool = False, **options) -> "Glide":
        """An untrained one that reads captions as this CLIP does: with a copy of its text tower.

        The copy stays as it is (as in Imagen, arXiv:2205.11487, section 2.1), unless `learn_text`: then it is trained
        too, and should have a small learning rate, or it forgets what it knows. Other options are those of `TextUNet`.
        """
        text = copy.deepcopy(clip.inner.text).cpu()
        return cls(TextUNet(text, learn_text=learn_text, **options), tokenizer=clip.tokenizer)

    def __post_init__(self):
        self.net = self.net or self.new_net()
        super().__post_init__()

    def new_net(self) -> TextUNet:
        """The untrained network, where none is given."""
        return text_unet(self.tokenizer)

    @property
    def inner(self) -> TextUNet:
        """The network itself."""
        return bare(self.modules["net"])

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1], and rows that are no captions.

        Raises: ValueError saying what was given.
        """
        check_pictures(batch.x)
        if batch.y is None or batch.y.ndim != 2:
            raise ValueError(
                "GLIDE learns from captions: batch.y must be rows of token numbers, as `Scenes` gives them"
            )
        self.tokenizer.check(batch.y)

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """The caption of each example, or none."""
        return drop(self.inner.read(batch.y), self.read(self.tokenizer.null), self.p_uncond, rng)

    def read(self, captions: Captions) -> Cond:
        """What the network is told of captions, in words or in token numbers. Called once, before the loop of sampling.

        Raises: ValueError where the tokenizer does: an empty caption, an unknown word, one in two languages, too long.
        """
        tokens = captions if isinstance(captions, Tensor) else self.tokenizer(captions)
        self.tokenizer.check(tokens)
        return self.inner.read(tokens.to(self.denoiser.device))

    @torch.no_grad()
    def told(self, captions: Captions) -> Cond:
        """The same for sampling, with no gradients."""
        return self.read(captions)

    def guided(self, scale: float, denoiser=None) -> ClassifierFree:
        """The denoiser with classifier-free guidance (section 2.3). 1 is off, as in the paper.

        `denoiser`, if given, is a wrapper around this model's own that is to lie inside.
        """
        return ClassifierFree(denoiser or self.denoiser, scale, self.told(self.tokenizer.null))

    def clip_guided(self, clip: ClipRecipe, captions: Captions, scale: float, denoiser=None) -> ClassifierGuided:
        """The denoiser, pushed to where `clip`, a `ClipRecipe`, finds its caption again (section 2.4). 0 is off.

        Raises: ValueError if that CLIP reads other words, or was trained on noise of another schedule.
        """
        if clip.tokenizer.words != self.tokenizer.words:
            raise ValueError(
                f"this CLIP knows {clip.tokenizer.size} words and this model {self.tokenizer.size}, not the "
                "same: one row of numbers would be two captions. Train both with one tokenizer"
            )
        tokens = captions if isinstance(captions, Tensor) else self.tokenizer(captions)
        return clip.guide(denoiser or self.denoiser, tokens, scale)

    def pictures(
        self,
        captions: Captions,
        generator: Generator,
        *,
        scale: float = SCALE,
        steps: int = STEPS,
        rule: Rule | None = None,
    ) -> Float[Tensor, "b 3 s s"]:
        """A picture in [-1, 1] for each caption, on the CPU, by guided DDIM or another rule."""
        return self.walk(self.guided(scale), self.told(captions), generator, steps=steps, rule=rule or ddim())

    def change(
        self,
        x0: Pictures,
        captions: Captions,
        generator: Generator,
        strength: float = 0.6,
        *,
        scale: float = SCALE,
        steps: int = STEPS,
    ) -> Pictures:
        """Image-to-image: noise the pictures part of the way, and come back with these captions.

        Raises: ValueError if strength is not in (0, 1], a picture not in [-1, 1], or captions and pictures differ in
        number.
        """
        cond = self.of_each(captions, x0)
        options = {"steps": steps, "rule": ddim(), "cond": cond, "generator": generator}
        *_, last = image_to_image(ClipX0(self.guided(scale)), x0.to(self.denoiser.device), strength, **options)
        return last.x.clamp(-1, 1).cpu()

    def paint(
        self,
        x0: Pictures,
        mask: Bool[Tensor, "n 1 mh mw"],
        captions: Captions,
        generator: Generator,
        *,
        scale: float = SCALE,
        steps: int = STEPS,
    ) -> Pictures:
        """Something new where the mask is True, by masking a plain model: all else is x0, bit for bit.

        Raises: ValueError if the mask has another size or is empty, a picture is not in [-1, 1], or captions and
        pictures differ in number.
        """
        check_mask(mask, x0)
        guided, cond = self.painter(x0, mask, scale), self.of_each(captions, x0)
        painted = self.walk(guided, cond, generator, steps=steps, rule=holding(ddim(), x0, mask))
        return composite(painted, x0.cpu(), mask.cpu())

    def painter(self, x0: Pictures, mask: Bool[Tensor, "n 1 h w"], scale: float) -> ClassifierFree:
        """The denoiser that paints into the hole: a plain model knows nothing of it."""
        return self.guided(scale)

    def walk(self, denoiser, cond: Cond, generator: Generator, **options) -> Float[Tensor, "b 3 s s"]:
        """Samples, one for each condition, with x0 clipped; in [-1, 1], on the CPU."""
        shape = (len(cond), 3, SIDE, SIDE)
        return generate(ClipX0(denoiser), shape, cond=cond, generator=generator, **options).clamp(-1, 1).cpu()

    def of_each(self, captions: Captions, x0: Pictures) -> Cond:
        """What is told of each picture: its caption, or one caption for all.

        Raises: ValueError if there are neither one caption nor as many as pictures, or if these have another size.
        """
        if tuple(x0.shape[-2:]) != (SIDE, SIDE):
            raise ValueError(f"this model draws {SIDE}x{SIDE} pictures, got {x0.shape[-2]}x{x0.shape[-1]}: halve them")
        if len(captions) not in (1, len(x0)):
            raise ValueError(f"one caption for all, or one for each of the {len(x0)} pictures: got {len(captions)}")
        cond = self.told(captions)
        return cond if len(cond) == len(x0) else cond.expand(len(x0))


@dataclass
class GlideInpaint(Glide):
    """The recipe: GLIDE that is also shown the picture with a hole, and the mask; holes are boxes drawn at random.

    Start from a trained GLIDE by `from_glide`: what it knows of pictures and captions need not be learned again.

    Source: GLIDE (arXiv:2112.10741), section 4.3 (image inpainting).
    """

    boxes: Callable[[int, tuple[int, int], Rng], Bool[Tensor, "n 1 h w"]] = random_boxes

    @classmethod
    def from_glide(cls, glide: Glide, **options) -> "GlideInpaint":
        """An untuned one with the weights of a trained GLIDE. Until it is trained, it does what that one does."""
        return cls(widened(glide.inner, HOLE_CHANNELS), tokenizer=glide.tokenizer, **options)

    def new_net(self) -> TextUNet:
        """The untrained network, with the channels for picture and mask."""
        return text_unet(self.tokenizer, spatial=HOLE_CHANNELS)

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """The caption, or none; and always the picture with a hole."""
        told = super().condition(batch, rng)
        return hole_cond(told, batch.x, self.boxes(len(batch), tuple(batch.x.shape[-2:]), rng))

    def painter(self, x0: Pictures, mask: Bool[Tensor, "n 1 h w"], scale: float) -> ClassifierFree:
        """The denoiser that paints into the hole. Both its halves, told the caption and told none, see the hole."""
        return self.guided(scale, Beside(self.denoiser, with_hole(x0, mask)))

    def pictures(self, captions: Captions, generator: Generator, **options) -> Float[Tensor, "b 3 s s"]:
        """A picture for each caption: painted into a hole that is all there is."""
        nothing = torch.zeros(len(captions), 3, SIDE, SIDE)
        return self.paint(nothing, torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool), captions, generator, **options)


def widened(net: TextUNet, channels: int) -> TextUNet:
    """A copy of a trained network, to be trained on, that takes so many more channels; their weights begin at 0.

    Raises: ValueError if the network takes spatial channels already.
    """
    if net.spatial:
        raise ValueError(f"this network takes {net.spatial} spatial channels already: start from a plain one")
    wide = copy.deepcopy(net).train().requires_grad_(True)
    wide.text.requires_grad_(wide.learn_text)
    old = wide.unet.enter
    new = zeroed(nn.Conv2d(old.in_channels + channels * wide.unet.patch**2, old.out_channels, 3, padding=1))
    with torch.no_grad():
        # Folding pixels into channels keeps the channels' order: those of x_t come first, the new ones after them.
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)
    wide.unet.enter, wide.unet.spatial = new.to(old.weight.device), net.unet.spatial + channels
    wide.spatial = channels
    return wide
