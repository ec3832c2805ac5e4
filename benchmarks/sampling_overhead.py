"""The sampling loop's own cost: the time a 50-step DDIM run of the default network spends outside the network.

Measured twice: as the total less the time inside the network's calls, and with a network that does nothing. Beside it
stands the cost of diffusers' DDIMScheduler.step. Batch 64, x0 clipped in both. For the CPU.

python benchmarks/sampling_overhead.py
"""

import statistics
from collections.abc import Callable, Sequence

import torch
from common import CLOCKS, alternate, environment, line, parse, parser, save, table
from diffusers import DDIMScheduler
from torch import Tensor

from edu_diffusion.diffusion import ClipX0, ddim, generate, linear
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import pick_runtime

NAME = "sampling_overhead"


class Timed:
    """A network, and the seconds spent in it."""

    def __init__(self, net: torch.nn.Module, clock: Callable[[], float]):
        self.net, self.clock, self.inside = net, clock, []

    def __call__(self, *inputs: object) -> Tensor:
        """The network's answer."""
        start = self.clock()
        out = self.net(*inputs)
        self.inside[-1] += self.clock() - start
        return out


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    chosen = parse(parser(__doc__), arguments)
    batch, steps = (2, 3) if chosen.quick else (64, 50)
    system = DDPM()
    timed = Timed(pick_runtime("cpu").wrap(system.net).eval(), CLOCKS[chosen.clock])
    arms = {
        "course": sampling(system.denoiser.with_net(timed), batch, steps, timed.inside),
        "course, null network": sampling(system.denoiser.with_net(lambda x, t, cond: x), batch, steps),
        "diffusers, null network": peer_sampling(batch, steps),
    }
    seconds = alternate(arms, chosen)
    record = {"name": NAME, "environment": environment(chosen), "batch": batch, "steps": steps}
    record |= figures(seconds, timed.inside[1:], steps)
    record["summary"] = summary(record)
    show(record)
    save(NAME, record, chosen)
    return record


def sampling(denoiser, batch: int, steps: int, inside: list[float] | None = None) -> Callable[[], Tensor]:
    """A function that draws a batch; each call begins a new entry in `inside`."""

    def draw() -> Tensor:
        if inside is not None:
            inside.append(0.0)
        generator = torch.Generator().manual_seed(0)
        return generate(ClipX0(denoiser), (batch, 1, 28, 28), steps=steps, rule=ddim(), generator=generator)

    return draw


def peer_sampling(batch: int, steps: int) -> Callable[[], Tensor]:
    """The same with diffusers' scheduler and a network that does nothing."""
    scheduler = DDIMScheduler(trained_betas=1 - (linear().alpha_bar[1:] / linear().alpha_bar[:-1]).numpy())
    scheduler.set_timesteps(steps)

    @torch.no_grad()
    def draw() -> Tensor:
        x = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            x = scheduler.step(x, t, x, use_clipped_model_output=True).prev_sample
        return x

    return draw


def figures(seconds: dict[str, list[float]], inside: list[float], steps: int) -> dict[str, float]:
    """Medians over the rounds."""
    total = seconds["course"]
    outside = [whole - part for whole, part in zip(total, inside, strict=True)]
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "seconds_in_all": median["course"],
        "share_outside_network": statistics.median(o / t for o, t in zip(outside, total, strict=True)),
        "share_by_null_network": median["course, null network"] / median["course"],
        "ms_per_step_outside_network": 1e3 * statistics.median(outside) / steps,
        "ms_per_step_by_null_network": 1e3 * median["course, null network"] / steps,
        "ms_per_step_diffusers": 1e3 * median["diffusers, null network"] / steps,
    }


def summary(record: dict) -> list[dict]:
    """What the README and the book tell of it."""
    return [
        line("share of the time spent outside the network", record["share_outside_network"], "at most 0.03"),
        line("milliseconds a step outside the network", record["ms_per_step_by_null_network"]),
        line("milliseconds a step of diffusers' scheduler", record["ms_per_step_diffusers"]),
    ]


def show(record: dict) -> None:
    """Print it."""
    title = f"DDIM, {record['steps']} steps, batch {record['batch']}"
    numbers = {name: value for name, value in record.items() if isinstance(value, float)}
    table(title, ("", "value"), list(numbers.items()))


if __name__ == "__main__":
    main()
