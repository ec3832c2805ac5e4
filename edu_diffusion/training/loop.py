"""The one training loop. It is a generator: iterate over it for a progress bar, a live plot, or an early stop."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from edu_diffusion.training.checkpoint import Checkpoint
from edu_diffusion.training.ema import Ema
from edu_diffusion.training.optimiser import Optimiser
from edu_diffusion.training.runtime import Runtime, pick_runtime
from edu_diffusion.training.team import Team
from edu_diffusion.types import Batch, Rng


@runtime_checkable
class Recipe(Protocol):
    """A system's training objective.

    `losses` yields (phase, loss, metrics) once for each optimiser's turn; the loop takes that step before asking for
    the next, so a GAN needs no loop of its own. It must call its networks through `self.modules`, which the loop
    places. What else it has to remember (loss-aware times, say) goes into a dictionary `memory`, and is kept in
    checkpoints. If it has a method `check(batch)`, every batch is shown to it first, on the CPU.
    """

    modules: dict[str, nn.Module]

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """The phases of one training step."""


@dataclass(frozen=True)
class Log:
    """How the training stands, averaged over what was measured since the last one."""

    step: int
    steps: int
    metrics: dict[str, float]  # "loss", or "loss/PHASE" where there are several, and whatever the recipe measures
    rate: float  # learning rate
    seconds: float  # training time, earlier sessions of the same checkpoint included
    images_per_second: float
    progress: float  # 0..1, of the steps or of the time budget, whichever is further

    @property
    def seconds_left(self) -> float:
        """An estimate of the time still to go."""
        return self.seconds / self.progress - self.seconds if self.progress > 0 else float("inf")


class Training:
    """What stays between the steps of `train`, and what a checkpoint holds."""

    def __init__(self, recipe: Recipe, data, optimisers: Mapping[str, Optimiser], ema: Mapping[str, Ema], rng: Rng):
        self.recipe, self.data, self.optimisers, self.ema, self.rng = recipe, data, optimisers, ema, rng
        self.modules = dict(recipe.modules)
        self.step, self.images, self.seconds = 0, 0, 0.0
        unknown = sorted(set(ema) - set(self.modules))
        if unknown:
            raise ValueError(f"ema names {unknown}, but the recipe's modules are {sorted(self.modules)}")

    def place(self, team: Team) -> None:
        """Everything to its device; with several processes, gradients are averaged over them."""
        for name, module in self.modules.items():
            team.runtime.place(module)
            if any(p.requires_grad for p in module.parameters()):
                self.recipe.modules[name] = team.prepare(module)
        for ema in self.ema.values():
            team.runtime.place(ema.averaged)

    def one_step(self, team: Team, progress: float) -> list[tuple[str, Tensor]]:
        """One turn of every phase. Returns what was measured in each: a phase may come several times, or not at all."""
        batch, measured = next(self.data), []
        if hasattr(self.recipe, "check"):
            self.recipe.check(batch)
        self.images += len(batch) * team.world
        losses = self.recipe.losses(batch.to(team.runtime.device), self.rng)
        for phase, loss, metrics in _under_autocast(losses, team.runtime):
            if phase not in self.optimisers:
                raise ValueError(
                    f"the recipe has a phase {phase!r}, but the optimisers are {sorted(self.optimisers)}: give it one "
                    "of that name"
                )
            team.backward(loss)
            self.optimisers[phase].step(progress)
            name = "loss" if len(self.optimisers) == 1 else f"loss/{phase}"
            measured += [(name, loss.detach()), *((key, value.detach()) for key, value in metrics.items())]
        for name, ema in self.ema.items():
            ema.update(self.modules[name])
        self.step += 1
        return measured

    def check_phases(self) -> None:
        """Refuse optimisers whose turn never came: what they hold would stay as it was, and nobody would see it.

        Raises: ValueError naming them.
        """
        idle = sorted(name for name, optimiser in self.optimisers.items() if optimiser.steps == 0)
        if idle:
            raise ValueError(f"the recipe has had no phase for the optimisers {idle}: what they hold is not trained")

    def state_dict(self) -> dict:
        """Everything that a continuation needs to be the same to the last bit."""
        return {
            name: {key: part.state_dict() for key, part in group.items()} for name, group in self._groups().items()
        } | {
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken.

        Raises: ValueError if the state was taken from other parts than these, or from another network.
        """
        for name, group in self._groups().items():
            if set(state[name]) != set(group):
                raise ValueError(
                    f"the checkpoint's {name} are {sorted(state[name])}, but this training has {sorted(group)}"
                )
            for key, part in group.items():
                try:
                    part.load_state_dict(state[name][key])
                except (RuntimeError, ValueError) as error:  # torch's words for other shapes and other groups
                    raise ValueError(
                        f"the checkpoint's {key} ({name}) does not fit: it is of another network, or of other "
                        "settings; train with those, or give another path"
                    ) from error
        torch.set_rng_state(state["torch_rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.step, self.images, self.seconds = state["step"], state["images"], state["seconds"]

    def _groups(self) -> dict[str, Mapping]:
        return {
            "modules": self.modules,
            "optimisers": self.optimisers,
            "ema": self.ema,
            "memory": getattr(self.recipe, "memory", {}),
            "random": {"data": self.data, "rng": self.rng},
        }


def train(
    recipe: Recipe,
    data,
    optimisers: Mapping[str, Optimiser],
    *,
    steps: int,
    ema: Mapping[str, Ema] | None = None,
    checkpoint: Checkpoint | None = None,
    runtime: Runtime | None = None,
    minutes: float | None = None,
    pause: float | None = None,
    seed: int = 0,
    log_every: int = 20,
) -> Iterator[Log]:
    """Train, yielding a `Log` every `log_every` steps.

    `data` is an endless iterator of batches with a state (`edu_diffusion.data.Batches`); `optimisers` and `ema` go by
    the names of the recipe's phases and modules. If `checkpoint` exists, training goes on from it: on the same machine
    and number of processes bit for bit. With `minutes` it ends when that much training time is used, if `steps` are not
    done before; the learning rate falls with whichever is further along. With `pause` it stops for now after so many
    minutes, to be taken up again from its checkpoint. Under `accelerate launch` every process runs this same line on
    its part of each batch.

    Raises: FloatingPointError if a loss is no longer a finite number; ValueError if the data were split for another
    number of processes, or if up to the first log the recipe had no phase for one of the optimisers.
    """
    team = Team(runtime or pick_runtime())
    if getattr(data, "world", team.world) != team.world or getattr(data, "rank", team.rank) != team.rank:
        raise ValueError(
            f"the batches are part {data.rank} of {data.world}, but this is process {team.rank} of {team.world}: "
            "give Batches the rank and world of edu_diffusion.training.process()"
        )
    rng = Rng(seed, team.rank, team.world)
    state = Training(recipe, data, optimisers, ema or {}, rng)
    state.place(team)
    if checkpoint is not None and checkpoint.exists():
        state.load_state_dict(checkpoint.load())
    try:
        yield from _run(state, team, steps, minutes, pause, checkpoint if team.main else None, log_every)
    finally:
        recipe.modules.update(state.modules)


def _run(state: Training, team: Team, steps, minutes, pause, checkpoint, log_every) -> Iterator[Log]:
    """The loop itself. A checkpoint is only ever taken between two steps."""
    totals, counts = {}, Counter()
    saved = clock = time.perf_counter()
    images = state.images
    began = start = state.seconds
    progress = _progress(state, steps, minutes, team)
    paused = False
    while progress < 1 and not paused:
        for name, value in state.one_step(team, progress):
            totals[name] = totals.get(name, 0) + value
            counts[name] += 1
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        progress = _progress(state, steps, minutes, team)
        paused = pause is not None and team.first(state.seconds - began) > 60 * pause
        if state.step % log_every and progress < 1 and not paused:
            continue
        metrics = {name: value / counts[name] for name, value in team.mean(totals).items()}
        _check_finite(metrics, state.step)
        state.check_phases()
        speed = (state.images - images) / max(state.seconds - start, 1e-9)
        rate = next(iter(state.optimisers.values())).rate
        if checkpoint is not None and (progress >= 1 or paused or now - saved > checkpoint.every):
            checkpoint.save(state.state_dict())
            saved = time.perf_counter()
        try:
            yield Log(state.step, steps, metrics, rate, state.seconds, speed, progress)
        except GeneratorExit:
            if checkpoint is not None and progress < 1:
                checkpoint.save(state.state_dict())
            raise
        totals, counts, images, start = {}, Counter(), state.images, state.seconds
        clock = time.perf_counter()  # what the caller did with the log is not training time


def _under_autocast(phases: Iterator, runtime: Runtime) -> Iterator:
    """The phases, each computed under an autocast of its own.

    Autocast keeps its copies of the weights until it is left. Left open from one phase to the next, it would show a
    network as it was before the step in between.
    """
    while True:
        with runtime.autocast():
            phase = next(phases, None)
        if phase is None:
            return
        yield phase


def _progress(state: Training, steps: int, minutes: float | None, team: Team) -> float:
    """The share of the training that is done; with a time budget, the first process's clock decides for all."""
    done = state.step / steps
    return done if minutes is None else min(1.0, max(done, team.first(state.seconds / (60 * minutes))))


def _check_finite(metrics: dict[str, float], step: int) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} at step {step}: lower the learning rate, or look at the data")
