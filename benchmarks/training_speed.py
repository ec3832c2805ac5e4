"""Training speed and memory: the course's default network against diffusers' UNet2DModel of the same size.

A step is forward, backward and AdamW on 128 pictures of 1x28x28. The peer runs by default, in its best tuned way
(found by trying each), and in its best way in float32. Beside it stands what the machine's convolutions can do. For the
CPU.

python benchmarks/training_speed.py
"""

import json
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from common import alternate, environment, line, parse, parser, rate, save, table, times_faster
from peer import DEFAULT, PEER, Setup, course, parameters, tunings
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from edu_diffusion.training import adamw
from edu_diffusion.training.runtime import has_bf16_units

NAME = "training_speed"


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    options = parser(__doc__)
    options.add_argument("--memory-of", help="(its own use) print the bytes that training this setup takes")
    chosen = parse(options, arguments)
    batch = 4 if chosen.quick else 128
    if chosen.memory_of:
        print(memory_here(Setup(**json.loads(chosen.memory_of)), batch))
        return {}
    setups = choose(batch, chosen)
    # Memory first: a child starts with its parent's high-water mark on some systems.
    memory = {setup: memory_of(setup, chosen) for setup in dict.fromkeys(setups.values())}
    seconds = alternate({str(setup): trainer(setup, batch) for setup in memory}, chosen)
    seconds = {name: seconds[str(setup)] for name, setup in setups.items()}
    record = {"name": NAME, "environment": environment(chosen), "batch": batch, "peer": PEER}
    sizes = {setup: size(setup) for setup in memory}
    record["setups"] = {
        name: setup.to_json()
        | sizes[setup]
        | {"images_per_second": rate(seconds[name], batch), "peak_memory_mib": memory[setup] / 2**20}
        for name, setup in setups.items()
    }
    record["convolution_gflops"] = convolutions(batch, chosen)
    record["ratios"] = ratios(record["setups"], seconds)
    record["share_of_convolution_rate"] = shares(record)
    record["summary"] = summary(record)
    show(record)
    save(NAME, record, chosen)
    return record


def choose(batch: int, chosen: Namespace) -> dict[str, Setup]:
    """The arms by name. Two names may mean one setup, which is then measured once."""
    ours = course()
    fp32 = quickest(tunings(fp32_only=True), batch, chosen)
    best = quickest(tunings(), batch, chosen) if has_bf16_units() else fp32
    return {
        "course": ours,
        "course fp32": replace(ours, dtype="float32"),
        "peer default": DEFAULT,
        "peer tuned": best,
        "peer fp32 tuned": fp32,
    }


def quickest(candidates: Sequence[Setup], batch: int, chosen: Namespace) -> Setup:
    """The one whose steps take least time."""
    if chosen.quick:
        return candidates[0]
    rounds = Namespace(clock=chosen.clock, repeats=3)
    seconds = alternate({str(setup): trainer(setup, batch) for setup in candidates}, rounds)
    return min(candidates, key=lambda setup: statistics.median(seconds[str(setup)]))


def trainer(setup: Setup, batch: int) -> Callable[[], None]:
    """A function that does one training step."""
    net, runtime = setup.build().train(), setup.runtime
    x, eps, t = torch.randn(batch, 1, 28, 28), torch.randn(batch, 1, 28, 28), torch.randint(1, 1001, (batch,)).float()
    finish = course_finish(net) if setup.network == "course" else peer_finish(net, setup.fused)

    def step() -> None:
        with runtime.autocast():
            loss = F.mse_loss(net(x, t).float(), eps)
        loss.backward()
        finish()

    return step


def course_finish(net: torch.nn.Module) -> Callable[[], object]:
    """The course's own optimiser, which also clips the gradients."""
    optimiser = adamw(net.parameters())
    return lambda: optimiser.step(0.0)


def peer_finish(net: torch.nn.Module, fused: bool) -> Callable[[], object]:
    """AdamW alone."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True if fused else None)

    def finish() -> None:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return finish


def size(setup: Setup) -> dict[str, float]:
    """Parameters, and the multiplications and additions of one training step on one picture."""
    step = trainer(setup, 1)
    with FlopCounterMode(display=False) as counter:
        step()
    return {"parameters": parameters(setup.build()), "mflop_per_image": counter.get_total_flops() / 1e6}


def memory_of(setup: Setup, chosen: Namespace) -> int:
    """The bytes that training takes at its peak, in a process of its own: a high-water mark never falls again."""
    command = [sys.executable, __file__, "--memory-of", json.dumps(setup.to_json())]
    command += ["--threads", str(torch.get_num_threads())] + ["--quick"] * chosen.quick
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def memory_here(setup: Setup, batch: int) -> int:
    """How far four steps raise this process's highest memory above what the imports left."""
    before = highest()
    step = trainer(setup, batch)
    for _ in range(4):
        step()
    return highest() - before


def highest() -> int:
    """The most memory this process has held, in bytes. Linux's own record is exact from the process's start on."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def convolutions(batch: int, chosen: Namespace) -> dict[str, float]:
    """GFLOP/s of a 64 to 64 3x3 convolution, forward and backward, in its better layout. Emulated bf16 is left out."""
    found = {}
    for dtype in ["float32", "bfloat16"] if has_bf16_units() else ["float32"]:
        for edge in (28, 14):
            layouts = (torch.contiguous_format, torch.channels_last)
            arms = {str(layout): convolution(batch, edge, getattr(torch, dtype), layout) for layout in layouts}
            quickest = min(statistics.median(times) for times in alternate(arms, chosen).values())
            found[f"{dtype} {edge}x{edge}"] = 3 * 2 * 9 * 64 * 64 * edge**2 * batch / quickest / 1e9
    return found


def convolution(batch: int, edge: int, dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    """A function that convolves once, forward and backward to input and weight."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).to(dtype=dtype, memory_format=layout)
    x = torch.randn(batch, 64, edge, edge).to(dtype=dtype, memory_format=layout).requires_grad_()
    upstream = torch.randn(batch, 64, edge, edge).to(dtype=dtype, memory_format=layout)
    return lambda: torch.autograd.grad(layer(x), (x, layer.weight), upstream)


def ratios(setups: dict, seconds: dict[str, list[float]]) -> dict[str, float]:
    """How many times faster, and how much of the peer's memory."""
    memory = {name: setup["peak_memory_mib"] for name, setup in setups.items()}
    return {
        "speed_over_default": times_faster(seconds, "course", "peer default"),
        "speed_over_tuned": times_faster(seconds, "course", "peer tuned"),
        "speed_fp32_over_default": times_faster(seconds, "course fp32", "peer default"),
        "speed_fp32_over_tuned": times_faster(seconds, "course fp32", "peer fp32 tuned"),
        "memory_of_default": memory["course"] / memory["peer default"],
        "memory_of_tuned": memory["course"] / memory["peer tuned"],
        "parameters": setups["peer default"]["parameters"] / setups["course"]["parameters"],
    }


def shares(record: dict) -> dict[str, float]:
    """Which share of each convolution rate the course's training reaches, all its work counted."""
    ours = record["setups"]["course"]
    reached = ours["images_per_second"]["median"] * ours["mflop_per_image"] / 1e3
    return {name: reached / gflops for name, gflops in record["convolution_gflops"].items()}


def summary(record: dict) -> list[dict]:
    """What the README and the book tell of it. Where there are no bf16 units, the course's own way is float32."""
    ratios, share = record["ratios"], record["share_of_convolution_rate"]
    bf16 = record["environment"]["bf16_units"]
    rows = [
        line("images a second, course's default way", record["setups"]["course"]["images_per_second"]["median"]),
        line("images a second, peer's default way", record["setups"]["peer default"]["images_per_second"]["median"]),
        line("times faster, both in float32, peer tuned", ratios["speed_fp32_over_tuned"], "at least 2.2"),
        line("peak memory as a share of the peer's", ratios["memory_of_default"], "at most 0.45"),
    ]
    if bf16:
        rows += [
            line("times faster than the peer's default way", ratios["speed_over_default"], "at least 4.5; goal 8"),
            line("times faster than the peer tuned", ratios["speed_over_tuned"], "at least 2.4"),
        ]
    best = "bfloat16 14x14" if bf16 else "float32 14x14"
    rows += [
        line(f"share of this machine's convolution rate, {best}", share[best], "goal 0.4" if bf16 else ""),
        line("parameters of the peer, as a share of ours", ratios["parameters"], "within 0.15 of 1"),
    ]
    return rows


def show(record: dict) -> None:
    """Print it."""
    columns = ("", "images/s", "lowest", "highest", "MiB", "parameters", "MFLOP/image", "how")
    rows = []
    for name, setup in record["setups"].items():
        speed = setup["images_per_second"]
        how = ", ".join([setup["dtype"]] + ["channels_last"] * setup["channels_last"] + [setup["attention"]])
        rows.append((name, speed["median"], speed["lowest"], speed["highest"], setup["peak_memory_mib"]))
        rows[-1] += (setup["parameters"], setup["mflop_per_image"], how)
    table("Training, batch " + str(record["batch"]), columns, rows)
    table("Course against peer", ("", "times"), list(record["ratios"].items()))
    reached = [
        (name, gflops, record["share_of_convolution_rate"][name])
        for name, gflops in record["convolution_gflops"].items()
    ]
    table("This machine's convolutions, 64 to 64", ("", "GFLOP/s", "share reached"), reached)


if __name__ == "__main__":
    main()
