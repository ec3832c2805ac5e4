"""Quality for time: the Frechet distance of the default recipe after 2, 5 and 10 minutes of training on two cores.

The peer is diffusers' network of the same size under the same optimiser, schedule, average of weights, and minutes, run
in whichever of its ways trains fastest here. Drawing 10,000 samples from it takes longer than all its trainings: it
is judged by 1,000, and the two are compared at 1,000 each. All trainings come first, for they need the machine for
themselves; their weights wait in runs/ for the judging, which may share it. What is stored is not done again: stop at
any time, the same command goes on. All of it takes about four hours. For the CPU.

python benchmarks/quality_for_time.py
python benchmarks/quality_for_time.py --minutes 10 --seeds 0 --networks course
python benchmarks/quality_for_time.py --train-only
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
WEIGHTS = RESULTS.parents[1] / "runs" / NAME
FEW = 1000  # samples at which the two are compared


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure what is missing, print and save."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--networks", nargs="+", choices=("course", "diffusers"), default=["course", "diffusers"])
    options.add_argument("--samples", type=int, default=10_000, help="of the course's network; the peer draws fewer")
    options.add_argument("--again", action="store_true", help="forget what is stored")
    options.add_argument("--train-only", action="store_true", help="leave the judging to a later command")
    options.add_argument(
        "--judge-threads", type=int, help="threads for drawing and comparing; as for training if not given"
    )
    options.add_argument("--weights", type=Path, default=WEIGHTS, help="where trained networks wait for their judging")
    options.set_defaults(threads=2)
    chosen = parse(options, arguments)
    if chosen.quick:
        chosen.minutes, chosen.seeds, chosen.samples = [0.002], [0], 130
    runs = {} if chosen.again else stored(chosen)
    missing = {
        f"{network}, {minutes:g} minutes, seed {seed}, {torch.get_num_threads()} threads": (network, minutes, seed)
        for minutes, seed, network in product(chosen.minutes, chosen.seeds, chosen.networks)
    }
    missing = {key: run for key, run in missing.items() if key not in runs}
    for key, run in missing.items():
        if chosen.again or not weights(key, chosen).exists():
            keep(fit(*run, chosen), weights(key, chosen))
            print(f"{key}: trained", flush=True)
    if chosen.judge_threads:
        torch.set_num_threads(chosen.judge_threads)
    for key, run in {} if chosen.train_only else missing.items():
        found = judge(torch.load(weights(key, chosen), weights_only=True), *run, chosen)
        runs = (runs if chosen.again else stored(chosen)) | {key: found}  # another command may have judged meanwhile
        print(f"{key}: FD {found['fd']:.2f}, {found['steps']} steps", flush=True)
        save(NAME, report(runs, chosen), chosen)
    record = report(runs, chosen)
    show(record)
    return record


def stored(chosen: Namespace) -> dict[str, dict]:
    """The runs that an earlier command measured."""
    path: Path = (chosen.results or RESULTS) / f"{NAME}.json"
    return json.loads(path.read_text())["runs"] if path.exists() and not chosen.quick else {}


def weights(key: str, chosen: Namespace) -> Path:
    """The file of one trained network."""
    return chosen.weights / f"{key}.pt"


def keep(trained: dict, path: Path) -> None:
    """Write a trained network, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(trained, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def fit(network: str, minutes: float, seed: int, chosen: Namespace) -> dict:
    """Train for so many minutes. What became of it, with the averaged weights."""
    setup, plan = fastest(network, chosen), find(ENTRY).plan
    system = DDPM(net=setup.build(seed))
    ema = {"net": Ema(system.net, plan.ema)}
    optimiser = adamw(system.net.parameters(), plan.rate, decay=plan.weight_decay)
    data = Batches(fashion(), plan.batch, seed=seed, flip=plan.flip)
    # The learning rate falls by the clock: there are more steps than the minutes allow.
    options = {"steps": 10**9, "minutes": minutes, "ema": ema, "runtime": setup.runtime, "seed": seed}
    for log in train(system, data, {"net": optimiser}, **options):
        last = log
    return {
        "weights": ema["net"].module.state_dict(),
        "setup": setup.to_json(),
        "run": {
            "steps": last.step,
            "images_per_second": last.step * plan.batch / last.seconds,
            "parameters": parameters(system.net),
            "environment": environment(chosen),
        },
    }


def judge(trained: dict, network: str, minutes: float, seed: int, chosen: Namespace) -> dict:
    """Draw samples of a trained network, and compare them with the test set."""
    setup = Setup(**trained["setup"])
    net = setup.build(seed)
    net.load_state_dict(trained["weights"])
    start = time.perf_counter()
    denoiser = DDPM(net=setup.runtime.wrap(net.eval())).denoiser
    found = compare(denoiser, seed, chosen if network == "course" else few(chosen))
    return {
        "network": network,
        "minutes": minutes,
        "seed": seed,
        **found,
        **trained["run"],
        "seconds_to_sample_and_compare": time.perf_counter() - start,
        "judged_with_threads": torch.get_num_threads(),
        "setup": trained["setup"],
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
