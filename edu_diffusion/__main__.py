"""The command line: train, sample and evaluate the zoo's models, and list what is in it.

python -m edu_diffusion train ddpm-fashion --slice 9
python -m edu_diffusion sample ddpm-fashion --count 16 --out clothes.png
python -m edu_diffusion sample cfg-fashion --label Bag --scale 2 --out bags.png
python -m edu_diffusion sample unclip "a red star above a blue ring" --out picture.png
python -m edu_diffusion sample unclip --variation-of picture.png --count 4 --out others.png
python -m edu_diffusion evaluate ddpm-fashion
python -m edu_diffusion evaluate --claim fwd-prior
python -m edu_diffusion zoo --json
python -m edu_diffusion claims --json
python -m edu_diffusion families
"""

import argparse
import json
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path

from tqdm import tqdm

RULES = ("ancestral", "ddim", "dpm_pp")


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 1 with a message on stderr; 2 for arguments it cannot read."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f"edu_diffusion: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("edu_diffusion: stopped", file=sys.stderr)
        return 130
    return 0


def train(chosen: argparse.Namespace) -> None:
    """Train a zoo entry, or go on with one that was begun."""
    from edu_diffusion.zoo import find
    from edu_diffusion.zoo.train import train_entry

    entry = find(chosen.name)
    options = {"device": chosen.device, "minutes": chosen.minutes, "pause": chosen.slice, "steps": chosen.steps}
    log = None
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed} {postfix}", disable=chosen.quiet) as bar:
        for log in train_entry(entry, chosen.runs, folder=chosen.zoo, **options):
            bar.update(100 * log.progress - bar.n)
            losses = ", ".join(f"{name} {value:.4f}" for name, value in log.metrics.items())
            bar.set_postfix_str(
                f"step {log.step}, {losses}, {log.images_per_second:.0f} images/s, {log.seconds_left / 60:.1f} min left"
            )
    if log is not None and log.progress < 1:
        print(f"stopped after {chosen.slice:g} minutes at step {log.step}; the same command goes on", file=sys.stderr)


def sample(chosen: argparse.Namespace) -> None:
    """Write a picture of samples."""
    from edu_diffusion.viz import grid
    from edu_diffusion.zoo import load

    if chosen.out.suffix != ".png" or not chosen.out.parent.is_dir():
        raise ValueError(f"--out must name a .png file in a folder that exists, got {chosen.out}")
    if chosen.name == "unclip":
        return _sample_unclip(chosen)
    if chosen.captions or chosen.variation_of is not None:
        raise ValueError(f"{chosen.name} draws no captions and no variations: unclip does")
    chosen.count = chosen.count or 16
    system = load(chosen.name, chosen.device, chosen.zoo)
    if hasattr(system, "denoiser"):
        x, how = _by_steps(system, chosen)
    elif hasattr(system, "pictures"):
        x, how = _at_once(system, chosen)
    else:
        raise ValueError(f"{chosen.name} does not generate pictures")
    grid(x.cpu(), clip=True, alt=f"{chosen.count} samples of {chosen.name}").save(chosen.out)
    print(f"wrote {chosen.out}: {chosen.count} samples{how}, seed {chosen.seed}")


def _sample_unclip(chosen: argparse.Namespace) -> None:
    """Pictures of captions through all five models of unCLIP, or variations of a picture."""
    import torch

    from edu_diffusion.viz import grid
    from edu_diffusion.zoo.chain import unclip

    for name in ("label", "rule"):
        if getattr(chosen, name) is not None:
            raise ValueError(f"unclip is told captions: leave --{name} out")
    if bool(chosen.captions) == (chosen.variation_of is not None):
        raise ValueError('give unclip a caption, such as "a red star above a blue ring", or --variation-of picture.png')
    picture = None if chosen.variation_of is None else _picture(chosen.variation_of)
    system, count = unclip(chosen.device, chosen.zoo), chosen.count or 1
    generator = torch.Generator().manual_seed(chosen.seed)
    options = {name: getattr(chosen, name) for name in ("scale", "steps") if getattr(chosen, name) is not None}
    if picture is not None:
        x, what = system.variations(picture, count, generator, **options), f"variations of {chosen.variation_of}"
    else:
        captions = [caption for caption in chosen.captions for _ in range(count)]
        x, what = system.pictures(captions, generator, **options), "; ".join(chosen.captions)
    grid(x, alt=f"{len(x)} pictures by unCLIP: {what}").save(chosen.out)
    print(f"wrote {chosen.out}: {len(x)} by unclip, {what}, seed {chosen.seed}")


def _picture(path: Path):
    """A picture from a file, square, at 64 pixels, in [-1, 1].

    Raises: OSError if there is none; ValueError if it is not square, or smaller than 64 pixels.
    """
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(path) as image:
        if image.width != image.height or image.width < 64:
            raise ValueError(f"{path} must be square, of at least 64 pixels, got {image.width} by {image.height}")
        levels = np.array(image.convert("RGB").resize((64, 64), Image.Resampling.BOX))
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _by_steps(system, chosen: argparse.Namespace):
    """Samples of a diffusion model, and how they were drawn."""
    import torch

    from edu_diffusion.diffusion import ClipX0, ancestral, ddim, dpm_pp, generate

    rule, steps = chosen.rule or "ddim", chosen.steps or 50
    denoiser, cond = _told(system, chosen)
    options = {
        "steps": steps,
        "rule": {"ancestral": ancestral, "ddim": ddim, "dpm_pp": dpm_pp}[rule](),
        "generator": torch.Generator().manual_seed(chosen.seed),
    }
    x = generate(ClipX0(denoiser), (chosen.count, 1, 28, 28), cond=cond, **options)
    return x, f", {steps} steps of {rule}"


def _at_once(system, chosen: argparse.Namespace):
    """Samples of a model that needs no steps, and nothing to say about how."""
    import torch

    from edu_diffusion.systems.code_prior import CodePrior

    for name in ("steps", "rule", "scale"):
        if getattr(chosen, name) is not None:
            raise ValueError(f"{chosen.name} is no diffusion model: leave --{name} out")
    told = ()
    if isinstance(system, CodePrior):
        told = (_classes(chosen),)
    elif chosen.label is not None:
        raise ValueError(f"{chosen.name} is not told the class: leave --label out")
    return system.pictures(chosen.count, torch.Generator().manual_seed(chosen.seed), *told), ""


def _told(system, chosen: argparse.Namespace):
    """The denoiser, guided if that was asked for, and what it is told of the class."""
    from edu_diffusion.systems.adm import ADM
    from edu_diffusion.systems.classifier_free import ClassifierFreeADM

    if chosen.label is not None and not isinstance(system, ADM):
        raise ValueError(f"{chosen.name} is not told the class: leave --label out")
    if chosen.scale is not None and not isinstance(system, ClassifierFreeADM):
        raise ValueError(f"{chosen.name} was not trained for classifier-free guidance: leave --scale out")
    if not isinstance(system, ADM):
        return system.denoiser, None
    return system.denoiser if chosen.scale is None else system.guided(chosen.scale), system.labels(_classes(chosen))


def _classes(chosen: argparse.Namespace):
    """The class that was asked for, or each in turn if none was named.

    Raises: ValueError for an unknown class, naming those there are.
    """
    import torch

    from edu_diffusion.data import CLASSES

    numbers = {name.lower(): number for number, name in enumerate(CLASSES)}
    if chosen.label is None:
        return torch.arange(chosen.count) % len(CLASSES)
    if chosen.label.lower() not in numbers:
        raise ValueError(f"--label must be one of {', '.join(CLASSES)}; got {chosen.label!r}")
    return torch.full((chosen.count,), numbers[chosen.label.lower()])


def evaluate(chosen: argparse.Namespace) -> None:
    """Measure a model and write the results to its card, or measure a claim and write its row."""
    from edu_diffusion.zoo import card, find, load
    from edu_diffusion.zoo.store import card_path

    if (chosen.name is None) == (chosen.claim is None):
        raise ValueError("evaluate needs either a name of the zoo or --claim ID")
    if chosen.claim is not None:
        return _evaluate_claims(chosen)
    entry = find(chosen.name)
    if chosen.samples is not None and "samples" not in signature(entry.measure).parameters:
        raise ValueError(f"{entry.name} draws no samples, it is measured on the whole test set: leave --samples out")
    options = {} if chosen.samples is None else {"samples": chosen.samples}
    results = entry.measure(load(entry.name, chosen.device, chosen.zoo), chosen.seed, **options)
    card(entry.name, chosen.zoo).with_results(results).save(card_path(entry.name, chosen.zoo))
    for result in results.values():
        print(result)


def _evaluate_claims(chosen: argparse.Namespace) -> None:
    from edu_diffusion.zoo.claims import CLAIMS, find_claim, measure

    if chosen.samples is not None:
        raise ValueError("a claim's samples are part of what it compares: leave --samples out")
    for name in CLAIMS if chosen.claim == "all" else [find_claim(chosen.claim).id]:
        row = measure(CLAIMS[name], chosen.zoo, chosen.runs)
        print(f"{row.id}: {row.verdict}: {row.why}")


def zoo(chosen: argparse.Namespace) -> None:
    """List the zoo."""
    from edu_diffusion.zoo import ENTRIES, card
    from edu_diffusion.zoo.store import card_path

    trained = [name for name in ENTRIES if card_path(name, chosen.zoo).exists()]
    cards = [card(name, chosen.zoo) for name in trained]
    if chosen.json:
        print(json.dumps([_record(made) for made in cards], indent=2))
        return
    for made in cards:
        print(f"{made.name}: {made.about}")
        print(
            f"  {made.parameters:,} parameters, {made.weight_bytes:,} bytes; {made.minutes:g} minutes on {made.machine}"
        )
        for result in made.results.values():
            print(f"  {result}")
    for name in ENTRIES:
        if name not in trained:
            print(f"{name}: not trained yet")


def _record(made) -> dict:
    """A card for others to read: every result says its floor, if only that there is none."""
    record = made.to_json()
    record["results"] = {name: {"floor": None} | result for name, result in record["results"].items()}
    return record


def families(chosen: argparse.Namespace) -> None:
    """Print the table of all families."""
    from edu_diffusion.zoo import families as table

    found = table(chosen.zoo)
    print(json.dumps(found.to_json(), indent=2) if chosen.json else found)


def claims(chosen: argparse.Namespace) -> None:
    """Print the ledger."""
    from edu_diffusion.zoo.claims import ledger, pending

    rows = ledger(chosen.zoo)
    if chosen.json:
        print(json.dumps([row.to_json() for row in rows], indent=2))
        return
    for row in rows:
        print(f"{row.id} (lesson {row.lesson}): {row.what}\n  paper: {row.paper}")
        for name, number in row.numbers.items():
            print(f"  {name}: {number}")
        print(f"  ({row.seeds})")
        print(f"  {row.verdict}: {row.why}\n  {row.command}  ({row.minutes:g} minutes on {row.machine})")
    for row in pending(chosen.zoo):
        print(f"{row.id} (lesson {row.lesson}): {row.what}\n  not measured yet: {row.command}")


def _parser() -> argparse.ArgumentParser:
    from edu_diffusion.zoo.store import HERE

    parser = argparse.ArgumentParser(
        prog="python -m edu_diffusion", description="Train, sample and evaluate the zoo's models."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        one = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        one.set_defaults(run=run)
        one.add_argument("--zoo", type=Path, default=HERE, metavar="DIR", help="where weights and cards lie")
        return one

    one = command(train)
    one.add_argument("name", help="an entry of the zoo")
    one.add_argument(
        "--minutes", type=_positive, help="end after this much training time, the learning rate falling with it"
    )
    one.add_argument(
        "--slice", type=_positive, metavar="MINUTES", help="stop for now after this long; the same command goes on"
    )
    one.add_argument("--steps", type=_count, help="instead of the recipe's number")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where checkpoints lie")
    one.add_argument("--quiet", action="store_true", help="no progress bar")
    _device(one)

    one = command(sample)
    one.add_argument("name", help="an entry of the zoo, or unclip: all five models that make pictures of captions")
    one.add_argument("captions", nargs="*", metavar="CAPTION", help="of unclip: what to draw, in English or Chinese")
    one.add_argument("--variation-of", type=Path, metavar="PNG", help="of unclip: a picture to draw others like it")
    one.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="the picture to write (default: samples.png)"
    )
    one.add_argument("--count", type=_count, help="how many (default: 16; of unclip 1 of each caption)")
    one.add_argument("--steps", type=_count, help="of a diffusion model (default: 50; of unclip's decoder 10)")
    one.add_argument("--rule", choices=RULES, help="of a diffusion model (default: ddim)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--label", metavar="CLASS", help="draw only this class, such as Bag (default: each in turn)")
    one.add_argument("--scale", type=_scale, help="of classifier-free guidance; 1 is off (unclip: 2)")
    _device(one)

    one = command(evaluate)
    one.add_argument("name", nargs="?", help="an entry of the zoo")
    one.add_argument("--claim", metavar="ID", help="measure a claim instead; 'all' for every one")
    one.add_argument("--samples", type=_count, help="how many samples to draw")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where a claim's arms are trained")
    _device(one)

    for listing in (zoo, claims, families):
        command(listing).add_argument("--json", action="store_true", help="as JSON")
    return parser


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=_device_name, help="cpu, cuda or mps (default: the best there is)")


def _device_name(text: str) -> str:
    if text.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or mps, got {text!r}")
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number, at least 0, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
