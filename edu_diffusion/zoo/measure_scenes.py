"""How the systems that draw scenes are measured: is in the picture what the caption asks for? Do edits stay inside?"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.conditioning.lowres import double, halve
from edu_diffusion.data.captions import full_caption
from edu_diffusion.data.reader import Accuracy, caption_accuracy
from edu_diffusion.data.scenes import COLOURS, Scene, Scenes, is_held_out, render
from edu_diffusion.diffusion import ClipX0, ddim, generate
from edu_diffusion.diffusion.editing import seam
from edu_diffusion.metrics import Measured, extract, frechet_distance, nearest, real_floor
from edu_diffusion.systems.glide import SCALE, SIDE
from edu_diffusion.training import pick_runtime
from edu_diffusion.types import Cond

Pictures = Float[Tensor, "n 3 h w"]
Boxes = Bool[Tensor, "n 1 h w"]
STEPS, BATCH, REAL = 20, 100, 5000  # of sampling; pictures drawn at a time; real ones that stand for all
MARGIN = 2  # pixels between a thing and the border of the hole that is cut around it


@cache
def asked(count: int, split: str = "test", language: str = "en", only: int | None = None) -> tuple[list[str], list]:
    """The first captions of a split, and their scenes."""
    data = Scenes(list, split=split, language=language, only=only, count=count)
    scenes = data.scenes(range(count))
    return data.captions(range(count), scenes), scenes


@cache
def real(count: int, split: str = "test", size: int = SIDE, only: int | None = None) -> Pictures:
    """The first pictures of a split."""
    return Scenes(list, split=split, size=size, only=only, count=count).pictures(range(count))


@cache
def trained(name: str):
    """A trained system of the zoo, read once."""
    from edu_diffusion.zoo.loading import load  # which knows the entries, and they know how each is measured

    return load(name)


def features(pictures: Pictures) -> Float[Tensor, "n f"]:
    """The embeddings of the zoo's frozen CLIP: what Fréchet distances between scenes are measured in."""
    return extract(trained("clip-scenes").image_emb, pictures)


@cache
def real_features(split: str) -> Float[Tensor, "n f"]:
    """The CLIP embeddings of a split's real pictures."""
    return features(real(REAL, split))


def fd(pictures: Pictures, seed: int) -> Measured:
    """The Fréchet distance of drawn scenes to test scenes, with the floor of as many training scenes."""
    value = frechet_distance(features(pictures), real_features("test"))
    floor = real_floor(real_features("train"), real_features("test"), len(pictures))
    return Measured("Fréchet distance in CLIP's features", value, len(pictures), seed, floor=floor)


def in_parts(draw: Callable[[slice], Pictures], count: int) -> Pictures:
    """What `draw` makes of one part of the numbers after another."""
    return torch.cat([draw(slice(start, start + BATCH)) for start in range(0, count, BATCH)])


def drawn(
    system,
    captions: Sequence[str],
    seed: int,
    *,
    scale: float = SCALE,
    guide: Callable[[Sequence[str]], object] | None = None,
    told: bool = True,
) -> Float[Tensor, "n 3 s s"]:
    """A picture for each caption. `guide` makes another denoiser for some captions than the guided one of `scale`.

    If not `told`, the network is given the null caption: whatever comes is then the guide's doing.
    """
    generator = torch.Generator().manual_seed(seed)

    def part(chosen: slice) -> Pictures:
        some = captions[chosen]
        if guide is None:
            return system.pictures(some, generator, scale=scale, steps=STEPS)
        cond: Cond = system.told(some) if told else system.told(system.tokenizer.null).expand(len(some))
        shape = (len(some), 3, SIDE, SIDE)
        options = {"steps": STEPS, "rule": ddim(), "cond": cond, "generator": generator}
        return generate(ClipX0(guide(some)), shape, **options).clamp(-1, 1).cpu()

    return in_parts(part, len(captions))


def measure_glide(system, seed: int = 0, samples: int = 1000) -> dict[str, Measured]:
    """Caption accuracy in English and Chinese and on what was held out, FD, nearest training scene, and the time."""
    captions, _ = asked(samples)
    start = time.perf_counter()
    pictures = drawn(system, captions, seed)
    took = (time.perf_counter() - start) / samples
    found = accuracies(caption_accuracy(captions, pictures), seed, real_accuracy(samples))
    for name, key, options in (("in Chinese", "zh", {"language": "zh"}), ("held out", "held", {"split": "held-out"})):
        others, _ = asked(samples, **options)
        result, best = caption_accuracy(others, drawn(system, others, seed)), real_accuracy(samples, **options)
        found[f"whole_{key}"] = Measured(f"whole captions right, {name}", result.whole, samples, seed, best.whole)
    near, floor = (
        nearest(part, real(2 * REAL, "train")).distance.median().item() for part in (pictures, real(samples))
    )
    unit = "root mean square over pixels, median"
    found["nearest"] = Measured(
        f"distance to the nearest of {2 * REAL:,} training pictures", near, samples, seed, floor, unit=unit
    )
    here = f"s, guided DDIM-{STEPS} in batches of {BATCH} on {pick_runtime().describe()}"
    return found | {"fd": fd(pictures, seed), "seconds": Measured("time a picture", took, samples, seed, unit=here)}


def accuracies(result: Accuracy, seed: int, best: Accuracy) -> dict[str, Measured]:
    """The shares of one reading, each beside that of real pictures."""
    names = {
        "whole": "whole captions right",
        "one": "whole captions right, one thing",
        "two": "whole captions right, two things",
        "attributes": "attributes right",
    }
    count = len(result.right)
    shares = {key: (getattr(result, key), getattr(best, key)) for key in names}
    return {
        key: Measured(names[key], value, count, seed, floor=floor)
        for key, (value, floor) in shares.items()
        if math.isfinite(value)
    }


@cache
def real_accuracy(samples: int, split: str = "test", language: str = "en") -> Accuracy:
    """What the reader finds in real pictures of the same captions: the best there could be."""
    return caption_accuracy(asked(samples, split, language)[0], real(samples, split))


def measure_upsampler(system, seed: int = 0, samples: int = 1000) -> dict[str, Measured]:
    """PSNR of real pictures that were halved, beside bicubic's and bilinear's; and what the reader finds in them."""
    captions, _ = asked(samples)
    large = real(samples, size=system.size)
    small, generator = halve(large), torch.Generator().manual_seed(seed)
    found = {}
    for level in (0, 30):
        made = in_parts(lambda part, level=level: system.pictures(small[part], generator, level=level), samples)
        found[f"psnr_{level}"] = Measured(f"PSNR at level {level}", psnr(made, large), samples, seed, unit="dB")
    bicubic = F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False).clamp(-1, 1)
    found["psnr_bicubic"] = Measured("PSNR of bicubic", psnr(bicubic, large), samples, seed, unit="dB")
    found["psnr_bilinear"] = Measured("PSNR of bilinear", psnr(double(small), large), samples, seed, unit="dB")
    right, best = caption_accuracy(captions, made).whole, caption_accuracy(captions, large).whole
    found["whole"] = Measured("whole captions right after level 30", right, samples, seed, floor=best)
    return found


def psnr(a: Pictures, b: Pictures) -> float:
    """Peak signal-to-noise ratio in dB, the mean over pictures; values run from -1 to 1."""
    return (10 * torch.log10(4 / (a - b).square().flatten(1).mean(1).clamp(min=1e-10))).mean().item()


def measure_inpaint(system, seed: int = 0, samples: int = 1000) -> dict[str, Measured]:
    """Two edits: things painted anew in another colour, and things of which one half is to be restored."""
    return recolour(system, seed, samples) | restore(system, seed, samples)


def recolour(system, seed: int = 0, samples: int = 1000) -> dict[str, Measured]:
    """A hole around the one thing of a test scene, and a caption that says all as it was, but for the colour."""
    _, scenes = asked(samples, only=1)
    x0, wanted = real(samples, only=1), [recoloured(scene, i) for i, scene in enumerate(scenes)]
    mask, captions = around(x0), [full_caption(scene) for scene in wanted]
    made = painted(system, x0, mask, captions, seed)
    result, best = caption_accuracy(wanted, made), caption_accuracy(wanted, render(wanted, SIDE, split="test"))
    changed = ((made - x0).abs() * ~mask).max().item()
    return {
        "colour": Measured("the new colour is there", result.kinds["colour"], samples, seed, best.kinds["colour"]),
        "recoloured": Measured("all as asked for, with the new colour", result.whole, samples, seed, best.whole),
        "outside": Measured("largest change outside the hole", changed, samples, seed, floor=0.0),
    }


def restore(system, seed: int = 0, samples: int = 1000) -> dict[str, Measured]:
    """A hole over the left or upper half of the one thing, and its own caption: the two halves must meet.

    `seam` is how far the jump across the border is off from that of the true picture, on average.
    """
    _, scenes = asked(samples, only=1)
    x0 = real(samples, only=1)
    mask = halves(around(x0))
    made = painted(system, x0, mask, [full_caption(scene) for scene in scenes], seed)
    off = (seam(made, mask) - seam(x0, mask)).abs().mean().item()
    found, best = caption_accuracy(scenes, made), caption_accuracy(scenes, x0)
    return {
        "restored": Measured("whole scenes right, half of the thing hidden", found.whole, samples, seed, best.whole),
        "seam": Measured("the seam's jump, off from the true picture's", off, samples, seed, floor=0.0),
        "hidden": Measured(
            "error inside the hole",
            error_inside(made, x0, mask),
            samples,
            seed,
            floor=0.0,
            unit="root mean square",
            guess=error_inside(x0.roll(1, 0), x0, mask),
        ),
    }


def error_inside(made: Pictures, x0: Pictures, mask: Boxes) -> float:
    """The root mean squared difference inside the holes; by guessing it is that of another real picture."""
    squared = ((made - x0).square() * mask).flatten(1).sum(1) / (3 * mask.flatten(1).sum(1))
    return squared.mean().sqrt().item()


def painted(system, x0: Pictures, mask: Boxes, captions: Sequence[str], seed: int) -> Float[Tensor, "n 3 s s"]:
    """The holes, painted over to go with the captions."""
    generator = torch.Generator().manual_seed(seed)
    options = {"steps": STEPS}
    return in_parts(lambda part: system.paint(x0[part], mask[part], captions[part], generator, **options), len(x0))


def recoloured(scene: Scene, i: int) -> Scene:
    """The scene of one thing in another colour: the i-th of those that are not held out, in turn."""
    (thing,) = scene.things
    others = [replace(scene, things=(replace(thing, colour=colour),)) for colour in COLOURS if colour != thing.colour]
    fit = [other for other in others if not is_held_out(other)]
    return fit[i % len(fit)]


def around(x0: Pictures, margin: int = MARGIN) -> Boxes:
    """For each picture of one thing the box around it: all that differs from the ground, and a margin."""
    differs = ((x0 - x0[..., :1, :1]).abs() > 0.1).any(1)
    return _spans(differs.any(2), margin)[:, None, :, None] & _spans(differs.any(1), margin)[:, None, None, :]


def halves(boxes: Boxes) -> Boxes:
    """The left half of every other box, and the upper half of the rest."""
    along = [part[:, 0].any(axis) for part, axis in ((boxes, 1), (boxes, 2))]  # columns, rows
    first = [line & (line.cumsum(1) <= (line.sum(1, keepdim=True) + 1) // 2) for line in along]
    even = (torch.arange(len(boxes)) % 2 == 0)[:, None, None, None]
    return torch.where(even, boxes & first[0][:, None, None, :], boxes & first[1][:, None, :, None])


def _spans(line: Bool[Tensor, "n edge"], margin: int) -> Bool[Tensor, "n edge"]:
    """From the first True to the last, and `margin` more on both sides."""
    at = torch.arange(line.shape[1])
    first = torch.where(line, at, line.shape[1]).amin(1, keepdim=True)
    last = torch.where(line, at, -1).amax(1, keepdim=True)
    return (at >= first - margin) & (at <= last + margin)
