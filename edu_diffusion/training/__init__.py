"""One training loop for every system, and what belongs to it.

for log in train(recipe, Batches(fashion(), 128, seed=0), {"net": adamw(net.parameters())}, steps=1000):
    print(log.step, log.metrics["loss"])
"""

from edu_diffusion.training.checkpoint import Checkpoint, write_atomically
from edu_diffusion.training.ema import Ema
from edu_diffusion.training.loop import Log, Recipe, train
from edu_diffusion.training.optimiser import Optimiser, adamw
from edu_diffusion.training.runtime import Process, Runtime, bare, pick_runtime, process

__all__ = [
    "Checkpoint",
    "Ema",
    "Log",
    "Optimiser",
    "Process",
    "Recipe",
    "Runtime",
    "adamw",
    "bare",
    "pick_runtime",
    "process",
    "train",
    "write_atomically",
]
