"""The decoder of unCLIP (Ramesh et al. 2022, arXiv:2204.06125, section 2.1), on one page.

CLIP turned pictures into embeddings. The decoder goes the other way, and since many pictures have one embedding, it is
a diffusion model: GLIDE's network (arXiv:2112.10741), but told a picture's embedding z_i. Two ways are the paper's:

    a vector, added to the time embedding
    four tokens to look at, beside those of the caption

The third is ours, for small networks that learn no layout otherwise:

    a small map of a few channels, joined to the noisy picture

If it has `text`, it is told the caption as well. For one example in ten z_i is left out, for one in two the caption: so
it can be guided without a classifier, and draws from z_i alone, from a caption alone, from both, or from neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from edu_diffusion.conditioning import drop
from edu_diffusion.conditioning.text import Tokenizer, scene_tokenizer
from edu_diffusion.diffusion import ClassifierFree, ClipX0, NoiseSchedule, Rule, Target, V, cosine, dpm_pp, generate
from edu_diffusion.nets import UNet
from edu_diffusion.nets.layers import resize
from edu_diffusion.nets.layout import LayoutMap
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.systems.frozen_clip import OnClip, unsigned
from edu_diffusion.types import Batch, Cond, Rng

Pictures = Float[Tensor, "b 3 h w"]
Embeddings = Float[Tensor, "b e"]
Numbers = Int[Tensor, "b length"]
SCALE, STEPS = 2.0, 10  # of guidance and sampling, where nothing else is said


class DecoderNet(nn.Module):
    """The U-Net and the three ways in which it is told an embedding of `width` numbers: `vec`, `tokens`, `spatial`.

    `tokens` is how many tokens, `spatial` how many channels the small map has, of 8 by 8 places. The condition it wants
    has the embedding as `vec` (zeros for none) and, if `text` says how wide a caption's states are, these as `tokens`,
    with their `mask`. The fingerprint of the CLIP whose embeddings they are is kept with the weights; it is 0 until
    training begins. Other options are the U-Net's.

    Raises: ValueError if all ways are switched off, and there is no text either.
    """

    def __init__(
        self,
        width: int = 64,
        *,
        vec: bool = True,
        tokens: int = 4,
        spatial: int = 8,
        text: int | None = None,
        **options,
    ):
        super().__init__()
        if not (vec or tokens or spatial or text):
            raise ValueError("vec, tokens, spatial and text are all off: nothing could tell this network what to draw")
        self.width, self.vec, self.text = width, vec, text
        self.register_buffer("made_for", unsigned())
        # A caption's states are tokens as they are; the embedding's must be as wide.
        inside = text or width
        self.to_tokens = nn.Linear(width, tokens * inside) if tokens else None
        self.to_map = LayoutMap(width, spatial) if spatial else None
        told = {"vec": width if vec else None, "tokens": inside if tokens or text else None, "spatial": spatial}
        self.unet = UNet(3, **{"widths": (96, 160), "attention": (True, True)} | options | told)

    def forward(self, x_t: Pictures, t: Float[Tensor, "b"], cond: Cond | None = None) -> Float[Tensor, "b o h w"]:
        """The U-Net's output, told the embedding in every way that is on.

        Raises: ValueError if there is no embedding or one of another width, or if a caption is given or missing.
        """
        self._check(cond)
        # Each number of a vector of length 1 is small; networks are made for numbers of size 1.
        z = cond.vec * self.width**0.5
        tokens, mask = self._tokens(z, cond)
        layout = None if self.to_map is None else self.to_map(z, x_t)
        told = Cond(z if self.vec else None, tokens, mask, layout)
        return self.unet(x_t, t, told)

    def _tokens(self, z: Embeddings, cond: Cond) -> tuple[Float[Tensor, "b n d"] | None, Bool[Tensor, "b n"] | None]:
        """The embedding's tokens, and after them the caption's."""
        tokens, mask = cond.tokens, cond.mask
        if tokens is not None:
            # What is padding for all is left away: attention would only spend time on it.
            longest = int(mask.any(0).sum())
            tokens, mask = tokens[:, :longest], mask[:, :longest]
        if self.to_tokens is None:
            return tokens, mask
        mine = self.to_tokens(z).unflatten(1, (-1, self.text or self.width))
        if tokens is None:
            return mine, None
        return torch.cat([mine, tokens.to(mine.dtype)], 1), torch.cat([mask.new_ones(mine.shape[:2]), mask], 1)

    def _check(self, cond: Cond | None) -> None:
        if cond is None or cond.vec is None or cond.vec.shape[1] != self.width:
            given = "none" if cond is None or cond.vec is None else f"one of {cond.vec.shape[1]}"
            raise ValueError(f"the decoder wants an embedding of {self.width} numbers for each picture, got {given}")
        if (self.text is None) != (cond.tokens is None):
            raise ValueError(
                "this decoder reads no captions; build it with text=WIDTH"
                if self.text is None
                else "this decoder reads captions too: for none, give it the null caption (Decoder.told does)"
            )


@dataclass(kw_only=True)
class Decoder(OnClip, DDPM):
    """The recipe: DDPM's step on small pictures, told the CLIP embedding of the large ones they are made from.

    A batch has pictures of at least 32 pixels and, if the network reads captions, their token numbers as y.
    `drop_image` and `drop_text` say how often each is left out, independently of the other.

    Source: section 2.1, where embeddings are left out for a tenth and captions for a half.
    """

    net: DecoderNet = field(default_factory=DecoderNet)
    schedule: NoiseSchedule = field(default_factory=cosine)
    target: Target = V
    size: int = 16
    drop_image: float = 0.1
    drop_text: float = 0.5
    tokenizer: Tokenizer = field(default_factory=scene_tokenizer)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: DDPM's, with the small picture in the place of the large one."""
        if not self.inner.made_for.any():
            self.sign()
        times = self.memory["times"]
        t, weight = times.draw(len(batch), rng)
        x0 = resize(batch.x, (self.size, self.size))
        eps = rng.normal_like(x0)
        loss = self.loss(self.denoiser, x0, t, eps, self.condition(batch, rng))
        times.update(t, loss, rng)
        yield "net", (loss * weight.to(loss)).mean(), {}

    def condition(self, batch: Batch, rng: Rng) -> Cond | None:
        """Each picture's embedding and caption, each left out now and then.

        Raises: ValueError if the network reads captions, but the batch has none.
        """
        if self.inner.text is None:
            return drop(self.told(self.eyes.image_emb(batch.x)), self.null, self.drop_image, rng)
        if batch.y is None:
            raise ValueError("this decoder reads captions, but the batch has none: give Batches data with y")
        told, null = self.told(self.eyes.image_emb(batch.x), batch.y), self.null
        seen = drop(Cond(vec=told.vec), Cond(vec=null.vec), self.drop_image, rng)
        read = drop(Cond(None, told.tokens, told.mask), Cond(None, null.tokens, null.mask), self.drop_text, rng)
        return Cond(seen.vec, read.tokens, read.mask)

    @torch.no_grad()
    def told(self, image_emb: Embeddings | None = None, tokens: Numbers | None = None) -> Cond:
        """The condition of these embeddings and captions; what is not given is replaced by its null.

        Raises: ValueError if neither is given, if captions are given to a network that does not read them, or if this
        is not the CLIP that the network was trained with.
        """
        if image_emb is None and tokens is None:
            raise ValueError("give embeddings, captions, or both; for neither there is Decoder.null")
        clip = self.eyes  # asked for in every case: another CLIP's embeddings must not pass unseen
        if self.inner.text is None:
            if tokens is not None:
                raise ValueError("this decoder reads no captions: give it embeddings alone (those of a prior, say)")
            return Cond(vec=image_emb)
        if tokens is None:
            tokens = self.tokenizer.null.expand(len(image_emb), -1)
        states = clip.text_states(tokens)
        vec = states.new_zeros(len(tokens), self.inner.width) if image_emb is None else image_emb.to(states)
        return Cond(vec, states, self.tokenizer.real(tokens).to(states.device))

    @cached_property
    def null(self) -> Cond:
        """The condition that says nothing: an embedding of zeros, and the null caption."""
        return self.told(torch.zeros(1, self.inner.width))

    def guided(self, scale: float, denoiser=None) -> ClassifierFree:
        """The denoiser with guidance, away from what is drawn when nothing is told. 1 is off.

        `denoiser`, if given, is a wrapper around this model's own that is to lie inside.
        """
        return ClassifierFree(denoiser or self.denoiser, scale, self.null)

    def pictures(
        self,
        cond: Cond,
        generator: Generator | None = None,
        *,
        scale: float = SCALE,
        steps: int | Sequence[int] = STEPS,
        rule: Rule | None = None,
        x_T: Pictures | None = None,
    ) -> Pictures:
        """Small pictures in [-1, 1] of what they are told, on the CPU. `x_T`, if given, is the noise to start from."""
        shape = (len(cond), 3, self.size, self.size)
        options = {"steps": steps, "rule": rule or dpm_pp(), "cond": cond, "generator": generator, "x_init": x_T}
        return generate(ClipX0(self.guided(scale)), shape, **options).clamp(-1, 1).cpu()
