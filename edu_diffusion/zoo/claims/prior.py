"""Claim of lesson 18, unCLIP's prior: diffusion against autoregression, and what the mean cosine does not show."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch.utils.flop_counter import FlopCounterMode

from edu_diffusion.data.reader import caption_accuracy
from edu_diffusion.data.scenes import Scenes
from edu_diffusion.systems.prior import embedded
from edu_diffusion.types import Batch, Rng
from edu_diffusion.zoo.claims.arms import of_zoo
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, lower, over_seeds, verdict
from edu_diffusion.zoo.loading import card, load
from edu_diffusion.zoo.measure_prior import SIDE, Prior, drawn_sets, nearness, spread, vague
from edu_diffusion.zoo.store import HERE, card_path

DIFFUSION, AUTOREGRESSIVE, DECODER = "prior-diffusion", "prior-ar", "decoder-16"
SEEDS, SAMPLES, CAPTIONS = (0, 1, 2), 1000, 56
ONE, TWO, MEAN = "diffusion, one draw", "diffusion, the better of two", "diffusion, in one step"
CODES = "autoregressive"
# What draws, and with which options. One step is a regression: it answers with the mean of what fits.
WAYS: dict[str, tuple[str, dict]] = {
    ONE: (DIFFUSION, {"best_of": 1}),
    TWO: (DIFFUSION, {"best_of": 2}),
    MEAN: (DIFFUSION, {"best_of": 1, "steps": 1}),
    CODES: (AUTOREGRESSIVE, {}),
}
KEPT = ("cosine", "text_cosine", "vague_cosine", "pair_cosine", "variants", "right")


def measure_kinds(arms: Arms) -> Finding:
    """Both priors of the zoo: near the truth, as varied as the world, and at what cost.

    Diffusion draws as the paper's does, the better of two; one draw alone, and its answer in one step (the mean of what
    fits, a collapsed prior) stand beside it. The spread is over seeds of the drawing, not of the training. If the zoo
    has a decoder, captions are also scored by the pictures that it makes of the draws.

    Verdict: of up to three parts, each by more than a tenth (and twice the standard error). The cosine of the diffusion
    prior's two draws is nearer to that of two real pictures; it costs less compute, training and 1,000 draws together;
    and, with a decoder, fewer captions come out wrong. (The cosine with the true embedding is shown but decides
    nothing: a collapsed prior has the highest.)
    """
    runs = {way: [numbers_of(arms, way, seed) for seed in SEEDS] for way in WAYS}
    found = {f"{way}: {name}": pooled(each, key) for way, each in runs.items() for key, name in SHOWN.items()}
    cost = {entry: cost_of(arms, entry) for entry in (DIFFUSION, AUTOREGRESSIVE)}
    compute = {entry: Number(numbers["train"] + 1000 * numbers["draw"]) for entry, numbers in cost.items()}
    found |= {f"{entry}: training": Number(one["train"] / 1e12, unit="teraFLOP") for entry, one in cost.items()}
    found |= {f"{entry}: a draw": Number(one["draw"] / 1e6, unit="megaFLOP") for entry, one in cost.items()}
    parts = [
        lower(of_all(runs[TWO], sameness), of_all(runs[CODES], sameness)),
        lower(compute[DIFFUSION], compute[AUTOREGRESSIVE]),
    ]
    wrong = wrong_captions(arms)
    if wrong:
        found |= {f"{way}: captions drawn wrong": Number(100 * share, unit="%") for way, share in wrong.items()}
        parts.append(lower(Number(wrong[TWO]), Number(wrong[CODES])))
    return Finding(found, verdict(*parts), in_words(runs, cost, wrong))


SHOWN = {
    "cosine": "cosine with the true embedding",
    "vague_cosine": "vague captions, cosine with a real one",
    "pair_cosine": "vague captions, cosine of two draws",
    "variants": "variants of 30, in 30 draws",
    "right": "draws nearest to their own caption",
}


def numbers_of(arms: Arms, way: str, seed: int) -> Numbers:
    """What is measured of one way of drawing, with one seed; stored."""
    entry, options = WAYS[way]
    name = f"{way.replace(', ', '-').replace(' ', '-')}-seed{seed}"
    return of_zoo(arms, entry, name, lambda prior: numbers_for(prior, seed, options))


def numbers_for(prior: Prior, seed: int, options: dict, samples: int = SAMPLES, captions: int = CAPTIONS) -> Numbers:
    """The measures as plain numbers, each with its floor where it has one."""
    clip = prior.eyes
    test = embedded(clip, Scenes(clip.tokenizer, split="test", size=SIDE, count=samples))
    given = vague(clip, captions)
    found = nearness(prior, test, seed, **options) | spread(drawn_sets(prior, given, seed, **options), given, seed)
    floors = {f"{key}_floor": found[key].floor for key in KEPT if found[key].floor is not None}
    return {key: found[key].value for key in KEPT} | floors


def cost_of(arms: Arms, entry: str) -> Numbers:
    """Floating-point operations of the whole training of an entry, and of one draw; stored."""
    images = card(entry).images
    return of_zoo(arms, entry, "cost", lambda prior: {"train": images * training(prior), "draw": drawing(prior)})


def training(prior: Prior, batch: int = 32) -> float:
    """Operations of training on one embedding, forward and backward; a multiplication and an addition are two."""
    data = _data(prior, batch)

    def step() -> None:
        for module in prior.modules.values():
            module.requires_grad_(True)
        for _, loss, _ in prior.losses(data, Rng(0)):
            loss.backward()

    return counted(step) / batch


def drawing(prior: Prior, batch: int = 32, **options) -> float:
    """Operations of one draw, as the prior draws if `options` say nothing else."""
    data = _data(prior, batch)
    return counted(lambda: prior.embeddings(data.y, torch.Generator().manual_seed(0), **options)) / batch


def counted(work: Callable[[], object]) -> float:
    """The floating-point operations of some work."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def wrong_captions(arms: Arms, folder: Path = HERE) -> dict[str, float]:
    """The share of test captions whose picture is not wholly right, by way of drawing; nothing without a decoder."""
    if not card_path(DECODER, folder).exists():
        return {}
    digest = card(DECODER).weight_sha256
    shares = {}
    for way, (entry, options) in WAYS.items():
        name = f"{way.replace(', ', '-').replace(' ', '-')}-pictures"
        stored = of_zoo(arms, entry, name, lambda prior, o=options: {"wrong": wrong(prior, o), "decoder": digest})
        if stored["decoder"] != digest:
            raise ValueError(f"{entry}-{name} was measured with another {DECODER}: delete it from the ledger's arms")
        shares[way] = stored["wrong"]
    return shares


def wrong(prior: Prior, options: dict, samples: int = SAMPLES) -> float:
    """The share of test captions that the reader does not find wholly right in the decoder's small pictures."""
    decoder, tokenizer = load(DECODER), prior.eyes.tokenizer
    scenes = Scenes(tokenizer, split="test", size=SIDE, count=samples)
    captions, generator = scenes.captions(range(samples)), torch.Generator().manual_seed(0)
    z = prior.embeddings(tokenizer(captions), generator, **options)
    pictures = torch.cat([decoder.pictures(decoder.told(part), generator) for part in z.split(100)])
    return 1 - caption_accuracy(captions, pictures).whole


def _data(prior: Prior, count: int) -> Batch:
    return embedded(prior.eyes, Scenes(prior.eyes.tokenizer, split="test", size=SIDE, count=count))


def pooled(runs: list[Numbers], key: str) -> Number:
    """One measure over the seeds."""
    return over_seeds([run[key] for run in runs], floor=runs[0].get(f"{key}_floor"))


def of_all(runs: list[Numbers], measure: Callable[[Numbers], float]) -> Number:
    """Something computed from each seed's numbers."""
    return over_seeds([measure(run) for run in runs])


def sameness(run: Numbers) -> float:
    """How far the cosine of two draws is from that of two real pictures."""
    return abs(run["pair_cosine"] - run["pair_cosine_floor"])


def in_words(runs: dict[str, list[Numbers]], cost: dict[str, Numbers], wrong: dict[str, float]) -> str:
    """The finding in words."""

    def said(key: str, *ways: str) -> str:
        return " and ".join(f"{mean(run[key] for run in runs[way]):.3f}" for way in ways)

    def both(key: str, unit: float) -> str:
        return " and ".join(f"{cost[entry][key] / unit:.3g}" for entry in (DIFFUSION, AUTOREGRESSIVE))

    real = runs[TWO][0]
    words = (
        f"cosine with the true embedding {said('cosine', TWO, CODES)} (diffusion, autoregressive), "
        f"{real['text_cosine']:.3f} for the text embedding, {real['cosine_floor']:.3f} for another real picture of the "
        f"caption. Two draws for a vague caption: {said('pair_cosine', TWO, CODES)}; two real pictures: "
        f"{real['pair_cosine_floor']:.3f}. Diffusion in one step, which answers with the mean, scores "
        f"{said('vague_cosine', MEAN)} on vague captions, where real pictures score {real['vague_cosine_floor']:.3f}, "
        f"and its draws are {said('pair_cosine', MEAN)} alike. Training cost {both('train', 1e12)} teraFLOP, a draw "
        f"{both('draw', 1e6)} megaFLOP"
    )
    if not wrong:
        return words
    shares = " and ".join(f"{100 * wrong[way]:.0f}%" for way in (TWO, CODES))
    return f"{words}. Through the decoder {shares} of the captions come out wrong"


CLAIMS = [
    Claim(
        "prior-kind",
        "18",
        "Cosine, diversity, compute (and captions through the decoder) of prior-diffusion and prior-ar; what the mean "
        "cosine hides",
        "unCLIP (arXiv:2204.06125), table 1: people preferred unCLIP to GLIDE for photorealism, caption similarity "
        "and diversity in about 49, 45 and 71% with the diffusion prior, and in about 47, 41 and 63% with the "
        "autoregressive one; "
        "section 5.1: the diffusion prior costs less compute",
        measure_kinds,
    )
]
