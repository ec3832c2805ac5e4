"""Claims of lesson 19, the decoder: whether a prior is needed, and what guidance costs."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from edu_diffusion.systems.glide import Glide
from edu_diffusion.systems.unclip import UnCLIP
from edu_diffusion.zoo.chain import PARTS, digests, zoo_unclip
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, verdict
from edu_diffusion.zoo.measure_prior import Vague, distinct, expected_distinct, pair_cosine, real_cosine, vague
from edu_diffusion.zoo.measure_scenes import fd, trained
from edu_diffusion.zoo.measure_unclip import WAYS, Pictures, accuracy, asked, drawn, read_variants

GLIDE, SAMPLES, SEED = "glide-32", 1000, 0
SCALES = (1.0, 2.0, 3.0, 5.0, 8.0)
CAPTIONS, DRAWS, STEPS = 24, 20, 20  # vague captions, pictures of each, steps of sampling: the same for both systems
LOW, HIGH = 1.0, 5.0


def of_chain(arms: Arms, what: str, measure: Callable[[UnCLIP], Numbers], *others: str) -> Numbers:
    """Numbers of the zoo's unCLIP, stored under `what` like an arm's; `others` are more entries that they rest on.

    Raises: ValueError if the stored numbers belong to other weights than the zoo has now.
    """
    names = (*PARTS, *others)
    stored = arms.get(f"unclip-{what}", lambda checkpoint: measure(zoo_unclip()) | {"weights": digests(*names)})
    unlike = [name for name, digest in digests(*names).items() if stored["weights"].get(name) != digest]
    if unlike:
        raise ValueError(
            f"unclip-{what} was measured of other weights of {', '.join(unlike)} than the zoo has now: delete it from "
            "the ledger's arms"
        )
    return stored


def measure_prior_needed(arms: Arms) -> Finding:
    """The same decoder and upsamplers, told test captions in four ways, and the true embedding as the best case.

    Verdict: three parts. With the prior's embedding more captions are right as a whole than with the raw text
    embedding, by at least 10 points of 100; the pictures' FD is lower; and more are right than with the caption alone
    and no embedding.
    """
    found = {way: of_chain(arms, f"told-{way}", lambda s, way=way: by_way(s, way)) for way in WAYS}
    numbers = {}
    for way, record in found.items():
        numbers |= {
            f"{way}: whole right": Number(100 * record["whole"], unit="%"),
            f"{way}: attributes right": Number(100 * record["attributes"], unit="%"),
            f"{way}: FD": Number(record["fd"], floor=record["fd_floor"]),
        }
    prior, text, alone = (found[way] for way in ("prior", "text", "caption"))
    kept = (
        prior["whole"] >= text["whole"] + 0.1,
        prior["fd"] < text["fd"],
        prior["whole"] > alone["whole"],
    )
    why = "; ".join(f"{way}: {found[way]['whole']:.1%} whole right, FD {found[way]['fd']:.3g}" for way in WAYS)
    return Finding(numbers, verdict(*kept), f"{why}. Of the true embedding all that there was to see is asked for")


def by_way(system: UnCLIP, way: str) -> Numbers:
    """Accuracy and FD of the pictures of test scenes, told in one way."""
    given = asked(system, SAMPLES)
    pictures = drawn(system, given, way, seed=SEED)
    right, far = accuracy(given, pictures, way), fd(pictures, SEED)
    return {"whole": right.whole, "attributes": right.attributes, "fd": far.value, "fd_floor": far.floor}


def measure_diverse(arms: Arms) -> Finding:
    """Pictures of captions that name a shape and a colour and nothing else, by the scale of guidance.

    Of unCLIP the decoder is guided, and the prior's draws are the same at every scale; GLIDE is guided as a whole. Both
    are seen at 32 pixels. Diversity is how many of the 30 variants (size, place and ground) the reader finds among the
    pictures of one caption, and how alike two of them are to CLIP.

    Verdict: two parts. From scale 1 to 5 unCLIP keeps a larger share of its variants than GLIDE, by at least 5 points
    of 100; and the cosine of two pictures rises less.
    """
    found = {
        (name, scale): of_chain(
            arms, f"diverse-{name}-{scale:g}", lambda s, name=name, scale=scale: spread_at(s, name, scale), GLIDE
        )
        for name in MAKERS
        for scale in SCALES
    }
    numbers = {}
    for (name, scale), record in found.items():
        numbers |= {
            f"{name}, scale {scale:g}: variants": Number(record["variants"], floor=record["variants_real"]),
            f"{name}, scale {scale:g}: cosine of two": Number(record["cosine"], floor=record["cosine_real"]),
            f"{name}, scale {scale:g}: attributes right": Number(100 * record["right"], unit="%"),
        }
    kept_share = {name: found[name, HIGH]["variants"] / found[name, LOW]["variants"] for name in MAKERS}
    rise = {name: found[name, HIGH]["cosine"] - found[name, LOW]["cosine"] for name in MAKERS}
    why = "; ".join(
        f"{name}: from scale {LOW:g} to {HIGH:g} it keeps {kept_share[name]:.0%} of its variants, and the cosine of "
        f"two pictures changes by {rise[name]:+.3f}"
        for name in MAKERS
    )
    kept = kept_share["unclip"] >= kept_share["glide"] + 0.05, rise["unclip"] < rise["glide"]
    return Finding(numbers, verdict(*kept), why)


def spread_at(system: UnCLIP, name: str, scale: float) -> Numbers:
    """How many variants there are among the pictures of one caption, and how alike two are to CLIP."""
    given = vague(system.clip, CAPTIONS)
    x = MAKERS[name](system, given, scale)
    z = system.clip.image_emb(x).cpu().unflatten(0, (-1, DRAWS))
    right, variant = read_variants([text for text in given.captions for _ in range(DRAWS)], x)
    kinds = given.real.shape[1]
    return {
        "variants": distinct(variant.unflatten(0, (-1, DRAWS)), kinds),
        "variants_real": expected_distinct(DRAWS, kinds),
        "cosine": pair_cosine(z),
        "cosine_real": real_cosine(given),
        "right": right,
    }


def by_unclip(system: UnCLIP, given: Vague, scale: float) -> Pictures:
    """`DRAWS` pictures of each caption, from the same embeddings at every scale."""
    generator = torch.Generator().manual_seed(SEED)
    decoder, parts = system.decoder, []
    for image_emb in drawn_embeddings(system, given):
        small = decoder.pictures(decoder.told(image_emb), generator, scale=scale, steps=STEPS)
        parts.append(system.up1.pictures(small, generator))
    return torch.cat(parts)


def drawn_embeddings(system: UnCLIP, given: Vague) -> list[Float[Tensor, "draws d"]]:
    """The prior's embeddings, `DRAWS` of each caption, one caption after another."""
    generator = torch.Generator().manual_seed(SEED)
    # One draw of each, not the better of two: choosing narrows what is drawn.
    return [system.prior.embeddings(row.expand(DRAWS, -1), generator, best_of=1) for row in given.tokens]


def by_glide(system: UnCLIP, given: Vague, scale: float) -> Pictures:
    """`DRAWS` pictures of each caption by the zoo's GLIDE."""
    glide: Glide = trained(GLIDE)
    generator = torch.Generator().manual_seed(SEED)
    return torch.cat([glide.pictures([text] * DRAWS, generator, scale=scale, steps=STEPS) for text in given.captions])


MAKERS: dict[str, Callable[[UnCLIP, Vague, float], Pictures]] = {"unclip": by_unclip, "glide": by_glide}
PAPER = "unCLIP (arXiv:2204.06125)"
CLAIMS = [
    Claim(
        "prior-needed",
        "19",
        f"one decoder told {SAMPLES:,} test captions by the prior's embedding, by the text embedding, by the caption "
        "alone; and by the true embedding",
        f"{PAPER}, section 5.1 and figure 8, on a test set: FID about 16.6 with the text embedding in the picture's "
        "place, 9.2 for a decoder trained on text embeddings, 8.0 with a prior",
        measure_prior_needed,
    ),
    Claim(
        "unclip-diverse",
        "19",
        f"variants and likeness among {DRAWS} pictures of each of {CAPTIONS} vague captions, by scale: unCLIP and "
        f"{GLIDE}",
        f"{PAPER}, section 5.3 and figure 9: with more guidance GLIDE's pictures become alike, unCLIP's do not, for "
        "what they show is fixed in the embedding",
        measure_diverse,
    ),
]
