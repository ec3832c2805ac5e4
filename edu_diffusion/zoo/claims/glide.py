"""Claims of lesson 17, GLIDE: which guidance is better for text, how to paint into a hole, and is any of it new?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.data.reader import caption_accuracy
from edu_diffusion.data.scenes import Scenes
from edu_diffusion.metrics import nearest
from edu_diffusion.zoo.claims.arms import of_zoo
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, verdict
from edu_diffusion.zoo.measure_scenes import (
    SIDE,
    STEPS,
    Pictures,
    asked,
    drawn,
    fd,
    real,
    real_accuracy,
    recolour,
    restore,
    trained,
)
from edu_diffusion.zoo.scene_entries import COUNT

GLIDE, TUNED = "glide-32", "glide-inpaint"
CLIPS = {"noised CLIP": "clip-noised", "clean CLIP": "clip-scenes"}
SAMPLES, SEED = 500, 0
PART = 4096  # training pictures that are looked at together
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)  # of classifier-free guidance; 1 is off
CLIP_SCALES = (0.3, 1.0, 3.0, 10.0)  # of CLIP guidance; 0 is off, and is the same as 1 above


def measure_guidance(arms: Arms) -> Finding:
    """Caption accuracy and FD by scale: classifier-free guidance, guidance by a noised CLIP, and by a clean one.

    The same network, told the caption, draws all of them; and once more told nothing, so that only a CLIP can know what
    is wanted.

    Verdict: three parts. At the scale where each has most whole captions right, classifier-free guidance has at least
    2 points of 100 more than guidance by the noised CLIP; and its FD there is lower, by more than a tenth. Where the
    network is told nothing, the noised CLIP gets at least 5 points of 100 more attributes right than the clean one,
    each at its best scale.
    """
    free = {s: of_zoo(arms, GLIDE, f"free-{s:g}", lambda m, s=s: at_scale(m, s)) for s in SCALES}
    numbers = rows("classifier-free", free)
    guided: dict[tuple[str, bool], dict[float, Numbers]] = {}
    for name, entry in CLIPS.items():
        for told in (True, False):
            how = f"{entry}-{'told' if told else 'untold'}"
            guided[name, told] = {
                s: of_zoo(arms, GLIDE, f"{how}-{s:g}", lambda m, e=entry, t=told, s=s: by_clip(m, e, t, s))
                for s in CLIP_SCALES
            }
            numbers |= rows(name if told else f"{name}, network told nothing", guided[name, told])
    # Without any guidance both are the same, and either may choose that.
    ours, theirs = best(free, "whole"), best({0.0: free[1.0]} | guided["noised CLIP", True], "whole")
    noised, clean = (best(guided[name, False], "attributes") for name in CLIPS)
    kept = (
        ours["whole"] >= theirs["whole"] + 0.02,
        ours["fd"] < 0.9 * theirs["fd"],
        noised["attributes"] >= clean["attributes"] + 0.05,
    )
    why = (
        f"whole captions right, at the best scale: classifier-free guidance {ours['whole']:.1%} (FD {ours['fd']:.3g}), "
        f"the noised CLIP {theirs['whole']:.1%} (FD {theirs['fd']:.3g}), no guidance {free[1.0]['whole']:.1%} (FD "
        f"{free[1.0]['fd']:.3g}). Told nothing, the network gets {noised['attributes']:.1%} of the attributes right "
        f"when the noised CLIP guides it, and {clean['attributes']:.1%} with the clean one"
    )
    return Finding(numbers, verdict(*kept), why)


def best(by_scale: dict[float, Numbers], key: str) -> Numbers:
    """The record with the most of something."""
    return max(by_scale.values(), key=lambda record: record[key])


def rows(name: str, by_scale: dict[float, Numbers]) -> dict[str, Number]:
    """The numbers of one way, by scale."""
    found = {}
    for scale, record in by_scale.items():
        for label, key in (("whole captions right", "whole"), ("attributes right", "attributes"), ("FD", "fd")):
            found[f"{name}, scale {scale:g}: {label}"] = Number(record[key], floor=record[f"{key}_floor"])
    return found


def at_scale(system, scale: float) -> Numbers:
    """What comes of classifier-free guidance at a scale."""
    captions, _ = asked(SAMPLES)
    return judged(captions, drawn(system, captions, SEED, scale=scale))


def by_clip(system, entry: str, told: bool, scale: float) -> Numbers:
    """What comes of guidance by a CLIP of the zoo; of the network's own guidance there is none."""
    captions, _ = asked(SAMPLES)

    def guide(some: Sequence[str]):
        return system.clip_guided(trained(entry), some, scale)

    return judged(captions, drawn(system, captions, SEED, guide=guide, told=told))


def judged(captions: Sequence[str], pictures) -> Numbers:
    """Caption accuracy and FD of pictures, with what real pictures score."""
    found, floor, distance = caption_accuracy(captions, pictures), real_accuracy(len(captions)), fd(pictures, SEED)
    return {
        "whole": found.whole,
        "whole_floor": floor.whole,
        "attributes": found.attributes,
        "attributes_floor": floor.attributes,
        "fd": distance.value,
        "fd_floor": distance.floor,
    }


def measure_painting(arms: Arms) -> Finding:
    """Two ways to paint into a hole: a plain model whose known part is put back at every step, and one tuned for it.

    Two edits, on the same test scenes. A hole around a thing, to be painted in another colour; and a hole over one half
    of a thing, to be restored, where the seam goes through the thing.

    Verdict: two parts. The tuned one's jump at the seam is nearer to the true picture's, by more than a tenth; and it
    has at least 2 points of 100 more restored scenes right. (That nothing changes outside the hole is no finding: both
    put the known part back at the end. The number is shown as a check.)
    """
    found = {
        "masking a plain model": of_zoo(arms, GLIDE, "painting", edits),
        "tuned to inpaint": of_zoo(arms, TUNED, "painting", edits),
    }
    labels = {
        "seam": "jump at the seam, off from the true one's",
        "restored": "whole scenes right, half of the thing hidden",
        "hidden": "error inside the hole, root mean square",
        "recoloured": "whole scenes right, painted in another colour",
        "colour": "the new colour is there",
        "outside": "largest change outside the hole",
    }
    numbers = {f"{name}: {label}": Number(one[key]) for name, one in found.items() for key, label in labels.items()}
    plain, tuned = found.values()
    kept = tuned["seam"] < 0.9 * plain["seam"], tuned["restored"] >= plain["restored"] + 0.02
    why = "; ".join(
        f"{name}: seam off by {one['seam']:.3g}, {one['restored']:.1%} of the halves restored right, "
        f"{one['recoloured']:.1%} recoloured as asked for, largest change outside {one['outside']:g}"
        for name, one in found.items()
    )
    return Finding(numbers, verdict(*kept), why)


def edits(system) -> Numbers:
    """Both edits of one system."""
    found = recolour(system, SEED, SAMPLES) | restore(system, SEED, SAMPLES)
    return {key: one.value for key, one in found.items()}


def measure_original(arms: Arms) -> Finding:
    """Combinations that training never showed, and how near the pictures come to a training picture.

    Verdict: two parts. Of captions with something held out at least 70% are right as a whole; and the median distance
    of drawn pictures to the nearest of all training pictures is at least 0.9 times that of real test pictures.
    """
    found = of_zoo(arms, GLIDE, "original", originality)
    numbers = {
        "whole captions right, something held out": Number(found["held"], floor=found["held_real"]),
        "whole captions right, nothing held out": Number(found["seen"], floor=found["seen_real"]),
        "distance to the nearest training picture": Number(found["near"], floor=found["near_real"]),
    }
    kept = found["held"] >= 0.7, found["near"] >= 0.9 * found["near_real"]
    why = (
        f"{found['held']:.1%} of captions with a held-out combination come out right, {found['seen']:.1%} of others; "
        f"the nearest of {COUNT:,} training pictures is {found['near']:.3f} away (median), from a real test picture "
        f"{found['near_real']:.3f}"
    )
    return Finding(numbers, verdict(*kept), why)


def originality(system) -> Numbers:
    """Accuracy on both kinds of captions, and distances."""
    found: Numbers = {}
    for name, split in (("seen", "test"), ("held", "held-out")):
        captions, _ = asked(SAMPLES, split)
        pictures = drawn(system, captions, SEED)
        found[name] = caption_accuracy(captions, pictures).whole
        found[f"{name}_real"] = caption_accuracy(captions, real(SAMPLES, split)).whole
        if split == "test":
            ours, theirs = from_training(torch.cat([pictures, real(SAMPLES)])).split(SAMPLES)
            found |= {"near": ours.median().item(), "near_real": theirs.median().item()}
    return found


def from_training(pictures: Pictures) -> Float[Tensor, "n"]:
    """How far each picture is from the nearest training picture: all are drawn once more, a part at a time.

    A sample of them would not do: a copy of one that is not in it would not be noticed.
    """
    data, found = Scenes(list, size=SIDE, count=COUNT), torch.full((len(pictures),), torch.inf)
    for part in torch.arange(COUNT).split(PART):
        found = found.minimum(nearest(pictures, data.pictures(part)).distance)
    return found


PAPER = "GLIDE (arXiv:2112.10741)"
DRAWN = f"{GLIDE}, {SAMPLES} test captions, DDIM-{STEPS}"
CLAIMS = [
    Claim(
        "glide-cfg",
        "17",
        f"classifier-free guidance against guidance by a noised and by a clean CLIP, by scale ({DRAWN})",
        f"{PAPER}, table 1, section 5.2: people prefer classifier-free guidance to CLIP guidance, for "
        "photorealism and for how well the picture fits the caption; the guiding CLIP is trained on noised pictures "
        "(section 4.4)",
        measure_guidance,
    ),
    Claim(
        "inpaint",
        "17",
        f"{GLIDE} with the known part put back at every step against {TUNED} ({SAMPLES} test scenes, DDIM-{STEPS})",
        f"{PAPER}, section 4.3: masking a plain model leaves edge artifacts now and then; a tuned one does better",
        measure_painting,
    ),
    Claim(
        "original-scenes",
        "17",
        f"captions with combinations never shown in training, and distances to training pictures ({DRAWN})",
        f"{PAPER}, figure 1 and section 5.1: it composes several concepts, and draws novel ones; no number is given",
        measure_original,
    ),
]
