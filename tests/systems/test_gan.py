"""The GAN: its losses, the best discriminator, who learns in which phase, what stays where; and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edu_diffusion import viz
from edu_diffusion.data import Batches, GaussianMixture, fashion, ring
from edu_diffusion.systems import gan as gan_module
from edu_diffusion.systems.gan import (
    GAN,
    HINGE,
    MINIMAX,
    NON_SATURATING,
    Discriminator,
    Generator,
    PointDiscriminator,
    PointGenerator,
    best_value,
    frozen,
    optimal_discriminator,
    pull,
    r1,
)
from edu_diffusion.training import Checkpoint, Ema, Runtime, adamw, pick_runtime, train
from edu_diffusion.types import Batch, Rng
from edu_diffusion.viz import colours, fields

CPU = pick_runtime("cpu")


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=seeded(seed))


def tiny(**options) -> GAN:
    """Points, and two networks of a moment."""
    torch.manual_seed(0)
    return GAN(PointGenerator(width=16, layers=1), PointDiscriminator(width=16, layers=1), **options)


def tiny_pictures(norm=nn.Identity, **options) -> GAN:
    torch.manual_seed(0)
    return GAN(Generator(4, (8, 8), norm=norm), Discriminator((4, 4, 4)), **options)


def points(n=32) -> Batch:
    return Batch(ring().sample(n, seeded(1)))


def weights(net) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


class TestLosses:
    def test_cross_entropy_is_torchs_own(self):
        real, fake = logits(50), logits(50, seed=1)
        own = nn.functional.binary_cross_entropy_with_logits
        wanted = own(real, torch.ones(50)) + own(fake, torch.zeros(50))
        torch.testing.assert_close(MINIMAX.discriminator(real, fake), wanted)
        torch.testing.assert_close(NON_SATURATING.discriminator(real, fake), wanted)

    def test_the_generator_plays_the_same_game_with_the_other_sign(self):
        """Minimax: what the discriminator pays for made examples is what the generator wins."""
        fake = logits(50)
        ours = MINIMAX.discriminator(torch.full((50,), 100.0), fake)
        torch.testing.assert_close(MINIMAX.generator(fake), -ours)

    def test_both_ways_want_the_same_and_one_has_no_slope_where_the_generator_loses(self):
        lost = torch.full((8,), -12.0, requires_grad=True)
        slopes = {
            loss.name: torch.autograd.grad(8 * loss.generator(lost), lost)[0].mean().item()
            for loss in (MINIMAX, NON_SATURATING, HINGE)
        }
        assert -1e-4 < slopes["minimax"] < 0
        assert slopes["non-saturating"] == pytest.approx(-1, abs=1e-4) and slopes["hinge"] == -1

    def test_hinge_asks_no_more_than_its_margins(self):
        right = torch.tensor([1.5, 1.0, 9.0]), torch.tensor([-1.0, -7.0, -2.0])
        assert HINGE.discriminator(*right) == 0
        assert HINGE.discriminator(torch.zeros(3), torch.zeros(3)) == 2
        assert HINGE.discriminator(torch.tensor([-1.0]), torch.tensor([0.5])).item() == 3.5

    def test_large_logits_are_no_trouble(self):
        far = torch.tensor([-300.0, 300.0])
        for loss in (MINIMAX, NON_SATURATING, HINGE):
            assert loss.discriminator(far, far).isfinite() and loss.generator(far).isfinite()


class TestBestDiscriminator:
    LINE = torch.linspace(-8, 8, 1601, dtype=torch.float64)[:, None]
    WIDTH = 0.01

    def densities(self):
        two = GaussianMixture(torch.tensor([[-1.5], [1.5]]), 0.5).log_prob(self.LINE)
        return two, GaussianMixture(torch.tensor([[0.5]]), 1.0).log_prob(self.LINE)

    def test_it_is_the_share_of_real_ones(self):
        data, made = self.densities()
        wanted = data.exp() / (data.exp() + made.exp())
        torch.testing.assert_close(optimal_discriminator(data, made), wanted)

    def test_no_other_does_better(self):
        """Goodfellow et al., proposition 1: any change of D lowers the value."""
        data, made = self.densities()

        def value(d):
            return ((data.exp() * d.log() + made.exp() * (1 - d).log()) * self.WIDTH).sum().item()

        best = optimal_discriminator(data, made).clamp(1e-9, 1 - 1e-9)
        assert value(best) == pytest.approx(best_value(data, made, self.WIDTH), abs=1e-6)
        for change in (0.02, -0.02):
            assert value((best + change).clamp(1e-9, 1 - 1e-9)) < value(best) - 1e-4

    def test_the_value_is_minus_log_4_where_nothing_differs(self):
        data, made = self.densities()
        assert best_value(data, data, self.WIDTH) == pytest.approx(-math.log(4), abs=1e-6)
        assert -math.log(4) < best_value(data, made, self.WIDTH) < 0

    def test_its_gap_is_twice_the_jensen_shannon_divergence(self):
        """Eq. 6: C(G) = -log 4 + 2 JSD."""
        data, made = self.densities()
        middle = torch.logaddexp(data, made) - math.log(2)
        to_middle = [(log.exp() * (log - middle) * self.WIDTH).sum().item() for log in (data, made)]
        assert best_value(data, made, self.WIDTH) == pytest.approx(-math.log(4) + sum(to_middle), abs=1e-6)

    def test_its_pull_is_the_difference_of_the_scores(self):
        """The gradient of log p_data - log p_made: a generator that follows it goes where data are denser."""
        made = GaussianMixture(torch.tensor([[0.3, -0.2]]), 0.8)

        def logit(x):
            return _log_prob(ring(), x) - _log_prob(made, x)

        x = torch.randn(20, 2, generator=seeded(), dtype=torch.float64)
        torch.testing.assert_close(pull(logit, x), ring().score(x) - made.score(x), atol=1e-6, rtol=1e-6)

    def test_a_trained_one_comes_near_it(self):
        """A small network, trained on samples by the package's loss, against the formula."""
        data, made = GaussianMixture(torch.tensor([[-1.0], [1.5]]), 0.5), GaussianMixture(torch.tensor([[0.0]]), 1.0)
        torch.manual_seed(0)
        net, numbers = PointDiscriminator(1, 32, 2), seeded(2)
        optimiser = torch.optim.AdamW(net.parameters(), 5e-3)
        for _ in range(300):
            loss = NON_SATURATING.discriminator(net(data.sample(512, numbers)), net(made.sample(512, numbers)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        line = torch.linspace(-2, 2, 81)[:, None]
        exact = optimal_discriminator(data.log_prob(line), made.log_prob(line))
        error, error_of_one_half = ((answer - exact).abs().mean() for answer in (net(line).detach().sigmoid(), 0.5))
        assert error < 0.05 < 0.15 < error_of_one_half


def _log_prob(mixture: GaussianMixture, x: torch.Tensor) -> torch.Tensor:
    """The mixture's log-density again, in torch's own distributions, so that it can be differentiated."""
    normal = torch.distributions.Normal(mixture.means, mixture.stds[:, None])
    return (normal.log_prob(x[:, None]).sum(-1) + mixture.weights.log()).logsumexp(1)


class TestPenalty:
    def test_r1_of_a_known_discriminator(self):
        """D = a . x has gradient a everywhere: half its squared length, however many examples there are."""
        a = torch.tensor([1.0, -2.0, 2.0])
        for n in (1, 7):
            assert r1(lambda x: x @ a, torch.randn(n, 3, generator=seeded())).item() == pytest.approx(4.5)

    def test_it_adds_up_a_picture_and_averages_the_batch(self):
        x = torch.stack([torch.ones(1, 2, 2), 3 * torch.ones(1, 2, 2)])
        # D = sum x^2 / 2 has gradient x: squared lengths 4 and 36, mean 20.
        assert r1(lambda x: x.square().flatten(1).sum(1) / 2, x).item() == pytest.approx(10)

    def test_it_teaches_the_discriminator_to_be_flat(self):
        gan, x = tiny(), points().x
        before = r1(gan.discriminator, x).item()
        optimiser = torch.optim.Adam(gan.discriminator.parameters(), 1e-2)
        for _ in range(30):
            optimiser.zero_grad()
            r1(gan.discriminator, x).backward()
            optimiser.step()
        assert r1(gan.discriminator, x).item() < 0.5 * before

    def test_it_looks_at_real_examples_only(self, monkeypatch):
        seen = []
        monkeypatch.setattr(gan_module, "r1", lambda net, x: seen.append(x) or x.sum() * 0)
        batch = points()
        list(tiny(lazy=1).losses(batch, Rng(0)))
        assert len(seen) == 1 and torch.equal(seen[0], batch.x)

    def test_lazy_counts_as_much_as_it_is_rare(self):
        batch, rng = points(), Rng(0)
        lazy, each = tiny(lazy=4, gamma=2.0), tiny(lazy=1, gamma=2.0)
        expected = 2.0 * r1(each.discriminator, batch.x)
        each.memory["turns"].done = 1
        torch.testing.assert_close(each.penalty(batch.x), expected)
        found = []
        for _ in range(8):
            phases = lazy.losses(batch, rng)
            _, loss, metrics = next(phases)
            found.append((loss - metrics["game"]).item())
        assert [round(value / expected.item(), 3) for value in found] == [0, 0, 0, 4, 0, 0, 0, 4]

    def test_without_gamma_there_is_none(self):
        _, loss, metrics = next(tiny(gamma=0.0, lazy=1).losses(points(), Rng(0)))
        assert loss == metrics["game"]

    def test_pull_leaves_no_gradient_behind(self):
        gan = tiny()
        pull(gan.discriminator, points().x)
        assert all(p.grad is None for p in gan.discriminator.parameters())


class TestPhases:
    def phases(self, gan, batch=None):
        """The gradients that each phase of one step leaves, by network."""
        found = []
        for phase, loss, _ in gan.losses(batch or points(), Rng(0)):
            loss.backward()
            left = {name: any(p.grad is not None for p in net.parameters()) for name, net in gan.modules.items()}
            found.append((phase, left))
            for net in gan.modules.values():
                net.zero_grad(set_to_none=True)
        return found

    @pytest.mark.parametrize("loss", [MINIMAX, NON_SATURATING, HINGE], ids=lambda loss: loss.name)
    def test_each_phase_teaches_its_own_network_alone(self, loss):
        assert self.phases(tiny(loss=loss, lazy=1)) == [
            ("discriminator", {"generator": False, "discriminator": True}),
            ("generator", {"generator": True, "discriminator": False}),
        ]

    def test_the_discriminator_can_be_trained_again_after_the_generators_turn(self):
        gan = tiny()
        list(gan.losses(points(), Rng(0)))
        assert all(p.requires_grad for p in gan.discriminator.parameters())

    def test_weights_frozen_before_stay_frozen(self):
        net = PointDiscriminator(width=4, layers=1)
        net.layers[0].weight.requires_grad_(False)
        with pytest.raises(KeyError), frozen(net):
            assert not any(p.requires_grad for p in net.parameters())
            raise KeyError
        assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]

    @pytest.mark.parametrize(
        ("turns", "wanted"), [((1, 1), "DGDGDGDG"), ((3, 1), "DDDGD"), ((1, 2), "DGGDGGDGGDGG"), ((2, 3), "DDGGGDDGGG")]
    )
    def test_turns(self, turns, wanted):
        gan, rng = tiny(turns=turns), Rng(0)
        played = [phase[0].upper() for _ in range(4) for phase, _, _ in gan.losses(points(), rng)]
        assert "".join(played) == wanted

    def test_after_a_period_all_has_come_round(self):
        assert GAN(*tiny().modules.values(), lazy=4, turns=(6, 1)).period == 12
        assert GAN(*tiny().modules.values(), gamma=0.0, turns=(3, 2)).period == 3

    def test_the_generator_sees_the_discriminator_after_its_step(self):
        """Between the two phases the loop has stepped: the generator must not follow last step's gradient."""
        gan = tiny()
        phases = gan.losses(points(), Rng(0))
        next(phases)
        with torch.no_grad():
            for weight in gan.discriminator.parameters():
                weight.zero_()
        _, loss, _ = next(phases)
        assert loss.item() == pytest.approx(math.log(2))

    def test_what_is_measured(self):
        gan = tiny(gamma=0.0)
        with torch.no_grad():
            for weight in gan.discriminator.parameters():
                weight.zero_()
            gan.discriminator.layers[-1].bias.fill_(2.0)  # takes everything for real: right in half of the cases
        _, _, metrics = next(gan.losses(points(), Rng(0)))
        assert metrics["right"] == 0.5
        assert metrics["game"].item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(2)))

    @pytest.mark.parametrize("wrong", [{"gamma": -1.0}, {"lazy": 0}, {"turns": (0, 1)}, {"turns": (1, 0)}])
    def test_settings_that_make_no_sense_are_refused(self, wrong):
        with pytest.raises(ValueError, match="at least 1"):
            tiny(**wrong)


class TestNetworks:
    def test_the_default_is_as_large_as_the_course_s_ddpm(self):
        count = sum(p.numel() for net in GAN().modules.values() for p in net.parameters())
        assert 0.99 < count / 1_027_444 < 1.01

    def test_pictures_are_in_range_and_follow_the_generator(self):
        gan = tiny_pictures()
        first, again, other = (gan.pictures(3, seeded(seed)) for seed in (0, 0, 1))
        assert first.shape == (3, 1, 28, 28) and first.abs().max() <= 1 and not first.requires_grad
        assert torch.equal(first, again) and not torch.allclose(first, other)

    def test_pictures_of_given_numbers(self):
        gan, z = tiny_pictures(), torch.randn(3, 4, generator=seeded())
        torch.testing.assert_close(gan.from_latent(z), gan.generator(z).detach())
        near, far = (gan.from_latent(z + step) - gan.from_latent(z) for step in (0.01, 1.0))
        assert 0 < near.abs().mean() < 0.1 * far.abs().mean()

    def test_a_discriminator_judges_each_picture_by_itself(self):
        net, x = tiny_pictures().discriminator, fashion("test").x[:6]
        torch.testing.assert_close(net(x)[:2], net(x[:2]), atol=1e-5, rtol=1e-5)

    def test_pictures_in_another_range_are_refused(self):
        with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
            tiny_pictures().check(Batch((fashion()[slice(0, 64)].x + 1) / 2))
        tiny_pictures().check(points())  # points may lie anywhere

    def test_batch_norm_left_in_training_mode_ties_pictures_together(self):
        """The usual mistake, known: in training mode a picture depends on its neighbours, in evaluation mode not."""
        gan = tiny_pictures(nn.BatchNorm2d)
        z = torch.randn(8, 4, generator=seeded())
        company = [torch.cat([z[:1], rest]) for rest in (z[1:4], 3 * z[4:])]
        with torch.no_grad():
            training = [gan.generator(one)[0] for one in company]
            gan.generator.eval()
            evaluating = [gan.generator(one)[0] for one in company]
        assert (training[0] - training[1]).abs().max() > 0.01
        torch.testing.assert_close(evaluating[0], evaluating[1])

    def test_an_average_takes_batch_norm_s_statistics_as_they_are_and_has_all_of_group_norm_s(self):
        """The averaged weights come with the statistics of the present ones. The default has none to get wrong."""
        gan = tiny_pictures(nn.BatchNorm2d)
        ema = Ema(gan.generator, 0.9)
        for _ in range(3):
            with torch.no_grad():
                gan.generator.enter.weight.add_(1)
            gan.pictures(16, seeded())  # in training mode: moves the running statistics
            ema.update(gan.generator)
        assert torch.equal(ema.module.layers[0].running_mean, gan.generator.layers[0].running_mean)
        assert not torch.allclose(ema.module.enter.weight, gan.generator.enter.weight)
        assert list(GAN().generator.buffers()) == [] and list(GAN().discriminator.buffers()) == []

    def test_an_averaged_generator_draws(self):
        gan = tiny()
        ema = Ema(gan.generator)
        with torch.no_grad():
            gan.generator.layers[-1].bias.add_(5)
        averaged = replace(gan, generator=ema.module)
        assert (gan.pictures(4, seeded()) - averaged.pictures(4, seeded())).mean().item() == pytest.approx(5, abs=1e-4)


class TestTraining:
    def run(self, gan, steps, checkpoint=None, data=None, rate=2e-3, runtime=CPU, size=128):
        data = Batches(ring().sample(2000, seeded(3)), size, seed=0) if data is None else data
        optimisers = {name: adamw(net.parameters(), rate, betas=(0.5, 0.99)) for name, net in gan.modules.items()}
        return train(gan, data, optimisers, steps=steps, checkpoint=checkpoint, runtime=runtime, log_every=10)

    def test_it_learns_a_ring(self):
        """Seconds: from one heap in the middle to points of which most lie near the data, at most of the modes."""
        torch.manual_seed(0)
        gan = GAN(PointGenerator(width=64), PointDiscriminator(width=64), gamma=0.1, lazy=1)
        for _ in self.run(gan, 600):
            pass
        distance = torch.cdist(gan.pictures(2000, seeded()).double(), ring().means)
        assert (distance.min(1).values < 0.4).float().mean() > 0.6
        assert (distance < 0.3).any(0).sum() >= 6

    def test_pictures_move_towards_the_data(self):
        gan = tiny_pictures(lazy=2)
        data = Batches(fashion()[slice(0, 64)], 16, seed=0)
        logs = list(self.run(gan, 20, data=data))
        assert set(logs[-1].metrics) == {"loss/discriminator", "loss/generator", "game", "right"}
        assert gan.pictures(16, seeded()).mean() < -0.02  # clothes are mostly dark; it began at 0

    def test_a_resumed_training_is_the_same_to_the_last_bit(self, tmp_path):
        """The count of turns is in the checkpoint: ten steps stop between two penalties and between two turns."""
        options = {"lazy": 4, "turns": (3, 1)}
        whole = tiny(**options)
        list(self.run(whole, 30, Checkpoint(tmp_path / "whole.pt", "gan")))
        cut = Checkpoint(tmp_path / "cut.pt", "gan")
        logs = self.run(tiny(**options), 30, cut)
        next(logs)
        logs.close()
        resumed = tiny(**options)
        list(self.run(resumed, 30, cut))
        for name in whole.modules:
            assert torch.equal(weights(resumed.modules[name]), weights(whole.modules[name]))

    def test_half_precision_leaves_the_penalty_in_full(self):
        gan = tiny_pictures(lazy=1)
        data = Batches(fashion()[slice(0, 64)], 16, seed=0)
        logs = list(self.run(gan, 10, data=data, runtime=Runtime(torch.device("cpu"), torch.bfloat16)))
        assert all(math.isfinite(value) for value in logs[-1].metrics.values())
        with torch.autocast("cpu", torch.bfloat16):
            inside = gan.penalty(data.data[torch.arange(8)].x)
        torch.testing.assert_close(inside, gan.penalty(data.data[torch.arange(8)].x))


class TestPulls:
    """The picture of points and arrows (edu_diffusion/viz/fields.py)."""

    @pytest.fixture
    def drawn(self, monkeypatch):
        figures = []
        monkeypatch.setattr(fields, "show", lambda figure, alt: figures.append(figure) or viz.show(figure, alt))
        return figures

    def test_arrows_start_at_the_points_and_never_exceed_the_reach(self, drawn):
        where, arrows = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, -1e6]])
        picture = fields.pulls({"one": (where, arrows)}, "Two points.", data=where, reach=0.5, limit=2)
        ax = drawn[0].axes[0]
        quiver = ax.collections[0]
        assert picture.alt == "Two points." and ax.get_title() == "one"
        assert np.allclose(quiver.get_offsets(), where) and np.allclose(quiver.U, [0.25, 0])
        assert np.allclose(quiver.V, [0, -0.5], atol=1e-4)
        assert [line.get_color() for line in ax.lines] == [colours.DATA, colours.MODEL]

    def test_frames_have_one_size(self):
        where = torch.randn(200, 2, generator=seeded())
        first, second = (
            fields.pulls({title: (where * k, where)}, "Points.", data=where)
            for k, title in ((1, "a"), (5, "a much longer title"))
        )
        assert first.image.size == second.image.size

    @pytest.mark.parametrize("arrows", [torch.zeros(3, 2), torch.zeros(4, 3)])
    def test_one_arrow_of_two_numbers_for_each_point(self, arrows):
        with pytest.raises(ValueError, match=r"one arrow for each point|\(n, 2\)"):
            fields.pulls({"one": (torch.zeros(4, 2), arrows)}, "Points.", data=torch.zeros(1, 2))
