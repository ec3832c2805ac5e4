"""unCLIP, known as DALL·E 2 (Ramesh et al. 2022, arXiv:2204.06125): from a caption to a picture, on one page.

Hold figure 2 of the paper beside `stages`, below. Above its dotted line stands CLIP, which is trained first and then
left alone. Under the line:

    caption --CLIP's text tower--> z_t --prior--> z_i --decoder--> 16x16 --upsampler--> 32x32 --upsampler--> 64x64
             clip                        prior         decoder            up1                  up2

(the paper's pictures are of 64, 256 and 1024 pixels). Four models that are trained apart, and each is drawn from, not
only computed: one caption has many z_i, one z_i many pictures, one small picture many large ones.

    system = UnCLIP(clip, prior, decoder, up1, up2)
    system.pictures(["a red star above a blue ring"], generator)
    system.stages(["一颗红色的星星"], generator)               what lies between, too
    system.variations(picture, 4, generator)                  other pictures that CLIP sees the same in
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Generator, Tensor

from edu_diffusion.conditioning.text import Tokenizer
from edu_diffusion.systems.ar_prior import ArPrior
from edu_diffusion.systems.clip import ClipRecipe, fingerprint
from edu_diffusion.systems.decoder import SCALE, STEPS, Decoder
from edu_diffusion.systems.prior import DiffusionPrior
from edu_diffusion.systems.upsampler import Upsampler
from edu_diffusion.types import check_pictures

Embeddings = Float[Tensor, "n d"]
Captions = Sequence[str] | Int64[Tensor, "n length"]


@dataclass(frozen=True)
class Stages:
    """A picture on its way: `text_emb` (z_t, None where no caption was given), `image_emb` (z_i), and three sizes."""

    text_emb: Embeddings | None
    image_emb: Embeddings
    small: Float[Tensor, "n 3 s s"]
    middle: Float[Tensor, "n 3 m m"]
    large: Float[Tensor, "n 3 l l"]


@dataclass(frozen=True)
class UnCLIP:
    """The five models as one. `prior` may be of either kind; the upsamplers double the height and width.

    Raises: ValueError if prior or decoder were trained with another CLIP than the one given.
    """

    clip: ClipRecipe
    prior: DiffusionPrior | ArPrior
    decoder: Decoder
    up1: Upsampler
    up2: Upsampler

    def __post_init__(self):
        mine = fingerprint(self.clip)
        for name in ("prior", "decoder"):
            theirs = fingerprint(getattr(self, name).eyes)
            if theirs != mine:
                raise ValueError(
                    f"the {name} was trained with the CLIP {theirs[:12]}, but the one given is {mine[:12]}: what one "
                    "writes the other cannot read. Use one CLIP for all"
                )

    @property
    def tokenizer(self) -> Tokenizer:
        """What turns captions into token numbers."""
        return self.clip.tokenizer

    def stages(
        self, captions: Captions, generator: Generator, *, scale: float = SCALE, steps: int = STEPS, read: bool = True
    ) -> Stages:
        """A picture for each caption, with everything on the way; on the CPU.

        `scale` is the decoder's guidance, of which 1 is off, and `steps` are its steps. If `read`, a decoder that reads
        captions is shown them too.

        Raises: ValueError where the tokenizer does: an empty caption, an unknown word, two languages in one, too long.
        """
        tokens = captions if isinstance(captions, Tensor) else self.tokenizer(captions)
        text_emb = self.clip.text_emb(tokens).cpu()
        image_emb = self.prior.embeddings(tokens, generator)
        told = tokens if read and self.decoder.inner.text is not None else None
        small = self.decoder.pictures(self.decoder.told(image_emb, told), generator, scale=scale, steps=steps)
        return Stages(text_emb, image_emb, small, *self.enlarge(small, generator))

    def pictures(self, captions: Captions, generator: Generator, **options) -> Float[Tensor, "n 3 l l"]:
        """The finished pictures alone, in [-1, 1]; options as in `stages`."""
        return self.stages(captions, generator, **options).large

    def draw(self, image_emb: Embeddings, generator: Generator, *, scale: float = SCALE, steps: int = STEPS) -> Stages:
        """Pictures of image embeddings: `stages` without its first half, and with no caption to read."""
        small = self.decoder.pictures(self.decoder.told(image_emb), generator, scale=scale, steps=steps)
        return Stages(None, image_emb, small, *self.enlarge(small, generator))

    def enlarge(
        self, small: Float[Tensor, "n 3 s s"], generator: Generator
    ) -> tuple[Float[Tensor, "n 3 m m"], Float[Tensor, "n 3 l l"]]:
        """Small pictures through both upsamplers: of middle size, and large."""
        middle = self.up1.pictures(small, generator)
        return middle, self.up2.pictures(middle, generator)

    def variations(
        self, picture: Float[Tensor, "1 3 h w"], count: int, generator: Generator, **options
    ) -> Float[Tensor, "n 3 l l"]:
        """Other pictures in which CLIP sees the same: its embedding of the picture, drawn `count` times (section 3.1).

        Raises: ValueError if the picture is not in [-1, 1].
        """
        check_pictures(picture)
        image_emb = self.clip.image_emb(picture).cpu().expand(count, -1)
        return self.draw(image_emb, generator, **options).large
