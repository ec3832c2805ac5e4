"""Training speed of the families before diffusion, each against a peer of equal size built from a library's blocks.

VAE: diffusers' AutoencoderKL. VQ-VAE: diffusers' VQModel; and the course's own encoder and decoder around
vector-quantize-pytorch's codebook. MAE: the course's MAE with diffusers' BasicTransformerBlock in encoder and decoder.
A step is forward, backward and AdamW on 64 pictures of 1x28x28. The peers run channels last too, where that is faster.
For the CPU, in float32. There is no well-kept GAN among the packages to compare with.

python benchmarks/families_speed.py
"""

import statistics
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from common import alternate, environment, line, parse, parser, rate, save, table, times_faster
from diffusers import AutoencoderKL, VQModel
from diffusers.models.attention import BasicTransformerBlock
from peer import parameters
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from edu_diffusion.nets import Transformer
from edu_diffusion.systems.mae import MAE
from edu_diffusion.systems.vae import VAE
from edu_diffusion.systems.vqvae import VQVAE, VQNet
from edu_diffusion.training import adamw, pick_runtime
from edu_diffusion.types import Batch, Rng

NAME, BATCH = "families_speed", 64
LEVELS = {
    "in_channels": 1,
    "out_channels": 1,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 28,
}


@dataclass(frozen=True)
class Arm:
    """A network, and one training loss of it on pictures."""

    net: nn.Module
    loss: Callable[[Tensor], Tensor]


def of_course(recipe) -> Arm:
    """A recipe of the course, as its training loop runs it."""

    def loss(x: Tensor) -> Tensor:
        [(_, value, _)] = recipe.losses(Batch(x), Rng(0))
        return value

    return Arm(recipe.net, loss)


def peer_vae() -> Arm:
    """diffusers' autoencoder with a Gaussian code, trained on the ELBO with a fixed standard deviation of 1."""
    net = AutoencoderKL(block_out_channels=(40, 40, 80), latent_channels=4, **LEVELS)

    def loss(x: Tensor) -> Tensor:
        told = net.encode(x).latent_dist
        return (F.mse_loss(net.decode(told.sample()).sample, x, reduction="sum") / 2 + told.kl().sum()) / x.numel()

    return Arm(net, loss)


def peer_vq() -> Arm:
    """diffusers' VQ-VAE, whose codebook learns by gradient."""
    net = VQModel(block_out_channels=(16, 16, 32), latent_channels=16, num_vq_embeddings=128, **LEVELS)

    def loss(x: Tensor) -> Tensor:
        seen = net(x)
        return F.mse_loss(seen.sample, x) + seen.commit_loss.mean()

    return Arm(net, loss)


class WithLibrary(nn.Module):
    """The course's encoder and decoder around the library's codebook: running means, dead codes replaced."""

    def __init__(self):
        super().__init__()
        ours = VQNet()
        self.encoder, self.decoder = ours.encoder, ours.decoder
        self.codebook = VectorQuantize(16, 128, decay=0.99, threshold_ema_dead_code=2, commitment_weight=0.25)

    def forward(self, x: Tensor) -> Tensor:
        """The whole loss."""
        z = self.encoder(x)
        e, _, commitment = self.codebook(z.flatten(2).transpose(1, 2))
        return F.mse_loss(self.decoder(e.transpose(1, 2).reshape(z.shape)), x) + commitment.sum()


def library_codebook() -> Arm:
    """The same network, another codebook."""
    net = WithLibrary()
    return Arm(net, net)


class PeerBody(nn.Module):
    """diffusers' transformer blocks in the place of the course's."""

    def __init__(self, ours: Transformer):
        super().__init__()
        width, heads = ours.norm.normalized_shape[0], ours.blocks[0].heads
        options = {"activation_fn": "gelu", "attention_bias": True}
        self.blocks = nn.ModuleList(BasicTransformerBlock(width, heads, width // heads, **options) for _ in ours.blocks)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """All blocks."""
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def peer_mae() -> Arm:
    """The course's MAE on the library's blocks."""
    recipe = MAE()
    for part in (recipe.net.encoder, recipe.net.decoder):
        part.body = PeerBody(part.body)
    return of_course(recipe)


# Each family: the course's arm, and its peers.
FAMILIES = {
    "VAE": (lambda: of_course(VAE()), {"diffusers' AutoencoderKL": peer_vae}),
    "VQ-VAE": (
        lambda: of_course(VQVAE()),
        {"diffusers' VQModel": peer_vq, "vector-quantize-pytorch's codebook": library_codebook},
    ),
    "MAE": (lambda: of_course(MAE()), {"diffusers' transformer blocks": peer_mae}),
}


def main(arguments: Sequence[str] | None = None) -> dict:
    """Measure, print and save."""
    chosen = parse(parser(__doc__), arguments)
    batch = 4 if chosen.quick else BATCH
    rows = [row for family, (ours, peers) in FAMILIES.items() for row in compared(family, ours, peers, batch, chosen)]
    record = {"name": NAME, "environment": environment(chosen), "batch": batch, "families": rows}
    record["summary"] = [
        line(f"training of the {row['family']}, times faster than {row['peer']}", row["times_faster"], "at least 1")
        for row in rows
    ]
    table(
        f"training, {batch} pictures a step",
        ("family", "peer", "parameters", "images/s", "images/s of the peer", "times faster"),
        [
            (
                *(row["family"], row["peer"], f"{row['parameters']:,} / {row['peer_parameters']:,}"),
                *(row["images_per_second"]["median"], row["peer_images_per_second"]["median"], row["times_faster"]),
            )
            for row in rows
        ],
    )
    save(NAME, record, chosen)
    return record


def compared(family: str, ours: Callable[[], Arm], peers: dict, batch: int, chosen: Namespace) -> list[dict]:
    """A family's row for each of its peers, all trained in turn."""
    builds = {"course": (ours, pick_runtime("cpu").memory_format)} | {
        peer: (build, quicker(build, batch, chosen)) for peer, build in peers.items()
    }
    arms = {name: build() for name, (build, _) in builds.items()}
    trainers = {name: trainer(arms[name], layout, batch) for name, (_, layout) in builds.items()}
    seconds = alternate(trainers, chosen)
    return [
        {
            "family": family,
            "peer": peer,
            "parameters": parameters(arms["course"].net),
            "peer_parameters": parameters(arms[peer].net),
            "peer_channels_last": builds[peer][1] == torch.channels_last,
            "images_per_second": rate(seconds["course"], batch),
            "peer_images_per_second": rate(seconds[peer], batch),
            "times_faster": times_faster(seconds, "course", peer),
        }
        for peer in peers
    ]


def quicker(build: Callable[[], Arm], batch: int, chosen: Namespace) -> torch.memory_format:
    """The memory format in which a peer trains faster."""
    layouts = {str(layout): layout for layout in (torch.contiguous_format, torch.channels_last)}
    rounds = Namespace(clock=chosen.clock, repeats=1 if chosen.quick else 3)
    seconds = alternate({name: trainer(build(), layout, batch) for name, layout in layouts.items()}, rounds)
    return layouts[min(layouts, key=lambda name: statistics.median(seconds[name]))]


def trainer(arm: Arm, layout: torch.memory_format, batch: int) -> Callable[[], None]:
    """One training step."""
    arm.net.to(memory_format=layout)
    learned = [p for p in arm.net.parameters() if p.requires_grad]
    optimiser = adamw(learned, 2e-3)
    x = torch.rand(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = x.contiguous(memory_format=layout)

    def step() -> None:
        arm.loss(x).backward()
        optimiser.step(0.0)

    return step


if __name__ == "__main__":
    main()
