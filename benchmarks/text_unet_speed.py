"""Training speed with captions: GLIDE's network against diffusers' UNet2DConditionModel of the same size.

A step is forward, backward and AdamW on 64 pictures of 3x32x32 and their captions, which both have read by the same
text encoder, trained along. The peer runs as its documentation has one run it, in float32 with torch's AdamW. Beside it
stands what drawing the scenes costs, which training does on the fly. For the CPU.

python benchmarks/text_unet_speed.py
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

import torch
from common import CLOCKS, alternate, environment, line, parse, parser, rate, save, table, times_faster
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.conditioning.text import scene_tokenizer
from edu_diffusion.data.scenes import Scenes
from edu_diffusion.systems.glide import SIDE, Glide, TextUNet, text_unet
from edu_diffusion.training import Runtime, adamw, pick_runtime
from edu_diffusion.types import Cond, Rng

NAME = "text_unet_speed"
AGAINST = "diffusers' UNet2DConditionModel"
# Three levels of few channels, as diffusers' course has them for small pictures; one layer a block brings the
# parameters to ours. All else is the class's default.
PEER = {
    "sample_size": SIDE,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
PLAIN = Runtime(torch.device("cpu"), torch.float32, torch.contiguous_format)


class Peer(nn.Module):
    """diffusers' network, called as the course calls its own."""

    def __init__(self, width: int):
        super().__init__()
        self.net = UNet2DConditionModel(cross_attention_dim=width, **PEER)

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Its output, told the words; it has no place for a caption's own vector."""
        return self.net(x_t, t, cond.tokens, encoder_attention_mask=cond.mask).sample


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    chosen = parse(parser(__doc__), arguments)
    batch = 4 if chosen.quick else 64
    tokenizer = scene_tokenizer()
    data = Scenes(tokenizer, size=SIDE, count=10 * batch)
    captions = data[torch.arange(batch)].y
    torch.manual_seed(0)
    ours, theirs = text_unet(tokenizer), text_unet(tokenizer, layout=0)
    sizes = {"course": parameters(ours.unet)}
    theirs.unet = Peer(theirs.text.width)
    sizes["peer"] = parameters(theirs.unet)
    here = pick_runtime("cpu")
    arms = {
        "course": trainer(ours, here, adamw(ours.parameters()).step, captions),
        "peer default": trainer(theirs, PLAIN, plain_adamw(theirs), captions),
    }
    seconds = alternate(arms, chosen)
    record = {"name": NAME, "environment": environment(chosen), "batch": batch, "peer": PEER, "parameters": sizes}
    record["images_per_second"] = {name: rate(times, batch) for name, times in seconds.items()}
    record["share_of_drawing"] = drawing(data, batch, chosen)
    record["ratios"] = {
        "speed_over_default": times_faster(seconds, "course", "peer default"),
        "parameters": sizes["peer"] / sizes["course"],
    }
    record["summary"] = summary(record)
    rows = [(name, *each.values()) for name, each in record["images_per_second"].items()]
    table(f"Training with captions, {batch} pictures a step", ("", "images/s", "lowest", "highest", "rounds"), rows)
    table("", ("", "", "aim"), [(row["measured"], row["value"], row["aim"]) for row in record["summary"]])
    save(NAME, record, chosen)
    return record


def trainer(net: TextUNet, runtime: Runtime, step: Callable[[float], object], captions: Tensor) -> Callable[[], None]:
    """A function that does one training step."""
    runtime.place(net.train())
    n = len(captions)
    x, eps, t = torch.randn(n, 3, SIDE, SIDE), torch.randn(n, 3, SIDE, SIDE), torch.randint(1, 1001, (n,)).float()

    def one() -> None:
        with runtime.autocast():
            loss = F.mse_loss(net(x, t, net.read(captions)).float(), eps)
        loss.backward()
        step(0.0)

    return one


def plain_adamw(net: nn.Module) -> Callable[[float], None]:
    """AdamW as torch has it by default."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def finish(progress: float) -> None:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return finish


def drawing(data: Scenes, batch: int, chosen: Namespace) -> float:
    """The share, 0..1, of a whole training step of the course that goes into drawing scenes and encoding captions."""
    recipe, clock = Glide(tokenizer=data.encode), CLOCKS[chosen.clock]
    runtime = pick_runtime("cpu")
    runtime.place(recipe.net)
    optimiser, spent, drawn = adamw(recipe.net.parameters()), [], []
    rng = Rng(0)
    for turn in range(chosen.repeats + 1):
        start = clock()
        examples = data[(torch.arange(batch) + turn * batch) % len(data)]
        middle = clock()
        with runtime.autocast():
            [(_, loss, _)] = recipe.losses(examples, rng)
        loss.backward()
        optimiser.step(0.0)
        if turn > 0:  # the first round warms up
            drawn.append(middle - start)
            spent.append(clock() - start)
    return sorted(a / b for a, b in zip(drawn, spent, strict=True))[len(spent) // 2]


def summary(record: dict) -> list[dict]:
    """What the README and the book tell of it."""
    speed, ratios = record["images_per_second"], record["ratios"]
    return [
        line("images a second with captions, course", speed["course"]["median"]),
        line("images a second with captions, peer's default way", speed["peer default"]["median"]),
        line(f"training with captions, times faster than {AGAINST}", ratios["speed_over_default"], "at least 3"),
        line("parameters of that peer, as a share of ours", ratios["parameters"], "within 0.15 of 1"),
        line("drawing the scenes, as a share of a step", record["share_of_drawing"], "at most 0.05"),
    ]


def parameters(net: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    main()
