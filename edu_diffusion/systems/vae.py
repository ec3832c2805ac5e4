"""VAE: the variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114), on one page.

The encoder does not say one code of a picture, but a distribution over codes, N(mean, var). The decoder does not say
one picture of a code, but a distribution over pictures, N(x_mean, std^2), with one std for all pixels, learned as well.
Both are trained by one bound on log p(x), the ELBO: how well the code explains the picture, less what the code tells
beyond the prior N(0, I). So codes that are drawn from N(0, I) can be decoded.

    VAE()               the bound itself
    VAE(beta=4.0)       beta-VAE (Higgins and others 2017): the second term counts four times
    VAE(beta=0.0)       no second term: an autoencoder, whose codes may lie anywhere
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from edu_diffusion.diffusion import discretised_log_likelihood
from edu_diffusion.nets import ConvDecoder, ConvEncoder
from edu_diffusion.types import Batch, Rng, check_pictures

Data = Float[Tensor, "b ..."]
Codes = Float[Tensor, "b latent"]
PerExample = Float[Tensor, "b"]
PLACES = 7  # the encoder's map of a 28x28 picture has 7x7 places
CHUNK = 500  # examples at a time, outside of training


def reparameterise(mean: Codes, log_var: Codes, eps: Codes) -> Codes:
    """A draw from N(mean, var) as a function of mean and var, through which gradients pass; eps is standard normal.

    Source: Kingma and Welling (arXiv:1312.6114), section 2.4.
    """
    # z = mean + std eps
    return mean + (0.5 * log_var).exp() * eps


def kl_to_prior(mean: Codes, log_var: Codes) -> PerExample:
    """KL(N(mean, var) || N(0, I)) of each example in nats, summed over the code.

    Source: Kingma and Welling (arXiv:1312.6114), appendix B.
    """
    # KL = 1/2 sum (mean^2 + var - 1 - log var)
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)


def log_density(x: Data, x_mean: Data, log_std: Tensor) -> PerExample:
    """log N(x; x_mean, std^2 I) of each example in nats, summed over all its numbers."""
    # log N = -1/2 ((x - x_mean) / std)^2 - log std - 1/2 log(2 pi)
    each = -0.5 * ((x - x_mean) / log_std.exp()).square() - log_std - 0.5 * math.log(math.tau)
    return each.flatten(1).sum(1)


def log_levels(x: Data, x_mean: Data, log_std: Tensor) -> PerExample:
    """log of the probability of x's own pixel levels, of 256, in nats: what lesson 10's models are measured by."""
    return discretised_log_likelihood(x, x_mean, 2 * log_std).flatten(1).sum(1)


def in_bits(log_prob: PerExample, dims: int) -> PerExample:
    """From the log-probability of a whole example, in nats, to bits for each of its `dims` numbers; lower is better."""
    return -log_prob / (dims * math.log(2))


def active_units(mean: Float[Tensor, "n latent"], least: float = 0.01) -> int:
    """How many numbers of the code say something: those whose mean varies, over n examples, by more than `least`.

    Source: Burda and others 2015 (arXiv:1509.00519): the covariance over x of E[z | x] exceeds 0.01.
    """
    return int((mean.var(0) > least).sum())


class VAENet(nn.Module):
    """Encoder, decoder, and the one number that goes with them: the logarithm of the decoder's standard deviation.

    `encoder` turns x into (b, 2 latent), means and log-variances of the code; `decoder` turns (b, latent) into means of
    x. All that is learned is a parameter, so an average of the weights averages the standard deviation as well.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int, std: float = 0.25):
        super().__init__()
        self.encoder, self.decoder, self.latent = encoder, decoder, latent
        # A start below what an untrained decoder needs: at first the picture counts more than the KL, and the code
        # learns to say something before it is asked to be short.
        self.log_std = nn.Parameter(torch.tensor(math.log(std)))

    def encode(self, x: Data) -> tuple[Codes, Codes]:
        """Mean and log-variance of the code."""
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_var

    def decode(self, z: Codes) -> Data:
        """The mean of x. It is not held to a range."""
        return self.decoder(z).float()

    def forward(self, x: Data, eps: Codes) -> Float[Tensor, "2 b"]:
        """The two terms of the ELBO for each example, in nats: log p(x | z) of one draw of z, and the KL.

        Source: Kingma and Welling (arXiv:1312.6114), eq. 3 and 10.
        """
        mean, log_var = self.encode(x)
        z = reparameterise(mean, log_var, eps)
        return torch.stack([log_density(x, self.decode(z), self.log_std), kl_to_prior(mean, log_var)])


def vae_net(latent: int = 16, *, widths: Sequence[int] = (64, 128), channels: int = 36, std: float = 0.25) -> VAENet:
    """The course's networks for 28x28 grey pictures: with the defaults about a million parameters.

    `channels` is the number of them between the convolutions, at 7x7 places, and the linear layers of the code.
    """
    flat = channels * PLACES**2
    encoder = nn.Sequential(ConvEncoder(channels, widths=widths), nn.Flatten(), nn.Linear(flat, 2 * latent))
    unflatten = nn.Unflatten(1, (channels, PLACES, PLACES))
    decoder = nn.Sequential(nn.Linear(latent, flat), unflatten, ConvDecoder(channels, widths=widths))
    return VAENet(encoder, decoder, latent, std)


@dataclass
class VAE:
    """The recipe, and what the trained networks can be asked.

    `beta` weights the KL in training; all that is measured afterwards is the bound itself, with weight 1. Pictures must
    be in [-1, 1]; vectors, for a `VAENet` that takes them, may lie anywhere. Answers are on the networks' device.

    Raises: ValueError for a negative beta.
    Source: Kingma and Welling (arXiv:1312.6114); beta: Higgins and others, ICLR 2017.
    """

    net: VAENet = field(default_factory=vae_net)
    beta: float = 1.0

    def __post_init__(self):
        if self.beta < 0:
            raise ValueError(f"beta must not be negative, got {self.beta}: 0 makes an autoencoder, 1 is the bound")
        self.modules: dict[str, nn.Module] = {"net": self.net}

    @property
    def networks(self) -> VAENet:
        """Encoder and decoder as they are now, out of whatever is wrapped around them."""
        net = self.modules["net"]
        return getattr(net, "module", net)

    @property
    def _device(self) -> torch.device:
        """Where the networks are."""
        return self.networks.log_std.device

    @property
    def std(self) -> float:
        """The decoder's standard deviation, in units of x."""
        return self.networks.log_std.exp().item()

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1].

        Raises: ValueError naming the range that was given.
        """
        if batch.x.ndim == 4:
            check_pictures(batch.x)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: minus the ELBO, its KL weighted by beta. The loss is in nats for each number of x.

        Measures the ELBO itself and its KL, in nats for each example, and the decoder's standard deviation.
        """
        eps = rng.normal_like(batch.x.new_empty(len(batch), self.networks.latent))
        log_px, kl = self.modules["net"](batch.x, eps)
        # Both terms are divided by one and the same number. Dividing only one of them would change beta.
        loss = (self.beta * kl - log_px).mean() / batch.x[0].numel()
        yield "net", loss, {"elbo": (log_px - kl).mean(), "kl": kl.mean(), "std": self.networks.log_std.exp()}

    @torch.no_grad()
    def encode(self, x: Data) -> tuple[Codes, Codes]:
        """Mean and log-variance of each example's code."""
        parts = [self.networks.encode(part.to(self._device)) for part in x.split(CHUNK)]
        return torch.cat([mean for mean, _ in parts]), torch.cat([log_var for _, log_var in parts])

    @torch.no_grad()
    def decode(self, z: Codes) -> Data:
        """The decoder's mean for each code; it may leave [-1, 1] by a little."""
        return torch.cat([self.networks.decode(part.to(self._device)) for part in z.split(CHUNK)])

    def reconstruct(self, x: Data) -> Data:
        """What the decoder makes of the mean of each example's code."""
        return self.decode(self.encode(x)[0])

    def pictures(self, count: int, generator: Generator | None = None) -> Float[Tensor, "count 1 28 28"]:
        """`count` pictures: the decoder's means for codes from N(0, I), clamped to [-1, 1].

        The noise that the model puts on every pixel is not drawn, as is usual; lesson 04 shows what it looks like.
        """
        codes = torch.randn(count, self.networks.latent, generator=generator)
        return self.decode(codes).clamp(-1, 1)

    def elbo(self, x: Data, generator: Generator | None = None, levels: bool = False) -> PerExample:
        """The bound on log p(x) of each example in nats, from one draw of its code, its KL in closed form.

        With `levels`, x's pixels are taken as levels, 256 of them, and the bound is on the log of a probability.

        Source: Kingma and Welling (arXiv:1312.6114), eq. 3.
        """
        mean, log_var = self.encode(x)
        z = reparameterise(mean, log_var, _normal_like(mean, generator))
        return self._explained(x, z, levels) - kl_to_prior(mean, log_var)

    def importance_bound(self, x: Data, k: int, generator: Generator | None = None, levels: bool = False) -> PerExample:
        """A tighter bound from k draws of the code: log of the mean of p(x | z) p(z) / q(z | x), in nats.

        With k = 1 its mean is the ELBO; as k grows it rises towards log p(x). `levels` as in `elbo`.

        Raises: ValueError if k is below 1.
        Source: Burda and others 2015 (arXiv:1509.00519), eq. 8.
        """
        if k < 1:
            raise ValueError(f"the number of draws k must be at least 1, got {k}")
        mean, log_var = self.encode(x)
        log_weights = []
        for _ in range(k):
            eps = _normal_like(mean, generator)
            z = reparameterise(mean, log_var, eps)
            # log p(z) - log q(z | x), whose terms with 2 pi cancel
            beyond_prior = 0.5 * (eps.square() + log_var - z.square()).sum(1)
            log_weights.append(self._explained(x, z, levels) + beyond_prior)
        return torch.stack(log_weights).logsumexp(0) - math.log(k)

    @torch.no_grad()
    def _explained(self, x: Data, z: Codes, levels: bool) -> PerExample:
        """log p(x | z) in nats."""
        log_prob = log_levels if levels else log_density
        return log_prob(x.to(self._device), self.decode(z), self.networks.log_std)


def _normal_like(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal numbers from a CPU generator, of this shape and on this device."""
    return torch.randn(like.shape, generator=generator).to(like)
