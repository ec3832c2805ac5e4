"""Quality for time: the Frechet distance of the default recipe after 2, 5 and 10 minutes of training on two cores.

The peer is diffusers' network of the same size under the same optimiser, schedule, average of weights, and minutes, run
in whichever of its ways trains fastest here. Each result is stored as soon as it is measured, and what is stored is not
measured again: stop at any time, the same command goes on. All of it takes about six hours. For the CPU.

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
from common import RESULTS, environment, parse, parser, save, table
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
TARGETS = {"fd_at_10_minutes": 18.0, "fd_over_peer_at_10_minutes": 0.5, "goal_fd_at_10_minutes": 12.0}


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure what is missing, print and save."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--networks", nargs="+", choices=("course", "diffusers"), default=["course", "diffusers"])
    options.add_argument("--samples", type=int, default=10_000)
    options.add_argument("--again", action="store_true", help="forget what is stored")
    options.set_defaults(threads=2)
    chosen = parse(options, arguments)
    if chosen.quick:
        chosen.minutes, chosen.seeds, chosen.samples = [0.002], [0], 130
    runs = {} if chosen.again else stored(chosen)
    for minutes, seed, network in product(chosen.minutes, chosen.seeds, chosen.networks):
        key = (
            f"{network}, {minutes:g} minutes, seed {seed}, {chosen.samples} samples, {torch.get_num_threads()} threads"
        )
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
    distance = compare(averaged, seed, chosen)
    return {
        "network": network,
        "minutes": minutes,
        "seed": seed,
        "samples": chosen.samples,
        "fd": distance.value,
        "floor": distance.floor,
        "steps": last.step,
        "images_per_second": last.step * plan.batch / last.seconds,
        "seconds_to_sample_and_compare": time.perf_counter() - start,
        "parameters": parameters(system.net),
        "setup": setup.to_json(),
        "environment": environment(chosen),
    }


def compare(denoiser, seed: int, chosen: Namespace) -> Measured:
    """The Frechet distance of DDIM-50 samples; with --quick, of two steps to a few real pictures."""
    if not chosen.quick:
        return fd(draw(denoiser, chosen.samples, seed=seed), seed)
    found = features(draw(denoiser, chosen.samples, seed=seed, steps=2, batch=chosen.samples))
    real = features(fashion("test")[slice(200)].x)
    return Measured("Frechet distance", frechet_distance(found, real), chosen.samples, seed)


def fastest(network: str, chosen: Namespace) -> Setup:
    """How the network is run: the course's own way, or the peer's best."""
    return course() if network == "course" else quickest(tunings(), find(ENTRY).plan.batch, chosen)


def report(runs: dict[str, dict], chosen: Namespace) -> dict:
    """All runs, and their means by network and minutes."""
    groups: dict[tuple[str, float], list[float]] = {}
    for run in runs.values():
        if run["samples"] == chosen.samples:
            groups.setdefault((run["network"], run["minutes"]), []).append(run["fd"])
    means = [
        {"network": network, "minutes": minutes, "fd": statistics.mean(fds), "spread": spread(fds), "seeds": len(fds)}
        for (network, minutes), fds in sorted(groups.items())
    ]
    return {
        "name": NAME,
        "environment": environment(chosen),
        "recipe": ENTRY,
        "targets": TARGETS,
        "means": means,
        "runs": runs,
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation over the seeds, where there are several."""
    return statistics.stdev(values) if len(values) > 1 else None


def show(record: dict) -> None:
    """Print the means, and how ours compare."""
    rows = [[mean[key] for key in ("network", "minutes", "fd", "spread", "seeds")] for mean in record["means"]]
    table("Frechet distance", ("network", "minutes", "FD", "spread", "seeds"), rows)
    by = {(mean["network"], mean["minutes"]): mean["fd"] for mean in record["means"]}
    shared = sorted(minutes for network, minutes in by if network == "course" and ("diffusers", minutes) in by)
    over = [(minutes, by["course", minutes] / by["diffusers", minutes]) for minutes in shared]
    table("Course over peer", ("minutes", "FD ratio"), over)


if __name__ == "__main__":
    main()
