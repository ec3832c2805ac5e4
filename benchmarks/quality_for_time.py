"""Quality for time: the Frechet distance of the default recipe after 2, 5 and 10 minutes of training on two cores.

The peer is diffusers' network of the same size under the same optimiser, schedule, average of weights, and minutes, run
in whichever of its ways trains fastest here. Drawing 10,000 samples from it takes longer than all its trainings: it
is judged by 1,000, and the two are compared at 1,000 each. Each result is stored as soon as it is measured, and what is
stored is not measured again: stop at any time, the same command goes on. All of it takes about four hours. For the CPU.

python benchmarks/quality_for_time.py
python benchmarks/quality_for_time.py --minutes 10 --seeds 0 --networks course
"""

import json
import statistics
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from common import RESULTS, environment, line, parse, parser, save, table
from peer import Setup, course, parameters, tunings
from training_speed import quickest

from edu_diffusion.data import Batches, fashion
from edu_diffusion.metrics import Measured, frechet_distance
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Ema, adamw, train
from edu_diffusion.zoo import find
from edu_diffusion.zoo.measure import draw, fd, features

NAME = "quality_for_time"
ENTRY = "ddpm-fashion"
FEW = 1000  # samples at which the two are compared


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure what is missing, print and save."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--networks", nargs="+", choices=("course", "diffusers"), default=["course", "diffusers"])
    options.add_argument("--samples", type=int, default=10_000, help="of the course's network; the peer draws fewer")
    options.add_argument("--again", action="store_true", help="forget what is stored")
    options.set_defaults(threads=2)
    chosen = parse(options, arguments)
    if chosen.quick:
        chosen.minutes, chosen.seeds, chosen.samples = [0.002], [0], 130
    runs = {} if chosen.again else stored(chosen)
    for minutes, seed, network in product(chosen.minutes, chosen.seeds, chosen.networks):
        key = f"{network}, {minutes:g} minutes, seed {seed}, {torch.get_num_threads()} threads"
        if key not in runs:
            runs[key] = measure(network, minutes, seed, chosen)
            print(f"{key}: FD {runs[key]['fd']:.2f}, {runs[key]['steps']} steps", flush=True)
            save(NAME, report(runs, chosen), chosen)
    record = report(runs, chosen)
    show(record)
    save(NAME, record, chosen)
    return record


def stored(chosen: Namespace) -> dict[str, dict]:
    """The runs that an earlier command measured."""
    path: Path = (chosen.results or RESULTS) / f"{NAME}.json"
    return json.loads(path.read_text())["runs"] if path.exists() and not chosen.quick else {}


def measure(network: str, minutes: float, seed: int, chosen: Namespace) -> dict:
    """Train for so many minutes, draw samples, and compare them with the test set."""
    setup, plan = fastest(network, chosen), find(ENTRY).plan
    system = DDPM(net=setup.build(seed))
    ema = {"net": Ema(system.net, plan.ema)}
    optimiser = adamw(system.net.parameters(), plan.rate, decay=plan.weight_decay)
    data = Batches(fashion(), plan.batch, seed=seed, flip=plan.flip)
    # The learning rate falls by the clock: there are more steps than the minutes allow.
    options = {"steps": 10**9, "minutes": minutes, "ema": ema, "runtime": setup.runtime, "seed": seed}
    for log in train(system, data, {"net": optimiser}, **options):
        last = log
    start = time.perf_counter()
    averaged = system.denoiser.with_net(setup.runtime.wrap(ema["net"].module.eval()))
    found = compare(averaged, seed, chosen if network == "course" else few(chosen))
    return {
        "network": network,
        "minutes": minutes,
        "seed": seed,
        **found,
        "steps": last.step,
        "images_per_second": last.step * plan.batch / last.seconds,
        "seconds_to_sample_and_compare": time.perf_counter() - start,
        "parameters": parameters(system.net),
        "setup": setup.to_json(),
        "environment": environment(chosen),
    }


def few(chosen: Namespace) -> Namespace:
    """The same choice with no more samples than the comparison needs."""
    return Namespace(**vars(chosen) | {"samples": min(chosen.samples, FEW)})


def compare(denoiser, seed: int, chosen: Namespace) -> dict:
    """The Frechet distance of DDIM-50 samples, of all and of the first few; with --quick, of two steps."""
    if chosen.quick:
        images = draw(denoiser, chosen.samples, seed=seed, steps=2, batch=chosen.samples)
        value = frechet_distance(features(images), features(fashion("test").x[:200]))
        whole = part = Measured("Frechet distance", value, len(images), seed)
    else:
        images = draw(denoiser, chosen.samples, seed=seed)
        whole, part = fd(images, seed), fd(images[:FEW], seed)
    return {
        "samples": len(images),
        "fd": whole.value,
        "floor": whole.floor,
        "fd_of_few": part.value,
        "floor_of_few": part.floor,
    }


def fastest(network: str, chosen: Namespace) -> Setup:
    """How the network is run: the course's own way, or the peer's best."""
    return course() if network == "course" else quickest(tunings(), find(ENTRY).plan.batch, chosen)


def report(runs: dict[str, dict], chosen: Namespace) -> dict:
    """All runs, their means by network and minutes, and the summary."""
    groups: dict[tuple[str, float], list[dict]] = {}
    for run in runs.values():
        groups.setdefault((run["network"], run["minutes"]), []).append(run)
    means = [
        {"network": network, "minutes": minutes, "seeds": len(group), "samples": group[0]["samples"]}
        | over_seeds("fd", group)
        | over_seeds("fd_of_few", group)
        for (network, minutes), group in sorted(groups.items())
    ]
    record = {"name": NAME, "environment": environment(chosen), "recipe": ENTRY, "means": means, "runs": runs}
    return record | {"summary": summary(means)}


def over_seeds(key: str, group: Sequence[dict]) -> dict:
    """The mean of several runs' numbers, and their spread."""
    values = [run[key] for run in group]
    return {key: statistics.mean(values), f"{key}_spread": spread(values)}


def summary(means: Sequence[dict]) -> list[dict]:
    """What the README and the book tell of it."""
    by = {(mean["network"], mean["minutes"]): mean for mean in means}
    rows = []
    for (network, minutes), mean in by.items():
        aim = "at most 18; goal 12" if (network, minutes) == ("course", 10) else ""
        what = f"FD after {minutes:g} minutes, {network}"
        more = {"spread": mean["fd_spread"], "seeds": mean["seeds"], "samples": mean["samples"]}
        rows.append(line(what, mean["fd"], aim, **more))
    for minutes in sorted(minutes for network, minutes in by if network == "course" and ("diffusers", minutes) in by):
        ratio = by["course", minutes]["fd_of_few"] / by["diffusers", minutes]["fd_of_few"]
        aim = "at most 0.5" if minutes == 10 else ""
        rows.append(line(f"FD after {minutes:g} minutes over the peer's, {FEW:,} samples each", ratio, aim))
    return rows


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation over the seeds, where there are several."""
    return statistics.stdev(values) if len(values) > 1 else None


def show(record: dict) -> None:
    """Print the summary."""
    rows = [
        [row["measured"], row["value"], row.get("spread") or "", row.get("seeds", ""), row["aim"]]
        for row in record["summary"]
    ]
    table("Frechet distance for time", ("", "value", "spread", "seeds", "aim"), rows)


if __name__ == "__main__":
    main()
