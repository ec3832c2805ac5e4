"""A short training, run alone and under `accelerate launch`; each process writes the weights it ended with."""

import sys
from functools import partial

import torch

from edu_diffusion.data import Batches
from edu_diffusion.diffusion import LossAwareTimes, linear
from edu_diffusion.nets import UNet
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Runtime, adamw, process, train


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


here = process()
torch.manual_seed(0)
times = partial(LossAwareTimes, history=1)
recipe = DDPM(UNet(widths=(16, 32)), linear(4, 0.1, 0.5), times=times)
net, start = recipe.net, flat(recipe.net).clone()
pictures = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
data = Batches(pictures, 8, seed=2, rank=here.rank, world=here.world)
optimiser = {"net": adamw(net.parameters(), 1e-3, warmup=1)}
runtime = Runtime(torch.device("cpu"))  # float32 on every machine: half precision would hide what is compared
for log in train(recipe, data, optimiser, steps=6, runtime=runtime, log_every=6):
    loss = log.metrics["loss"]
found = {"weights": flat(net), "start": start, "world": here.world, "loss": loss}
torch.save(found | {"losses": recipe.memory["times"].losses}, f"{sys.argv[1]}.{here.rank}.pt")
