"""Claim of lesson 05, VQ-VAE: a codebook with a learned prior against codes that are drawn blind to each other."""

from collections.abc import Callable

import torch

from edu_diffusion.data import fashion
from edu_diffusion.nets.codebook import perplexity, used
from edu_diffusion.systems.code_prior import CodePrior, PlaceByPlace, marginals, uniform
from edu_diffusion.systems.vqvae import VQVAE
from edu_diffusion.zoo.claims.arms import of_zoo
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, lower, over_seeds, verdict
from edu_diffusion.zoo.loading import card
from edu_diffusion.zoo.measure import BATCH, each_class, fd

SAMPLES, SEEDS = 10_000, (0, 1, 2)
CODEC, PRIOR = "vqvae-fashion", "vq-prior-fashion"
LEARNED, PLACES, UNIFORM = "learned prior", "frequencies of each place", "uniform codes"
WAYS = (LEARNED, PLACES, UNIFORM)


def measure_prior(arms: Arms) -> Finding:
    """FD of pictures decoded from codes of three origins: the learned prior, each place's frequencies, uniform ones.

    All are drawn by the zoo's two models; the classes of the prior are asked for equally often. Beside them stands what
    is left of as many training pictures once they have been codes: no prior can be expected to do better. The spread is
    over seeds of the drawing, not of the training. Codes, bits and errors are those of the test set.

    Verdict: two parts. The learned prior has the lower FD than uniform codes, and than the frequencies of each place,
    by more than a tenth (and twice the standard error).
    """
    found = {way: over_seeds([run["fd"] for run in runs], floor=runs[0]["floor"]) for way, runs in drawn(arms).items()}
    codec, bits = codec_numbers(arms), bits_numbers(arms)
    numbers = {f"{way}: FD": number for way, number in found.items()} | {
        "training pictures decoded again: FD": Number(codec["fd"], floor=codec["floor"]),
        "error of test pictures decoded again": Number(codec["error"], unit="mean squared, pixels in [-1, 1]"),
        "codes that occur in the test set": Number(100 * codec["used"], unit=f"% of {codec['size']}"),
        "perplexity of the codebook": Number(codec["perplexity"], unit=f"of {codec['size']}"),
    }
    numbers |= {f"{way}: bits": Number(bits[way], unit="a picture") for way in WAYS}
    ours = found[LEARNED]
    why = (
        f"FD {ours.value:.3g} with the learned prior, {found[PLACES].value:.3g} with the frequencies of each place, "
        f"{found[UNIFORM].value:.3g} with uniform codes; pictures that are only decoded again score {codec['fd']:.3g}. "
        f"The test set uses {100 * codec['used']:.0f}% of the {codec['size']} codes, perplexity "
        f"{codec['perplexity']:.3g}; its codes cost {bits[LEARNED]:.3g} bits a picture under the prior (which is told "
        f"the class), {bits[PLACES]:.3g} by the frequencies, {bits[UNIFORM]:.3g} uniformly"
    )
    return Finding(numbers, verdict(lower(ours, found[UNIFORM]), lower(ours, found[PLACES])), why)


def drawn(arms: Arms) -> dict[str, list[Numbers]]:
    """For each way of drawing codes its FD, a record for each seed."""

    def record(way: str, seed: int) -> Numbers:
        name = f"{way.replace(' ', '-')}-seed{seed}"
        return of_prior(arms, name, lambda prior: distance(source_of(prior, way), seed, way == LEARNED))

    return {way: [record(way, seed) for seed in SEEDS] for way in WAYS}


def of_prior(arms: Arms, name: str, measure: Callable[[CodePrior], Numbers]) -> Numbers:
    """Numbers of the prior, stored; they rest on the VQ-VAE's weights as well.

    Raises: ValueError if the stored numbers belong to other weights than either model has now.
    """
    digest = card(CODEC).weight_sha256
    stored = of_zoo(arms, PRIOR, name, lambda prior: measure(prior) | {"codec_weights": digest})
    if stored["codec_weights"] != digest:
        raise ValueError(
            f"{PRIOR}-{name} was measured with other weights than {CODEC} has now: delete it from the ledger's arms"
        )
    return stored


def source_of(prior: CodePrior, way: str) -> CodePrior | PlaceByPlace:
    """What draws pictures this way."""
    if way == LEARNED:
        return prior
    if way == UNIFORM:
        return uniform(prior.codec)
    return marginals(prior.codec, prior.codec.encode(fashion("train").x).flatten(1))


def distance(system: CodePrior | PlaceByPlace, seed: int, told: bool = False, samples: int = SAMPLES) -> Numbers:
    """FD and floor of a system's pictures; if it is `told` the class, each class is asked for equally often."""
    generator = torch.Generator().manual_seed(seed)
    classes = (each_class(),) if told else ()
    parts = [system.pictures(BATCH, generator, *classes).cpu() for _ in range(-(-samples // BATCH))]
    found = fd(torch.cat(parts)[:samples], seed)
    return {"fd": found.value, "floor": found.floor}


def codec_numbers(arms: Arms) -> Numbers:
    """What is left of pictures once they have been codes, and how the test set uses the codebook."""
    return of_zoo(arms, CODEC, "codebook", codebook_of)


def codebook_of(codec: VQVAE, samples: int = SAMPLES) -> Numbers:
    """FD of decoded training pictures; error, use and perplexity on the test set."""
    test, train = fashion("test").x[:samples], fashion("train").x
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:samples]
    found, codes = fd(codec.reconstruct(train[chosen]), 0), codec.encode(test)
    return {
        "fd": found.value,
        "floor": found.floor,
        "error": (codec.decode(codes) - test).square().mean().item(),
        "used": used(codes, codec.size),
        "perplexity": perplexity(codes, codec.size).item(),
        "size": codec.size,
    }


def bits_numbers(arms: Arms) -> Numbers:
    """What the codes of a test picture cost under each of the three, in bits."""
    return of_prior(arms, "bits", bits_of)


def bits_of(prior: CodePrior, samples: int = SAMPLES) -> Numbers:
    """The mean bits of the first test pictures."""
    test, codec = fashion("test")[slice(0, samples)], prior.codec
    codes = codec.encode(test.x).flatten(1)
    blind = {way: source_of(prior, way).bits(codes).mean().item() for way in (PLACES, UNIFORM)}
    return blind | {LEARNED: prior.bits(test.x, test.y).mean().item()}


CLAIMS = [
    Claim(
        "vq-prior",
        "05",
        f"FD of {SAMPLES:,} pictures of {PRIOR} and {CODEC}, by where the codes come from; the codebook's use and "
        "perplexity on the test set",
        "VQ-VAE (arXiv:1711.00937), sections 3.2 and 3.3: while the codes are learned their prior is uniform; to make "
        "pictures an autoregressive prior is trained on them afterwards",
        measure_prior,
    ),
]
