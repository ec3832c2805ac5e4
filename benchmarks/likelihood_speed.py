"""Likelihood: the time that bits/dim take, and how near that is to the network's calls alone.

The bound on a picture takes a call of the network for each of the T times: there is no way round it. The network is the
course's default with a learned variance. Beside the whole stands the time of the same calls with nothing else. For the
CPU.

python benchmarks/likelihood_speed.py
"""

import statistics
from collections.abc import Callable, Sequence

import torch
from common import alternate, environment, line, parse, parser, save, table, times_faster
from torch import Tensor

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import bits_per_dim
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM
from edu_diffusion.training import pick_runtime

NAME = "likelihood_speed"
PICTURES, TIMES, BATCH = 32, 50, 256
ALL_PICTURES, ALL_TIMES = 1000, 1000


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    chosen = parse(parser(__doc__), arguments)
    pictures, times, batch = (2, 3, 4) if chosen.quick else (PICTURES, TIMES, BATCH)
    system = ImprovedDDPM()
    net = pick_runtime("cpu").wrap(system.net.eval())
    x0, at = fashion("test").x[:pictures], [round(1 + i * 999 / (times - 1)) for i in range(times)]
    arms = {
        "bits/dim": lambda: bits_per_dim(system.denoiser.with_net(net), x0, times=at, batch=batch),
        "network alone": calls(net, x0, times, batch),
    }
    seconds = alternate(arms, chosen)
    pairs = pictures * times
    whole = statistics.median(seconds["bits/dim"]) / pairs * ALL_PICTURES * ALL_TIMES / 60
    record = {
        "name": NAME,
        "environment": environment(chosen),
        "pairs": pairs,
        "batch": batch,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "share_in_network": times_faster(seconds, "bits/dim", "network alone"),
        "minutes_for_all": whole,
    }
    record["summary"] = [
        line(f"minutes for {ALL_PICTURES:,} pictures at all {ALL_TIMES:,} times (by {pairs:,} of the pairs)", whole,
             "at most 15"),
        line("share of that spent in the network's calls", record["share_in_network"]),
    ]  # fmt: skip
    table("bits/dim", ("", "value"), [(one["measured"], float(one["value"])) for one in record["summary"]])
    save(NAME, record, chosen)
    return record


def calls(net, x0: Tensor, times: int, batch: int) -> Callable[[], None]:
    """The network's calls on as many pairs, in batches of the same size, and nothing else."""
    pairs = x0.repeat(times, 1, 1, 1)

    @torch.no_grad()
    def ask() -> None:
        for part in pairs.split(batch):
            net(part, torch.full((len(part),), 500.0), None)

    return ask


if __name__ == "__main__":
    main()
