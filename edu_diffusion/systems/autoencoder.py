"""Autoencoders, plain and denoising, on one page.

An autoencoder writes a picture as a code of k numbers and reads it back (Hinton and Salakhutdinov 2006, Science 313).
A denoising autoencoder is shown a corrupted picture and asked for the clean one (Vincent et al. 2008, ICML): with
Gaussian noise, what it changes is sigma^2 times the score of the noised data (Vincent 2011, Neural Computation 23).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.data import fashion
from edu_diffusion.nets import ConvDecoder, ConvEncoder
from edu_diffusion.types import Batch, Rng, check_pictures

CHUNK = 500  # examples that go through a network at a time, outside training
Corruption = Callable[[Tensor, Rng], Tensor]


class CodeNet(nn.Module):
    """An encoder and a decoder as one network: an example in, its reconstruction out.

    Where the codes of the training pictures lie is kept with the weights: their mean, and a root of their covariance,
    a lower triangular L with L L^T = covariance. Both are 0 until `Autoencoder.fit` has filled them in. It is the root
    that is kept because the zoo rounds to half precision: a rounded covariance need not be one, a rounded root is.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, k: int):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("code_mean", torch.zeros(k))
        self.register_buffer("code_root", torch.zeros(k, k))

    def forward(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "b *shape"]:
        """The reconstruction, not held to a range."""
        return self.decoder(self.encoder(x))


def conv_autoencoder(
    k: int = 16, *, widths: Sequence[int] = (64, 128), blocks: int = 1, channels: int = 36, size: int = 28
) -> CodeNet:
    """Convolutions down to a small map, a linear layer to the code of k numbers, and the same way back.

    About a million parameters, and the networks of lesson 04's VAE. Pictures are grey, `size` by `size`; the map has
    `channels` channels.
    """
    side = size // 2 ** len(widths)
    shape = (channels, side, side)
    options = {"widths": widths, "blocks": blocks}
    encoder = nn.Sequential(ConvEncoder(channels, **options), nn.Flatten(), nn.Linear(prod(shape), k))
    decoder = nn.Sequential(nn.Linear(k, prod(shape)), nn.Unflatten(1, shape), ConvDecoder(channels, **options))
    return CodeNet(encoder, decoder, k)


def linear_autoencoder(k: int, shape: Sequence[int] = (1, 28, 28)) -> CodeNet:
    """One linear layer each way. The best it can do is what `principal_components` and `project` do."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), k))
    decoder = nn.Sequential(nn.Linear(k, prod(shape)), nn.Unflatten(1, tuple(shape)))
    return CodeNet(encoder, decoder, k)


def points_autoencoder(k: int = 1, width: int = 64, size: int = 2) -> CodeNet:
    """For points of `size` numbers: three layers each way."""
    return CodeNet(three_layers(size, width, k), three_layers(k, width, size), k)


def conv_denoiser(widths: Sequence[int] = (64, 128), blocks: int = 1, channels: int = 64) -> nn.Module:
    """The same convolutions with no narrow place: 28x28 pixels become 64 maps of 7x7, four times as many numbers."""
    options = {"widths": widths, "blocks": blocks}
    return nn.Sequential(ConvEncoder(channels, **options), ConvDecoder(channels, **options))


def points_denoiser(width: int = 128, size: int = 2) -> nn.Module:
    """For points of `size` numbers: a network that could copy them."""
    return three_layers(size, width, size)


def three_layers(inside: int, width: int, outside: int) -> nn.Module:
    """Three linear layers, with sharp bends (ReLU): between clusters the best answer changes abruptly."""
    return nn.Sequential(
        nn.Linear(inside, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outside)
    )


@dataclass
class Autoencoder:
    """The recipe: a code of k numbers, and the squared error of the picture that is read back from it.

    Pictures must be in [-1, 1]; points of another kind (2-D toys) may lie anywhere.
    """

    net: CodeNet = field(default_factory=conv_autoencoder)

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    @property
    def coder(self) -> CodeNet:
        """The network as it is now, out of what the loader or several processes may have wrapped around it."""
        net = self.modules["net"]
        return getattr(net, "module", net)

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        check_range(batch)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: read the picture back from its code. The mean is over pixels too."""
        # L = E |x - g(f(x))|^2
        yield "net", F.mse_loss(self.modules["net"](batch.x), batch.x), {}

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """The codes, on the CPU."""
        return in_chunks(self.coder.encoder, x, self.coder.code_mean.device)

    @torch.no_grad()
    def decode(self, codes: Float[Tensor, "n k"]) -> Float[Tensor, "n ..."]:
        """What the decoder makes of any codes, on the CPU; pictures are cut to [-1, 1]."""
        made = in_chunks(self.coder.decoder, codes, self.coder.code_mean.device)
        return made.clamp(-1, 1) if made.ndim == 4 else made

    def reconstruct(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """There and back."""
        return self.decode(self.encode(x))

    def finish(self) -> None:
        """What is left to do after training: learn where the codes of all training pictures lie."""
        self.fit(fashion("train").x)

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "n ..."]) -> None:
        """Keep mean and covariance of the codes of x, of which there should be many more than numbers in a code."""
        codes, coder = self.encode(x).double(), self.coder
        cov = torch.atleast_2d(codes.T.cov())
        # A number that is the same in every code would leave the covariance without a root.
        cov += 1e-6 * cov.diagonal().mean() * torch.eye(len(cov), dtype=cov.dtype)
        coder.code_mean.copy_(codes.mean(0))
        coder.code_root.copy_(torch.linalg.cholesky(cov))

    def codes(self, count: int, generator: torch.Generator) -> Float[Tensor, "count k"]:
        """Codes drawn from the Gaussian with the mean and the covariance of the training pictures' codes, on the CPU.

        Raises: ValueError if it is not known where these codes lie.
        """
        mean, root = self.coder.code_mean.cpu(), self.coder.code_root.cpu()
        if not root.any():
            raise ValueError(
                "it is not known yet where the codes lie: call fit(pictures) after training. If these weights are an "
                "average (Ema), it must be called with the averaged network in modules"
            )
        # With z ~ N(0, I), mean + L z has the covariance L L^T.
        return mean + torch.randn(count, len(mean), generator=generator) @ root.T

    def pictures(self, count: int, generator: torch.Generator) -> Float[Tensor, "count ..."]:
        """Pictures (or points) decoded from such codes, on the CPU; pictures are in [-1, 1].

        Raises: ValueError as `codes` does.
        """
        return self.decode(self.codes(count, generator))


@dataclass(frozen=True)
class GaussianNoise:
    """A corruption: noise of standard deviation `std` is added to every number.

    Raises: ValueError if std is not positive.
    """

    std: float = 0.5

    def __post_init__(self):
        if not self.std > 0:
            raise ValueError(f"std must be positive, got {self.std}")

    def __call__(self, x: Float[Tensor, "b *shape"], rng: Rng) -> Float[Tensor, "b *shape"]:
        """x + std eps."""
        return x + self.std * rng.normal_like(x)


@dataclass(frozen=True)
class Masking:
    """A corruption: squares of `side` by `side` pixels become 0, a middle grey, each with probability `share`.

    Raises: ValueError for a share outside [0, 1], or a side below 1.
    """

    share: float = 0.5
    side: int = 1

    def __post_init__(self):
        if not 0 <= self.share <= 1 or self.side < 1:
            raise ValueError(f"share must be in [0, 1] and side at least 1, got {self.share} and {self.side}")

    def __call__(self, x: Float[Tensor, "b c h w"], rng: Rng) -> Float[Tensor, "b c h w"]:
        """x with holes, the same in all channels."""
        b, _, h, w = x.shape
        rows, columns = -(-h // self.side), -(-w // self.side)
        hidden = (rng.uniform(b * rows * columns) < self.share).view(b, 1, rows, columns)
        hidden = hidden.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)[..., :h, :w]
        return x.masked_fill(hidden.to(x.device), 0.0)


@dataclass
class DenoisingAutoencoder:
    """The recipe: corrupt a picture, and ask for the picture as it was. No narrow place is needed.

    `corruption(x, rng)` is what spoils it. Pictures must be in [-1, 1]; points may lie anywhere.

    Source: Vincent, Larochelle, Bengio and Manzagol 2008, ICML.
    """

    net: nn.Module = field(default_factory=conv_denoiser)
    corruption: Corruption = field(default_factory=GaussianNoise)

    def __post_init__(self):
        self.modules: dict[str, nn.Module] = {"net": self.net}

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        check_range(batch)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: guess the clean picture. What it is compared with is the clean one, never its own input."""
        corrupted = self.corruption(batch.x, rng)
        # L = E |r(corrupted x) - x|^2
        yield "net", F.mse_loss(self.modules["net"](corrupted), batch.x), {}

    @torch.no_grad()
    def denoise(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The guess at the clean examples, on the CPU, not held to a range."""
        net = self.modules["net"]
        return in_chunks(net, x, next(net.parameters()).device)

    def score(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The score that the network has learned, at noisy x, on the CPU.

        Raises: ValueError if it was trained with another corruption than Gaussian noise.
        """
        if not isinstance(self.corruption, GaussianNoise):
            raise ValueError(
                f"only Gaussian noise teaches a score, and this autoencoder was trained with {self.corruption}"
            )
        return score_from(self.denoise(x), x.cpu(), self.corruption.std)


def score_from(
    denoised: Float[Tensor, "n *shape"], noisy: Float[Tensor, "n *shape"], sigma: float
) -> Float[Tensor, "n *shape"]:
    """The score of the noised data at `noisy`, if `denoised` is the mean of all clean examples that could lead there.

    Noised means: Gaussian noise of standard deviation sigma was added.

    Source: Robbins 1956, Miyasawa 1961 ("Tweedie's formula"); of autoencoders: Vincent 2011, Neural Computation 23;
    for sigma going to 0: Alain and Bengio 2014, arXiv:1211.4246.
    """
    # E[x | noisy] - noisy = sigma^2 grad log p_sigma(noisy)
    return (denoised - noisy) / sigma**2


def principal_components(
    x: Float[Tensor, "n ..."], k: int
) -> tuple[Float[Tensor, " d"], Float[Tensor, "k d"], Float[Tensor, " k"]]:
    """Mean, the k directions of most variance (rows, orthonormal, most first), and the variances along them.

    Raises: ValueError if k is not in 1..d.
    """
    flat = x.flatten(1)
    if not 1 <= k <= flat.shape[1]:
        raise ValueError(f"k must be in 1..{flat.shape[1]}, the numbers of an example, got {k}")
    mean = flat.mean(0)
    centred = flat - mean
    variances, directions = torch.linalg.eigh((centred.T @ centred / len(flat)).double())  # smallest first
    return mean, directions.flip(1)[:, :k].T.to(flat.dtype), variances.flip(0)[:k].to(flat.dtype)


def project(
    x: Float[Tensor, "n *shape"], mean: Float[Tensor, " d"], components: Float[Tensor, "k d"]
) -> Float[Tensor, "n *shape"]:
    """The point nearest to each x in the plane through `mean` along the components, which must be orthonormal rows.

    No linear encoder and decoder of k numbers do better, if these are the principal components. What comes back is not
    cut to a range; `Autoencoder.decode` cuts pictures, so cut these too before comparing.

    Source: Bourlard and Kamp 1988, Biological Cybernetics 59; Baldi and Hornik 1989, Neural Networks 2.
    """
    # x_hat = mean + sum_i <x - mean, v_i> v_i
    codes = (x.flatten(1) - mean) @ components.T
    return (mean + codes @ components).view_as(x)


def shared_directions(a: Float[Tensor, "k d"], b: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
    """How far the planes spanned by the rows of a and of b are one: cosines of their principal angles, largest first.

    All 1 means the same plane, whatever vectors span it; 0 means that a direction of one is at right angles to the
    whole other.
    """
    first, second = (torch.linalg.qr(rows.detach().cpu().double().T).Q for rows in (a, b))
    return torch.linalg.svdvals(first.T @ second).clamp(max=1).float()


def grey_error(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> float:
    """Root mean squared difference of pictures in [-1, 1], over all pixels, in grey levels of 0..255."""
    return 127.5 * (x - y).square().mean().sqrt().item()


def in_chunks(net: nn.Module, x: Float[Tensor, "n ..."], device: torch.device) -> Float[Tensor, "n ..."]:
    """The network's answers, worked out a few examples at a time on its device, on the CPU."""
    return torch.cat([net(part.to(device)).cpu() for part in x.split(CHUNK)])


def check_range(batch: Batch) -> None:
    """Refuse pictures that are not in [-1, 1]; points may lie anywhere.

    Raises: ValueError naming the range that was given.
    """
    if batch.x.ndim == 4:
        check_pictures(batch.x)
