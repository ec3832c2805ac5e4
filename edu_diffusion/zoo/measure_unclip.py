"""How unCLIP is measured: by pictures of test scenes, which the scenes' reader reads at 64 pixels.

The decoder can be told a scene in several ways, and each is measured alike:

    true       the embedding of the scene's own picture: what is lost in the decoder alone
    prior      the embedding that the prior draws for a caption
    both       the same, and the caption to read: how the system is used
    text       the caption's own embedding, put where the picture's belongs
    caption    no embedding at all, only the caption to read
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from edu_diffusion.data.reader import Accuracy, Reading, caption_accuracy, read_scenes
from edu_diffusion.data.scenes import GROUNDS, PLACES, SIZES, Scene, Scenes, render
from edu_diffusion.metrics import Measured
from edu_diffusion.systems.decoder import SCALE, STEPS, Decoder
from edu_diffusion.systems.unclip import UnCLIP
from edu_diffusion.training import pick_runtime
from edu_diffusion.types import Cond
from edu_diffusion.zoo.measure_scenes import fd

Pictures = Float[Tensor, "n 3 h w"]
WAYS = ("true", "prior", "both", "text", "caption")
BATCH, SAMPLES, SIDE = 100, 1000, 64  # drawn at a time; in all; pixels of a finished picture
QUICK, MANY = 1, 64  # how many pictures are drawn at once where time is taken


@dataclass(frozen=True)
class Asked:
    """Test scenes and one caption of each; `image_emb` are CLIP's embeddings of their pictures."""

    scenes: list[Scene]
    captions: list[str]
    tokens: Int64[Tensor, "n length"]
    image_emb: Float[Tensor, "n d"]

    def __len__(self) -> int:
        return len(self.scenes)

    def select(self, start: int, stop: int) -> "Asked":
        """Some of them."""
        part = slice(start, stop)
        return Asked(self.scenes[part], self.captions[part], self.tokens[part], self.image_emb[part])


def asked(
    system: UnCLIP, count: int = SAMPLES, *, split: str = "test", language: str = "both", only: int | None = None
) -> Asked:
    """The first `count` scenes of a split, looked at by the system's CLIP."""
    data = Scenes(system.tokenizer, split=split, count=count, language=language, only=only)
    scenes, captions, seen = [], [], []
    for index in torch.arange(count).split(BATCH):
        some = data.scenes(index)
        scenes += some
        captions += data.captions(index, some)
        seen.append(system.clip.image_emb(data.pictures(index, some)).cpu())
    return Asked(scenes, captions, system.tokenizer(captions), torch.cat(seen))


def told(system: UnCLIP, given: Asked, way: str, generator: Generator) -> Cond:
    """What the decoder is told of the scenes, in one of the five ways.

    Raises: ValueError for another way.
    """
    tokens, decoder = given.tokens, system.decoder
    if way == "true":
        return decoder.told(given.image_emb)
    if way in ("prior", "both"):
        return decoder.told(system.prior.embeddings(tokens, generator), tokens if way == "both" else None)
    if way == "text":
        return decoder.told(system.clip.text_emb(tokens).cpu())
    if way == "caption":
        return decoder.told(tokens=tokens)
    raise ValueError(f"way must be one of {', '.join(WAYS)}, got {way!r}")


def drawn(
    system: UnCLIP, given: Asked, way: str = "both", *, seed: int = 0, scale: float = SCALE, steps: int = STEPS
) -> Float[Tensor, "n 3 64 64"]:
    """A finished picture of each scene, told in one way."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for start in range(0, len(given), BATCH):
        cond = told(system, given.select(start, start + BATCH), way, generator)
        small = system.decoder.pictures(cond, generator, scale=scale, steps=steps)
        parts.append(system.enlarge(small, generator)[1])
    return torch.cat(parts)


def accuracy(given: Asked, pictures: Pictures, way: str = "both") -> Accuracy:
    """How much is right: of all there was to see if the decoder was told the true embedding, else of the caption."""
    return caption_accuracy(given.scenes if way == "true" else given.captions, pictures)


def read_variants(captions: Sequence[str], pictures: Pictures) -> tuple[float, Int64[Tensor, "n"]]:
    """The share of attributes that are right, and which variant of its one thing each picture shows, by the reader.

    A variant is a number 0..29 for its size, ground and place. A picture in which not just one thing is found counts
    as number 0: what is wrong is not to look like variety.
    """
    return caption_accuracy(captions, pictures).attributes, torch.tensor([_variant(r) for r in read_scenes(pictures)])


def _variant(reading: Reading) -> int:
    if not reading.things or reading.place is None:
        return 0
    at = SIZES.index(reading.things[0].size), GROUNDS.index(reading.ground), PLACES.index(reading.place)
    return (at[0] * len(GROUNDS) + at[1]) * len(PLACES) + at[2]


def in_results(how: str, found: Accuracy, best: Accuracy, samples: int, seed: int) -> dict[str, Measured]:
    """Shares of right pictures for a card, each beside that of real ones, named by how they were asked for.

    nan is left out.
    """
    names = {
        "whole": "whole picture right",
        "attributes": "attributes right",
        "one": "whole picture right, one thing",
        "two": "whole picture right, two things",
    }
    shares = {key: (getattr(found, key), getattr(best, key)) for key in names}
    return {
        f"{how}_{key}": Measured(f"{how}: {names[key]}", share, samples, seed, floor)
        for key, (share, floor) in shares.items()
        if share == share
    }


def measure_decoder(system: Decoder, seed: int = 0, samples: int = SAMPLES) -> dict[str, Measured]:
    """The decoder told true embeddings; and the whole system with it, on test and held-out captions, in both languages.

    The other four models are the zoo's: they must have been trained before.
    """
    from edu_diffusion.zoo.chain import unclip  # which knows the entries, and they know how each is measured

    return measure_unclip(unclip(decoder=system), seed, samples)


def measure_unclip(system: UnCLIP, seed: int = 0, samples: int = SAMPLES) -> dict[str, Measured]:
    """What `measure_decoder` says, of any system."""
    test = asked(system, samples)
    given = {
        "true": test,
        "captions": test,
        "English": asked(system, samples, language="en"),
        "Chinese": asked(system, samples, language="zh"),
        "held-out": asked(system, samples, split="held-out"),
    }
    found = {}
    for how, scenes in given.items():
        way = "true" if how == "true" else "both"
        pictures = drawn(system, scenes, way, seed=seed)
        best = accuracy(scenes, render(scenes.scenes, SIDE, split="test"), way)
        found |= in_results(how, accuracy(scenes, pictures, way), best, samples, seed)
        if how == "captions":
            found["fd"] = fd(pictures, seed)
    return found | timed(system, test, seed)


def timed(system: UnCLIP, given: Asked, seed: int = 0) -> dict[str, Measured]:
    """How long one picture takes from its caption, and 64 at once, after a first one that does not count."""
    here, found = f"s on {pick_runtime().describe()}", {}
    for count in (QUICK, QUICK, MANY):
        captions = (given.captions * MANY)[:count]
        seconds = stopwatch(lambda captions=captions: system.pictures(captions, torch.Generator().manual_seed(seed)))
        found[f"seconds_{count}"] = Measured(
            f"time of {count} at once, from their captions", seconds, count, seed, unit=here
        )
    return found


def stopwatch(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
