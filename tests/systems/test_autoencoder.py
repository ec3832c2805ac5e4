"""Autoencoders: what the parts compute, what is kept with the weights, what is refused, and that a training learns."""

import math

import pytest
import torch
from torch import nn

from edu_diffusion.data import Batches, fashion, ring
from edu_diffusion.exercises.codes import BLEND, DRAW, LOSS, MASK, PROJECT, SCORE
from edu_diffusion.systems.autoencoder import (
    Autoencoder,
    CodeNet,
    DenoisingAutoencoder,
    GaussianNoise,
    Masking,
    conv_autoencoder,
    conv_denoiser,
    grey_error,
    linear_autoencoder,
    points_autoencoder,
    points_denoiser,
    principal_components,
    project,
    score_from,
    shared_directions,
)
from edu_diffusion.training import Ema, Runtime, adamw, train
from edu_diffusion.types import Batch, Rng
from edu_diffusion.zoo import Entry, Plan, load
from edu_diffusion.zoo.entries import ENTRIES
from edu_diffusion.zoo.train import train_entry

SMALL = {"widths": (16, 16), "blocks": 1, "channels": 4}


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(k=3) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(conv_autoencoder(k, **SMALL))


def tilted(n=2000) -> torch.Tensor:
    """Points in five dimensions, with standard deviations 4, 2, 1, 0.5 and 0.25 along tilted axes, around a mean."""
    axes = torch.linalg.qr(torch.randn(5, 5, generator=seeded(1))).Q
    spread = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25])
    return torch.randn(n, 5, generator=seeded(2)) * spread @ axes.T + torch.arange(5.0)


def one_loss(recipe, batch, seed=0):
    [(phase, loss, _)] = recipe.losses(batch, Rng(seed))
    assert phase == "net" and loss.ndim == 0 and loss.isfinite()
    return loss


class TestNetworks:
    def test_the_defaults_have_about_a_million_parameters(self):
        for net in (conv_autoencoder(), conv_denoiser()):
            assert 0.95e6 < sum(p.numel() for p in net.parameters()) < 1.06e6

    def test_the_code_is_all_the_decoder_sees(self):
        net, x = small(3).net, fashion("test").x[:2]
        codes = net.encoder(x)
        assert codes.shape == (2, 3) and net(x).shape == x.shape
        assert torch.equal(net.decoder(codes), net(x))

    def test_a_reconstruction_depends_on_its_own_picture_alone(self):
        net, x = small().net, fashion("test").x[:6]
        assert torch.allclose(net(x), torch.cat([net(one[None]) for one in x]), atol=1e-5)

    def test_a_denoiser_could_copy_pictures(self):
        with torch.no_grad():
            inside = conv_denoiser()[0](fashion("test").x[:1])
        assert inside.numel() == 4 * 784


class TestAutoencoder:
    def test_its_loss_is_the_mean_squared_error_and_teaches_both_halves(self):
        system, batch = small(), fashion("test")[slice(0, 4)]
        loss = one_loss(system, batch)
        assert loss.item() == pytest.approx((system.net(batch.x) - batch.x).square().mean().item(), rel=1e-5)
        loss.backward()
        assert all(
            system.net.get_parameter(name).grad.abs().sum() > 0 for name in ("encoder.2.weight", "decoder.0.weight")
        )

    def test_its_pictures_have_the_codes_mean_and_covariance(self):
        """With the identity for a decoder, what is drawn are the codes."""
        points = tilted()
        system = Autoencoder(CodeNet(nn.Identity(), nn.Identity(), 5))
        system.fit(points)
        drawn = system.pictures(200_000, seeded())
        torch.testing.assert_close(drawn.mean(0), points.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(drawn.T.cov(), points.T.cov(), atol=0.15, rtol=0.02)
        assert torch.equal(system.pictures(7, seeded(3)), system.pictures(7, seeded(3)))

    def test_draws_are_the_exercise_s(self):
        system = Autoencoder(CodeNet(nn.Identity(), nn.Identity(), 5))
        system.fit(tilted())
        root = system.net.code_root
        mine = DRAW.answer(system.net.code_mean, root @ root.T, torch.randn(9, 5, generator=seeded()))
        torch.testing.assert_close(system.codes(9, seeded()), mine, atol=1e-4, rtol=1e-4)

    def test_a_number_that_never_varies_does_no_harm(self):
        points = tilted()
        points[:, 2] = 3.0
        system = Autoencoder(CodeNet(nn.Identity(), nn.Identity(), 5))
        system.fit(points)
        assert (system.codes(100, seeded())[:, 2] - 3).abs().max() < 0.05

    def test_a_code_of_one_number_works_too(self):
        system = Autoencoder(points_autoencoder(1))
        system.fit(ring().sample(100, seeded()))
        assert system.pictures(5, seeded()).shape == (5, 2)

    def test_pictures_are_in_range_and_the_right_shape(self):
        system = small()
        system.fit(fashion("test").x[:50])
        system.net.decoder[0].bias.data += 100  # far outside of what the decoder knows
        made = system.pictures(3, seeded())
        assert made.shape == (3, 1, 28, 28) and made.abs().max() <= 1 and not made.requires_grad

    def test_before_the_codes_are_known_it_says_so(self):
        with pytest.raises(ValueError, match=r"call fit\(pictures\) after training"):
            small().pictures(2, seeded())

    def test_an_average_of_weights_is_asked_for_its_own_codes(self):
        """An Ema does not average what `fit` keeps; the averaged network is fitted by itself."""
        system = small()
        ema = Ema(system.net)
        system.fit(fashion("test").x[:50])
        system.modules["net"] = ema.module
        with pytest.raises(ValueError, match="averaged network"):
            system.codes(1, seeded())
        system.fit(fashion("test").x[:50])
        assert ema.module.code_root.any() and system.codes(1, seeded()).shape == (1, 3)

    def test_it_works_behind_a_wrapper(self):
        system, x = small(), fashion("test").x[:3]
        system.fit(x)
        before = system.encode(x), system.pictures(2, seeded())
        system.modules["net"] = Runtime(torch.device("cpu"), torch.bfloat16).wrap(system.net)
        torch.testing.assert_close(system.encode(x), before[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(system.pictures(2, seeded()), before[1], atol=1e-5, rtol=1e-5)

    def test_the_zoo_keeps_where_the_codes_lie(self, monkeypatch, tmp_path):
        few = fashion("train")[slice(0, 64)]
        monkeypatch.setattr("edu_diffusion.systems.autoencoder.fashion", lambda split="train": few)
        entry = Entry("small-ae", "for tests", small, Plan(steps=2, batch=2, ema=None), lambda *_: {}, fashion)
        monkeypatch.setitem(ENTRIES, "small-ae", entry)
        for _ in train_entry(entry, tmp_path / "runs", folder=tmp_path, device="cpu"):
            pass
        system = load("small-ae", "cpu", tmp_path)
        # Weights are rounded to half precision; the Gaussian stays what the codes were before.
        codes = system.encode(few.x).double()
        torch.testing.assert_close(system.coder.code_mean.double(), codes.mean(0), atol=2e-3, rtol=2e-2)
        root = system.coder.code_root.double()
        torch.testing.assert_close((root @ root.T).diagonal(), codes.T.cov().diagonal(), atol=1e-4, rtol=5e-2)
        assert system.pictures(2, seeded()).shape == (2, 1, 28, 28)

    def test_a_short_training_learns_to_reconstruct(self):
        system, test = small(8), fashion("test").x[:200]
        optimisers = {"net": adamw(system.net.parameters(), 3e-3, warmup=10)}
        for _ in train(system, Batches(fashion("test").x[200:], 32, seed=0), optimisers, steps=100):
            pass
        average = test.mean(0, keepdim=True)
        assert grey_error(system.reconstruct(test), test) < 0.7 * grey_error(average.expand_as(test), test)


class TestLinear:
    def test_projecting_is_the_exercise_s(self):
        x = tilted(50)
        mean, components, _ = principal_components(x, 2)
        torch.testing.assert_close(project(x, mean, components), PROJECT.answer(x, mean, components))

    def test_components_are_orthonormal_and_the_error_is_the_variance_left_out(self):
        x = tilted()
        mean, components, variances = principal_components(x, 5)
        torch.testing.assert_close(components @ components.T, torch.eye(5), atol=1e-5, rtol=0)
        assert (variances[:-1] >= variances[1:]).all()
        for k in (1, 3):
            left = (project(x, mean, components[:k]) - x).square().sum(1).mean()
            assert left.item() == pytest.approx(variances[k:].sum().item(), rel=1e-3)
        torch.testing.assert_close(project(x, mean, components), x, atol=1e-3, rtol=1e-3)

    def test_no_plane_is_better(self):
        x = tilted()
        mean, components, _ = principal_components(x, 2)
        best = (project(x, mean, components) - x).square().mean()
        for seed in range(5):
            other = torch.linalg.qr(components.T + 0.1 * torch.randn(5, 2, generator=seeded(seed))).Q.T
            assert (project(x, mean, other) - x).square().mean() > best

    def test_at_the_principal_components_a_linear_autoencoder_has_nothing_to_learn(self):
        x = tilted().double()
        mean, components, _ = principal_components(x, 2)
        system = Autoencoder(linear_autoencoder(2, (5,)).double())
        encoder, decoder = system.net.encoder[1], system.net.decoder[0]
        encoder.weight.data, encoder.bias.data = components, -components @ mean
        decoder.weight.data, decoder.bias.data = components.T.contiguous(), mean
        loss = one_loss(system, Batch(x))
        loss.backward()
        assert loss.item() == pytest.approx((project(x, mean, components) - x).square().mean().item())
        assert max(p.grad.abs().max() for p in system.net.parameters()) < 1e-6

    def test_a_trained_one_finds_the_same_plane_and_the_same_error(self):
        x = tilted()
        torch.manual_seed(0)
        system = Autoencoder(linear_autoencoder(2, (5,)))
        optimisers = {"net": adamw(system.net.parameters(), 0.03, clip=None)}
        for _ in train(system, Batches(x, 500, seed=0), optimisers, steps=800):
            pass
        mean, components, _ = principal_components(x, 2)
        best = (project(x, mean, components) - x).square().mean().item()
        assert (system.reconstruct(x) - x).square().mean().item() == pytest.approx(best, rel=1e-2)
        assert shared_directions(system.net.decoder[0].weight.T, components).min() > 0.999
        # The plane is the same; the two vectors that span it need not be.
        vectors = nn.functional.normalize(system.net.decoder[0].weight.T.detach(), dim=1)
        assert not torch.allclose((vectors @ components.T).abs(), torch.eye(2), atol=1e-2)

    def test_shared_directions(self):
        a, b = torch.eye(4)[:2], torch.eye(4)[1:3]
        torch.testing.assert_close(shared_directions(a, b), torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)
        mixed = torch.tensor([[1.0, 2.0], [3.0, -1.0]]) @ a
        torch.testing.assert_close(shared_directions(a, mixed), torch.ones(2))
        half = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
        assert shared_directions(a, half)[1].item() == pytest.approx(math.cos(math.pi / 4))

    def test_a_wrong_k_is_refused(self):
        for k in (0, 6):
            with pytest.raises(ValueError, match=rf"k must be in 1..5, .* got {k}"):
                principal_components(tilted(20), k)


class TestCorruption:
    def test_noise_has_the_standard_deviation_it_says(self):
        x = fashion("test").x[:50]
        added = GaussianNoise(0.3)(x, Rng(0)) - x
        assert added.std().item() == pytest.approx(0.3, rel=0.02) and abs(added.mean().item()) < 0.01

    def test_masking_is_the_exercise_s(self):
        x = fashion("test").x[:3]
        mine = MASK.answer(x, Rng(0).uniform(x.numel()).view_as(x), 0.4)
        assert torch.equal(Masking(0.4)(x, Rng(0)), mine)

    def test_squares_are_hidden_whole(self):
        x = torch.ones(20, 2, 28, 30)
        masked = Masking(0.5, side=7)(x, Rng(0))
        assert torch.equal(masked[:, 0], masked[:, 1])  # the same holes in all channels
        squares = masked[:, 0, :, :28].unfold(1, 7, 7).unfold(2, 7, 7).flatten(3)
        assert ((squares == 0).all(-1) | (squares == 1).all(-1)).all()
        assert (masked == 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
        assert torch.equal(Masking(0.0)(x, Rng(0)), x) and not Masking(1.0, 5)(x, Rng(0)).any()

    @pytest.mark.parametrize("make", [lambda: GaussianNoise(0.0), lambda: Masking(1.5), lambda: Masking(0.5, 0)])
    def test_what_makes_no_sense_is_refused(self, make):
        with pytest.raises(ValueError, match="must be"):
            make()


class TestDenoising:
    def test_its_loss_is_the_exercise_s(self):
        torch.manual_seed(0)
        system, x = DenoisingAutoencoder(points_denoiser(16), GaussianNoise(0.7)), ring().sample(30, seeded())
        mine = LOSS.answer(system.net, x, Rng(4).normal_like(x), 0.7)
        torch.testing.assert_close(one_loss(system, Batch(x), seed=4), mine)

    def test_copying_is_no_solution(self):
        """A network that gives its input back has the noise's variance for a loss."""
        system = DenoisingAutoencoder(nn.Identity(), GaussianNoise(0.5))
        assert one_loss(system, fashion("test")[slice(0, 50)]).item() == pytest.approx(0.25, rel=0.02)

    @pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
    def test_the_best_denoiser_s_residual_is_the_score(self, sigma):
        x = ring().diffused(1.0, sigma).sample(200, seeded())
        best = ring().posterior_mean(x, 1.0, sigma)
        exact = ring().diffused(1.0, sigma).score(x)
        torch.testing.assert_close(score_from(best, x, sigma), exact, atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(SCORE.answer(best, x, sigma), score_from(best, x, sigma))

    def test_a_short_training_learns_the_score(self):
        torch.manual_seed(0)
        system = DenoisingAutoencoder(points_denoiser(32), GaussianNoise(0.5))
        data = Batches(ring().sample(5000, seeded()), 256, seed=0)
        for _ in train(system, data, {"net": adamw(system.net.parameters(), 5e-3, warmup=10)}, steps=300):
            pass
        noised = ring().diffused(1.0, 0.5)
        x = noised.sample(1000, seeded(1))
        ours, exact = system.score(x), noised.score(x)
        assert (ours * exact).sum() / (ours.norm() * exact.norm()) > 0.9

    def test_only_gaussian_noise_gives_a_score(self):
        system = DenoisingAutoencoder(conv_denoiser(widths=(16, 16), channels=4), Masking(0.5))
        with pytest.raises(ValueError, match="only Gaussian noise teaches a score"):
            system.score(fashion("test").x[:2])

    def test_pictures_in_another_range_are_refused(self):
        bright = Batch((fashion()[slice(0, 64)].x + 1) / 2)
        for recipe in (small(), DenoisingAutoencoder(conv_denoiser(widths=(16, 16), channels=4))):
            with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
                recipe.check(bright)
            recipe.check(Batch(5 * torch.ones(4, 2)))  # points may lie anywhere


def test_grey_error_is_in_levels():
    x = torch.zeros(2, 1, 3, 3)
    assert grey_error(x, x) == 0
    assert grey_error(x, x + 2 / 255) == pytest.approx(1)  # one level of 255


def test_blending_mixes_codes_and_not_pictures():
    system, x = small(), fashion("test").x[:2]
    one, other = system.encode(x).split(1)
    middle = BLEND.answer(system.decode, one, other, 0.5)
    torch.testing.assert_close(middle, system.decode((one + other) / 2))
