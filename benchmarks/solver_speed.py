"""Sampling speed: 64 pictures by a 20-step solver, the course's against diffusers' in default use.

Both networks have about the same number of parameters, both use DPM-Solver++ of second order. Below them stands what
the loops cost without a network: a step of the course's loop, and a step of diffusers' schedulers, at batch 1 and 64,
by DDIM and by DPM-Solver++; and how far the two loops' pictures lie apart when both ask one and the same network. For
the CPU.

python benchmarks/solver_speed.py
"""

import statistics
from collections.abc import Callable, Sequence
from itertools import product

import torch
from common import alternate, environment, line, parse, parser, save, table, times_faster
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from peer import DEFAULT, course, parameters
from torch import Tensor

from edu_diffusion.diffusion import ddim, dpm_pp, generate, linear
from edu_diffusion.systems.ddpm import DDPM

NAME = "solver_speed"
STEPS, BATCH = 20, 64
RULES = {"ddim": ddim, "dpm_pp": dpm_pp}
SCHEDULE = linear()
BETAS = 1 - (SCHEDULE.alpha_bar[1:] / SCHEDULE.alpha_bar[:-1]).numpy()


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    chosen = parse(parser(__doc__), arguments)
    batch, steps = (2, 3) if chosen.quick else (BATCH, STEPS)
    ours, theirs = course(), DEFAULT
    nets = {"course": ours.runtime.wrap(ours.build()).eval(), "diffusers": theirs.build().eval()}
    whole = alternate({"course": whole_course(nets["course"], batch, steps),
                       "diffusers": whole_peer(nets["diffusers"], batch, steps)}, chosen)  # fmt: skip
    arms = {}
    for rule, size in product(RULES, (1, batch)):
        arms[f"course, {rule}, batch {size}"] = loop_course(rule, size, steps)
        arms[f"diffusers, {rule}, batch {size}"] = loop_peer(rule, size, steps)
    loops = alternate(arms, chosen)
    record = {
        "name": NAME,
        "environment": environment(chosen),
        "batch": batch,
        "steps": steps,
        "parameters": {name: parameters(net) for name, net in nets.items()},
        "seconds": {name: statistics.median(times) for name, times in whole.items()},
        "times_faster": times_faster(whole, "course", "diffusers"),
        "ms_per_step": {name: 1e3 * statistics.median(times) / steps for name, times in loops.items()},
        "share_of_diffusers": {
            f"{rule}, batch {size}": 1
            / times_faster(loops, f"course, {rule}, batch {size}", f"diffusers, {rule}, batch {size}")
            for rule, size in product(RULES, (1, batch))
        },
        "largest_difference": {rule: difference(rule, steps) for rule in RULES},
    }
    record["summary"] = summary(record)
    show(record)
    save(NAME, record, chosen)
    return record


def whole_course(net, batch: int, steps: int) -> Callable[[], Tensor]:
    """Pictures by the course's loop."""
    denoiser = DDPM(net=torch.nn.Identity()).denoiser.with_net(net)

    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return generate(denoiser, (batch, 1, 28, 28), steps=steps, rule=dpm_pp(), generator=generator)

    return draw


def scheduler(rule: str, steps: int, **options):
    """diffusers' scheduler of a rule, with its options left alone but for the schedule."""
    kind = {"ddim": DDIMScheduler, "dpm_pp": DPMSolverMultistepScheduler}[rule]
    made = kind(trained_betas=BETAS, **options)
    made.alphas_cumprod = SCHEDULE.alpha_bar[1:]  # its own table is in single precision
    made.set_timesteps(steps)
    return made


@torch.no_grad()
def walk(made, x: Tensor, ask: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """diffusers' own loop."""
    for t in made.timesteps:
        x = made.step(ask(x, t), t, x).prev_sample
    return x


def whole_peer(net, batch: int, steps: int) -> Callable[[], Tensor]:
    """Pictures by diffusers' loop, scheduler and network, all in default use."""

    def draw() -> Tensor:
        x = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return walk(scheduler("dpm_pp", steps), x, lambda x, t: net.net(x, t).sample)

    return draw


def nothing(x: Tensor, t=None, cond=None) -> Tensor:
    """A network that does nothing."""
    return x


def loop_course(rule: str, batch: int, steps: int) -> Callable[[], Tensor]:
    """The course's loop alone."""
    denoiser, x = DDPM(net=torch.nn.Identity()).denoiser.with_net(nothing), noise(batch)
    return lambda: generate(denoiser, tuple(x.shape), steps=steps, rule=RULES[rule](), x_init=x)


def loop_peer(rule: str, batch: int, steps: int) -> Callable[[], Tensor]:
    """diffusers' loop alone. DDIM clips x0 by default; that is switched off, as it is in the course's."""
    options = {"clip_sample": False} if rule == "ddim" else {}
    x = noise(batch)
    return lambda: walk(scheduler(rule, steps, **options), x, nothing)


def noise(batch: int) -> Tensor:
    """x_T."""
    return torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def difference(rule: str, steps: int) -> float:
    """The largest difference of a pixel between the two loops on the same times and network, over the largest pixel.

    The network is a fixed smooth function in double precision, so that rounding does not hide a difference; but
    diffusers' DPM-Solver++ takes its steps in single precision whatever it is given.
    """
    options = {"timestep_spacing": "trailing"}
    options |= {"clip_sample": False, "set_alpha_to_one": True} if rule == "ddim" else {}
    options |= {"final_sigmas_type": "zero", "lower_order_final": False} if rule == "dpm_pp" else {}
    made, x = scheduler(rule, steps, **options), noise(4).double()
    if rule == "dpm_pp":  # it keeps noise / signal in single precision
        levels = SCHEDULE.alpha_bar[SCHEDULE.spaced(steps)]
        made.sigmas = ((1 - levels) / levels).sqrt()

    def smooth(x: Tensor, t, cond=None) -> Tensor:
        return torch.tanh(x + torch.as_tensor(t).double().reshape(-1, 1, 1, 1) / 500)

    denoiser = DDPM(net=torch.nn.Identity(), schedule=SCHEDULE).denoiser.with_net(smooth)
    ours = generate(denoiser, tuple(x.shape), steps=steps, rule=RULES[rule](), x_init=x)
    theirs = walk(made, x, lambda x, t: smooth(x, t + 1))
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def summary(record: dict) -> list[dict]:
    """What the README and the book tell of it."""
    shares = record["share_of_diffusers"]
    return [
        line(
            f"{record['batch']} pictures in {record['steps']} steps of DPM-Solver++, times faster than diffusers",
            record["times_faster"],
            "at least 4; goal 8",
        ),
        *(
            line(f"a step of the loop outside the network, share of diffusers' {name}", share, "at most 0.33")
            for name, share in shares.items()
        ),
        *(
            line(f"relative difference of x_0 from diffusers', {rule}", value, "at most 1e-5")
            for rule, value in record["largest_difference"].items()
        ),
    ]


def show(record: dict) -> None:
    """Print it."""
    title = f"{record['batch']} pictures, {record['steps']} steps"
    table(title, ("", "value"), [(one["measured"], float(one["value"])) for one in record["summary"]])
    table("milliseconds a step", ("", "ms"), list(record["ms_per_step"].items()))


if __name__ == "__main__":
    main()
