"""The VAE against cases whose likelihood is known, and against its usual mistakes."""

import math

import pytest
import torch
from torch import Tensor, nn

from edu_diffusion.data import Batches, fashion
from edu_diffusion.diffusion import normal_kl
from edu_diffusion.systems.vae import (
    VAE,
    VAENet,
    active_units,
    in_bits,
    kl_to_prior,
    log_density,
    log_levels,
    reparameterise,
    vae_net,
)
from edu_diffusion.training import Ema, Runtime, adamw, train
from edu_diffusion.types import Batch, Rng

W, STD = torch.tensor([1.2, 0.9]), 0.5  # x = W z + STD noise, z standard normal: then p(x) is known


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def pictures(n: int = 8) -> Batch:
    return fashion()[slice(0, n)]


def tiny(**options) -> VAE:
    torch.manual_seed(0)
    return VAE(vae_net(4, widths=(16, 32), channels=4), **options)


def linear_data(n: int, seed: int = 0) -> Tensor:
    return normal(n, 1, seed=seed) * W + STD * normal(n, 2, seed=seed + 1)


def exact_log_p(x: Tensor) -> Tensor:
    cov = torch.outer(W, W) + STD**2 * torch.eye(2)
    return torch.distributions.MultivariateNormal(torch.zeros(2), cov).log_prob(x)


def linear_vae(off: float = 0.0) -> VAE:
    """The model that made `linear_data`, with its exact posterior; with `off`, one whose mean misses by that much."""
    net = VAENet(nn.Linear(2, 2), nn.Linear(1, 2, bias=False), latent=1, std=STD)
    precision = (W @ W + STD**2).item()
    net.decoder.weight.data = W[:, None].clone()
    net.encoder.weight.data = torch.stack([W / precision, torch.zeros(2)])
    net.encoder.bias.data = torch.tensor([off, math.log(STD**2 / precision)])
    return VAE(net)


class TestParts:
    def test_the_kl_is_the_sum_over_the_code(self):
        mean, log_var = normal(5, 3), normal(5, 3, seed=1)
        expected = normal_kl(mean, log_var, torch.zeros(()), 0.0).sum(1)
        torch.testing.assert_close(kl_to_prior(mean, log_var), expected)
        assert kl_to_prior(torch.zeros(2, 3), torch.zeros(2, 3)).abs().max() == 0

    def test_the_kl_is_what_counting_says(self):
        mean, log_var = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.3]])
        z = reparameterise(mean.expand(200_000, 2), log_var.expand(200_000, 2), normal(200_000, 2))
        q, p = torch.distributions.Normal(mean, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
        counted = (q.log_prob(z) - p.log_prob(z)).sum(1).mean()
        assert counted.item() == pytest.approx(kl_to_prior(mean, log_var).item(), rel=0.01)

    def test_a_draw_passes_gradients_to_mean_and_variance(self):
        mean, log_var, eps = normal(4, 2).requires_grad_(), normal(4, 2, seed=1).requires_grad_(), normal(4, 2, seed=2)
        reparameterise(mean, log_var, eps).sum().backward()
        torch.testing.assert_close(mean.grad, torch.ones(4, 2))
        torch.testing.assert_close(log_var.grad, 0.5 * (0.5 * log_var).exp().detach() * eps)

    def test_a_draw_has_the_standard_deviation_and_not_the_variance(self):
        z = reparameterise(torch.zeros(20_000, 1), torch.full((20_000, 1), math.log(9.0)), normal(20_000, 1))
        assert z.std().item() == pytest.approx(3, rel=0.02)

    def test_the_density_is_a_normal_one(self):
        x, x_mean = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1)
        expected = torch.distributions.Normal(x_mean, 0.3).log_prob(x).flatten(1).sum(1)
        torch.testing.assert_close(log_density(x, x_mean, torch.tensor(math.log(0.3))), expected)

    def test_the_levels_are_all_there_is(self):
        every_level = (torch.arange(256) / 127.5 - 1).reshape(256, 1, 1, 1)
        log_prob = log_levels(every_level, torch.full((256, 1, 1, 1), 0.4), torch.tensor(math.log(0.3)))
        assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-4)

    def test_bits_of_a_model_that_knows_nothing(self):
        assert in_bits(torch.tensor([-784 * math.log(256)]), 784).item() == pytest.approx(8)

    def test_a_unit_counts_if_its_mean_varies(self):
        mean = normal(500, 4) * torch.tensor([1.0, 0.2, 0.05, 0.0])  # variances 1, 0.04, 0.0025, 0
        assert active_units(mean) == 2 and active_units(mean, least=0.001) == 3
        assert active_units(mean + 5) == 2  # where it lies says nothing


class TestExact:
    """A linear model, whose log p(x) is known."""

    def test_with_the_exact_posterior_every_draw_gives_log_p(self):
        x = linear_data(50)
        for seed in (0, 1):
            torch.testing.assert_close(linear_vae().importance_bound(x, 1, seeded(seed)), exact_log_p(x))
        assert linear_vae().elbo(x.repeat(2000, 1), seeded()).mean().item() == pytest.approx(
            exact_log_p(x).mean().item(), abs=0.01
        )

    def test_the_gap_is_the_kl_to_the_posterior(self):
        off, x = 0.4, linear_data(50)
        found = linear_vae(off).elbo(x.repeat(2000, 1), seeded()).mean().item()
        posterior_var = STD**2 / (W @ W + STD**2).item()
        assert exact_log_p(x).mean().item() - found == pytest.approx(off**2 / (2 * posterior_var), abs=0.02)

    def test_more_draws_tighten_the_bound_but_never_pass(self):
        x = linear_data(20).repeat(200, 1)
        vae, exact = linear_vae(0.4), exact_log_p(x).mean().item()
        one, ten, many = (vae.importance_bound(x, k, seeded(k)).mean().item() for k in (1, 10, 100))
        assert one < ten - 0.1 < many and many < exact + 0.01 and many == pytest.approx(exact, abs=0.05)
        assert one == pytest.approx(vae.elbo(x, seeded()).mean().item(), abs=0.05)

    def test_training_finds_the_model(self):
        torch.manual_seed(0)
        vae = VAE(VAENet(nn.Linear(2, 2), nn.Linear(1, 2), latent=1))
        optimisers = {"net": adamw(vae.net.parameters(), 2e-2, warmup=10)}
        *_, last = train(vae, Batches(linear_data(4000), 250, seed=0), optimisers, steps=500)
        held_out = linear_data(4000, seed=7)
        exact = exact_log_p(held_out).mean().item()
        assert vae.importance_bound(held_out, 10, seeded()).mean().item() == pytest.approx(exact, abs=0.03)
        assert vae.std == pytest.approx(STD, rel=0.05) and last.metrics["kl"] > 0.5


class TestRecipe:
    def test_it_has_the_size_of_the_other_families(self):
        assert sum(p.numel() for p in VAE().net.parameters()) == pytest.approx(1_027_444, rel=0.01)

    def test_both_terms_are_divided_by_the_number_of_pixels(self):
        batch = pictures()
        losses = {}
        for beta in (0.0, 1.0, 1000.0, 3000.0):
            [(phase, loss, metrics)] = tiny(beta=beta).losses(batch, Rng(1))
            losses[beta] = loss.item()
        assert phase == "net" and metrics["std"].item() == pytest.approx(0.25)
        assert losses[1.0] == pytest.approx(-metrics["elbo"].item() / 784, rel=1e-5)
        for beta in (1000.0, 3000.0):  # so large that the small KL of an untrained network shows
            assert losses[beta] - losses[0.0] == pytest.approx(beta * metrics["kl"].item() / 784, rel=1e-3)

    def test_every_part_learns(self):
        vae = tiny()
        [(_, loss, _)] = vae.losses(pictures(), Rng(0))
        loss.backward()
        assert all(p.grad is not None for p in vae.net.parameters())
        code_layer = vae.net.encoder[-1].weight.grad
        means, log_vars = code_layer.chunk(2)
        assert means.abs().max() > 0 and log_vars.abs().max() > 0 and vae.net.log_std.grad.abs() > 0

    def test_training_lowers_the_loss(self):
        vae = tiny()

        def now():
            return vae.elbo(pictures(64).x, seeded()).mean().item()

        before = now()
        optimisers = {"net": adamw(vae.net.parameters(), 2e-3, warmup=1)}
        for _ in train(vae, Batches(pictures(64), 32, seed=0), optimisers, steps=30):
            pass
        assert now() > before + 500

    def test_pictures_in_another_range_are_refused(self):
        with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
            tiny().check(Batch((pictures(64).x + 1) / 2))
        tiny().check(Batch(5 * torch.ones(4, 2)))  # vectors may lie anywhere

    def test_a_negative_beta_is_refused(self):
        with pytest.raises(ValueError, match=r"beta must not be negative, got -1\.0"):
            VAE(vae_net(2, widths=(16, 32), channels=4), beta=-1.0)


class TestUse:
    def test_pictures_are_the_generator_s(self):
        vae = tiny()
        vae.net.decoder[-1].leave[-1].bias.data += 5  # a mean that leaves the range
        x = vae.pictures(3, seeded(1))
        assert x.shape == (3, 1, 28, 28) and x.max() == 1 and x.min() >= -1 and not x.requires_grad
        assert torch.equal(x, vae.pictures(3, seeded(1)))
        vae = tiny()
        assert not torch.equal(vae.pictures(3, seeded(1)), vae.pictures(3, seeded(2)))

    def test_many_examples_are_the_same_as_few(self, monkeypatch):
        from edu_diffusion.systems import vae as module

        vae, x = tiny(), pictures(10).x
        mean, log_var = vae.encode(x)
        whole = vae.reconstruct(x)
        monkeypatch.setattr(module, "CHUNK", 3)
        for again, expected in zip((*vae.encode(x), vae.reconstruct(x)), (mean, log_var, whole), strict=True):
            torch.testing.assert_close(again, expected)
        assert mean.shape == log_var.shape == (10, 4) and not mean.requires_grad

    def test_the_bound_on_levels_is_one_on_a_probability(self):
        vae, x = tiny(), pictures(4).x
        assert (vae.elbo(x, seeded(), levels=True) < 0).all()
        assert (vae.importance_bound(x, 3, seeded(), levels=True) < 0).all()
        # A density on levels 2/255 apart, away from the ends, is nearly a probability.
        grey = 0.2 * pictures(4).x
        difference = vae.elbo(grey, seeded(), levels=True) - vae.elbo(grey, seeded())
        torch.testing.assert_close(difference, torch.full((4,), 784 * math.log(2 / 255)), rtol=1e-3, atol=0.5)

    def test_no_draws_are_refused(self):
        with pytest.raises(ValueError, match="k must be at least 1, got 0"):
            tiny().importance_bound(pictures(2).x, 0)

    def test_averaged_and_wrapped_networks_serve_as_well(self):
        vae = tiny()
        ema = Ema(vae.net, 0.5)
        ema.update(vae.net)
        vae.net.log_std.data -= 1
        ema.update(vae.net)
        assert vae.net.log_std < ema.module.log_std < math.log(0.25)  # the average follows
        averaged = VAE(ema.module)
        assert averaged.std == pytest.approx(ema.module.log_std.exp().item())
        vae.modules["net"] = Runtime(torch.device("cpu"), torch.bfloat16).wrap(ema.module)
        assert vae.std == averaged.std
        torch.testing.assert_close(vae.pictures(2, seeded()), averaged.pictures(2, seeded()))
