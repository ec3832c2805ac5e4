"""A short training, run alone and under `accelerate launch`; each process writes the weights it ended with."""

import sys

import torch

from edu_diffusion.data import Batches
from edu_diffusion.nets import UNet
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import adamw, pick_runtime, process, train


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


here = process()
torch.manual_seed(0)
recipe = DDPM(UNet(widths=(16, 32)))
net, start = recipe.net, flat(recipe.net).clone()
pictures = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
data = Batches(pictures, 8, seed=2, rank=here.rank, world=here.world)
for _ in train(recipe, data, {"net": adamw(net.parameters(), 1e-3, warmup=1)}, steps=6, runtime=pick_runtime("cpu")):
    pass
torch.save({"weights": flat(net), "start": start, "world": here.world}, f"{sys.argv[1]}.{here.rank}.pt")
