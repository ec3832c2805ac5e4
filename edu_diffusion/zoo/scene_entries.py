"""The zoo's entries that learn from captioned scenes: CLIP, GLIDE, and the parts of unCLIP.

Some rest on others, which must be trained before them: first `clip-scenes`; then the priors, the decoder and GLIDE;
`glide-inpaint` begins at `glide-32`. The upsamplers rest on nothing.
"""

from functools import cache, partial

from edu_diffusion.conditioning import scene_tokenizer
from edu_diffusion.data import Scenes, scenes_checksum
from edu_diffusion.data.scenes import WithSwapped, with_swapped
from edu_diffusion.systems.ar_prior import ArPrior
from edu_diffusion.systems.clip import ClipRecipe
from edu_diffusion.systems.decoder import Decoder, DecoderNet
from edu_diffusion.systems.prior import DiffusionPrior, embedded
from edu_diffusion.systems.upsampler import Upsampler
from edu_diffusion.types import Batch
from edu_diffusion.zoo.entry import Entry, Plan
from edu_diffusion.zoo.measure_prior import measure_prior
from edu_diffusion.zoo.measure_scenes import measure_glide, measure_inpaint, measure_upsampler
from edu_diffusion.zoo.measure_text import measure_clip, measure_noised_clip
from edu_diffusion.zoo.measure_unclip import measure_decoder
from edu_diffusion.zoo.starts import reading_as_clip, tuned_to_inpaint

COUNT, EMBEDDED = 400_000, 50_000  # scenes that are drawn on the fly; those whose embeddings are kept in memory


def captioned(size: int = 32) -> Scenes:
    """Pictures of so many pixels with their captions, in both languages."""
    return Scenes(scene_tokenizer(), size=size, count=COUNT)


def swapped() -> WithSwapped:
    """The same, of which some come twice, the second time with the two things exchanged."""
    return with_swapped(captioned())


def frozen_clip() -> ClipRecipe:
    """The zoo's CLIP, which all of unCLIP rests on."""
    from edu_diffusion.zoo.loading import load  # which knows the entries

    return load("clip-scenes")


@cache
def embeddings() -> Batch:
    """What a prior learns from: the image embeddings of scenes, and their captions."""
    clip = frozen_clip()
    return embedded(clip, Scenes(clip.tokenizer, size=32, count=EMBEDDED))


def noised_clip() -> ClipRecipe:
    """A CLIP of noisy pictures."""
    return ClipRecipe(noisy=True)


def decoder() -> Decoder:
    """unCLIP's decoder, which reads captions too."""
    return Decoder(clip=frozen_clip, net=DecoderNet(text=96))


def diffusion_prior() -> DiffusionPrior:
    """The prior that denoises."""
    return DiffusionPrior(clip=frozen_clip, examples=lambda: embeddings().x)


def ar_prior() -> ArPrior:
    """The prior that writes one number after another."""
    return ArPrior(clip=frozen_clip, examples=embeddings)


on_scenes = partial(Entry, data=captioned, content=scenes_checksum)
on_pairs = partial(Entry, data=swapped, content=scenes_checksum)
on_embeddings = partial(Entry, data=embeddings, content=scenes_checksum)

PAIRS, ENLARGING = Plan(steps=8000, batch=128), Plan(steps=3000, batch=32, ema=0.999)
READS = {"text.": 0.2}  # CLIP's text tower learns along, but must not forget
PRIOR = Plan(steps=6000, rate=1e-3, ema=0.999)

SCENES = (
    on_pairs(
        "clip-scenes",
        "CLIP: pictures and captions in one space, trained on swapped pairs too",
        ClipRecipe,
        PAIRS,
        measure_clip,
    ),
    on_scenes(
        "clip-scenes-plain",
        "the same without swapped pairs",
        ClipRecipe,
        PAIRS,
        measure_clip,
    ),
    on_pairs(
        "clip-noised",
        "a CLIP of noisy pictures, for guidance",
        noised_clip,
        PAIRS,
        measure_noised_clip,
    ),
    on_scenes(
        "glide-32",
        "GLIDE: draws 32x32 pictures of captions",
        reading_as_clip,
        Plan(steps=30_000, batch=32, ema=0.999, slower=READS),
        measure_glide,
    ),
    on_scenes(
        "glide-inpaint",
        "GLIDE tuned to paint into a hole",
        tuned_to_inpaint,
        Plan(steps=2000, batch=32, rate=1e-3, ema=0.999, slower=READS),
        measure_inpaint,
    ),
    on_scenes(
        "up-32",
        "enlarges pictures from 16x16 to 32x32",
        partial(Upsampler, size=32, blur=0.4),
        ENLARGING,
        measure_upsampler,
    ),
    Entry(
        "up-64",
        "enlarges pictures from 32x32 to 64x64",
        partial(Upsampler, size=64),
        ENLARGING,
        measure_upsampler,
        partial(captioned, 64),
        scenes_checksum,
    ),
    on_embeddings(
        "prior-diffusion",
        "unCLIP's diffusion prior: captions to image embeddings",
        diffusion_prior,
        PRIOR,
        measure_prior,
    ),
    on_embeddings(
        "prior-ar", "unCLIP's autoregressive prior: principal components in buckets", ar_prior, PRIOR, measure_prior
    ),
    on_scenes(
        "decoder-16",
        "unCLIP's decoder: 16x16 pictures of image embeddings, reads captions too",
        decoder,
        Plan(steps=16_000, ema=0.999),
        measure_decoder,
    ),
)
