"""Training a zoo entry, from its plan to its weights and card."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from edu_diffusion.data import Batches
from edu_diffusion.training import Checkpoint, Ema, Log, adamw, pick_runtime, process, train
from edu_diffusion.zoo.card import Card
from edu_diffusion.zoo.entry import Entry
from edu_diffusion.zoo.store import HERE, card_path, write_weights

LIBRARIES = ("torch", "numpy", "accelerate", "safetensors")


def train_entry(
    entry: Entry,
    runs: Path,
    *,
    folder: Path = HERE,
    device: str | None = None,
    minutes: float | None = None,
    pause: float | None = None,
    steps: int | None = None,
) -> Iterator[Log]:
    """Train an entry, resuming from `runs` if it was begun there; at the end write its weights and card to `folder`.

    `minutes` is a budget of training time, `steps` replaces the plan's number. With `pause` it stops for now after so
    many minutes. Stop iterating at any time: the checkpoint keeps what was done.
    """
    plan, runtime, here = entry.plan, pick_runtime(device), process()
    torch.manual_seed(plan.seed)
    system = entry.build()
    # Kept apart from `system.modules`, which the loop wraps while it runs.
    modules = dict(system.modules)
    ema = {} if plan.ema is None else {name: Ema(module, plan.ema) for name, module in modules.items()}
    optimisers = {
        name: adamw(plan.groups(module), plan.rate, betas=plan.betas, decay=plan.weight_decay)
        for name, module in modules.items()
    }
    data = Batches(entry.data(), plan.batch, seed=plan.seed, rank=here.rank, world=here.world, flip=plan.flip)
    checkpoint = Checkpoint(runs / entry.name / "checkpoint.pt", entry.name)
    options = {"steps": steps or plan.steps, "minutes": minutes, "pause": pause, "seed": plan.seed, "runtime": runtime}
    last = None
    for last in train(system, data, optimisers, ema=ema, checkpoint=checkpoint, **options):
        yield last
    if not here.main or (last is not None and last.progress < 1):
        return
    if last is None:  # resumed at its end: the logs were given then
        last = final_log(checkpoint, steps or plan.steps)
    if hasattr(system, "finish"):
        system.finish()
    kept = {name: ema[name].module if name in ema else module for name, module in modules.items()}
    size, digest = write_weights(entry.name, kept, folder)
    made = Card(
        name=entry.name,
        about=entry.about,
        system=type(system).__name__,
        recipe={
            "batch": plan.batch,
            "rate": plan.rate,
            "betas": "{:g}, {:g}".format(*plan.betas),
            "weight_decay": plan.weight_decay,
            "ema": plan.ema,
            "flip": plan.flip,
        }
        | ({"slower": ", ".join(f"{name}* {share:g}" for name, share in plan.slower.items())} if plan.slower else {}),
        seed=plan.seed,
        steps=last.step,
        images=last.step * plan.batch,
        minutes=round(last.seconds / 60, 1),
        machine=runtime.describe(),
        versions={"python": platform.python_version()} | {name: version(name).split("+")[0] for name in LIBRARIES},
        data_checksum=entry.content(),
        parameters=sum(p.numel() for module in modules.values() for p in module.parameters()),
        weight_bytes=size,
        weight_sha256=digest,
    )
    made.save(card_path(entry.name, folder))


def final_log(checkpoint: Checkpoint, steps: int) -> Log:
    """What the log of a finished training's last step said of its length."""
    state = checkpoint.load()
    return Log(state["step"], steps, {}, 0.0, state["seconds"], state["images"] / state["seconds"], 1.0)
