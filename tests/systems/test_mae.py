"""The masked autoencoder: what is hidden, what is guessed, and what its features know."""

import pytest
import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.metrics import extract
from edu_diffusion.nets.vit import ViT, patchify
from edu_diffusion.systems.mae import (
    MAE,
    Labelled,
    LabelledNet,
    MAENet,
    around_a_block,
    at_random,
    conditional_mean,
    cover,
    hidden,
    linear_probe,
    normalised,
    patch_error,
    untrained,
)
from edu_diffusion.training import Ema, adamw, train
from edu_diffusion.types import Batch, Rng


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=seeded(seed))


def chances(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


def pictures(n=8) -> Batch:
    return fashion()[slice(0, n)]


def tiny_net(**options) -> MAENet:
    return MAENet(ViT(**{"width": 32, "depth": 1} | options), width=32, depth=1)


@pytest.fixture
def mae():
    torch.manual_seed(0)
    return MAE(untrained(tiny_net()))


def one_loss(recipe, batch=None, seed=0):
    [(phase, loss, metrics)] = recipe.losses(batch or pictures(), Rng(seed))
    assert phase == "net" and loss.ndim == 0 and loss.isfinite()
    return loss, metrics


MASKINGS = {"random": at_random, "block": around_a_block}


class TestMasks:
    @pytest.mark.parametrize("masking", MASKINGS.values(), ids=MASKINGS)
    @pytest.mark.parametrize("visible", [1, 12, 48])
    def test_each_example_shows_as_many_patches_and_none_twice(self, masking, visible):
        keep = masking(chances(20, 7, 7), visible)
        assert keep.shape == (20, visible) and keep.min() >= 0 and keep.max() < 49
        assert all(len(row.unique()) == visible for row in keep)
        assert not torch.equal(keep[0].sort().values, keep[1].sort().values)

    def test_at_random_are_those_with_the_smallest_chance(self):
        assert at_random(torch.tensor([[[0.7, 0.1], [0.9, 0.4]]]), 2).tolist() == [[1, 3]]

    @pytest.mark.parametrize("visible", [12, 37])
    def test_at_random_every_patch_is_shown_equally_often(self, visible):
        keep = at_random(chances(4000, 7, 7), visible)
        share = torch.bincount(keep.flatten(), minlength=49) / 4000
        assert (share - visible / 49).abs().max() < 0.035  # more than four standard errors

    def test_a_block_is_what_lies_around_its_centre(self):
        chance = torch.zeros(1, 7, 7)
        chance[0, 3, 2] = 0.9
        hide = hidden(around_a_block(chance, 40), 49).view(7, 7)
        assert hide[2:5, 1:4].all() and hide.sum() == 9

    def test_in_a_row_a_block_is_a_gap(self):
        hide = hidden(around_a_block(chances(50, 1, 16), 9), 16)
        ends = (hide[:, 1:] != hide[:, :-1]).sum(1)
        assert hide.sum(1).eq(7).all() and ends.max() <= 2

    def test_hidden_is_what_is_not_kept(self):
        assert hidden(torch.tensor([[2, 0], [1, 3]]), 4).tolist() == [[False, True, False, True], [True, False] * 2]

    def test_a_cover_is_grey_where_nothing_is_shown(self):
        x, keep = pictures(2).x, torch.tensor([[0, 8], [24, 48]])
        covered = patchify(cover(x, keep, 4), 4)
        assert torch.equal(covered[1, 24], patchify(x, 4)[1, 24]) and covered[1, :24].abs().max() == 0


class TestErrors:
    def test_only_the_named_patches_count(self):
        guess, target = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 3.0], [2.0, 2.0], [100.0, 0.0]]])
        assert patch_error(guess, target, torch.tensor([[True, True, False]])).item() == pytest.approx((5 + 4) / 2)

    def test_the_others_get_no_gradient(self):
        guess, where = normal(2, 5, 3).requires_grad_(), torch.tensor([[True, False, True, False, False]] * 2)
        patch_error(guess, normal(2, 5, 3, seed=2), where).backward()
        assert ((guess.grad.abs().amax(-1) > 0) == where).all()

    def test_normalised_patches_have_mean_0_and_variance_1(self):
        patches = 3 * normal(2, 5, 16) + 7
        patches[0, 0] = 0.25
        out = normalised(patches)
        assert out[0, 0].abs().max() < 1e-3
        torch.testing.assert_close(out[1].mean(-1), torch.zeros(5), rtol=0, atol=1e-5)
        torch.testing.assert_close(out[1].square().mean(-1), torch.ones(5), rtol=1e-4, atol=1e-4)


class TestNet:
    def test_the_guess_depends_on_what_is_shown_and_on_nothing_else(self, mae):
        x, keep = pictures(2).x, at_random(chances(2, 7, 7), 12)
        blank, other = cover(x, keep, 4), cover(pictures(4).x[2:], keep, 4)
        torch.testing.assert_close(mae.guess(blank, keep), mae.guess(x, keep), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(mae.guess(other, keep), mae.guess(x, keep), atol=1e-2)

    def test_the_order_of_what_is_shown_does_not_matter(self, mae):
        x, keep = pictures(2).x, at_random(chances(2, 7, 7), 12)
        torch.testing.assert_close(mae.guess(x, keep.flip(1)), mae.guess(x, keep), rtol=1e-4, atol=1e-5)

    def test_without_places_all_hidden_patches_are_guessed_alike(self, mae):
        x, keep = pictures(1).x, at_random(chances(1, 7, 7), 12)
        hide = hidden(keep, 49)
        assert mae.guess(x, keep)[hide].std(0).max() > 0.01
        mae.net.decoder.places.zero_()
        assert mae.guess(x, keep)[hide].std(0).max() < 1e-5

    def test_visible_tokens_stand_at_their_own_places(self, mae):
        decoder, tokens, keep = mae.net.decoder, normal(1, 2, 32), torch.tensor([[5, 3]])
        decoder.body = decoder.leave = torch.nn.Identity()
        out = decoder(tokens, keep) - decoder.places
        torch.testing.assert_close(out[0, [5, 3]], decoder.enter(tokens)[0], rtol=1e-4, atol=1e-5)
        rest = hidden(keep, 49)[0]
        torch.testing.assert_close(out[0, rest], decoder.mask[0].expand(47, -1), rtol=1e-4, atol=1e-5)

    def test_features_are_the_mean_token_of_the_whole_picture(self, mae):
        x = pictures(5).x
        torch.testing.assert_close(mae.features(x), mae.net.encoder(x).mean(1))
        assert extract(mae.features, x, batch=2).shape == (5, 32)

    def test_the_default_is_as_large_as_the_course_s_ddpm(self):
        count = sum(parameter.numel() for parameter in MAE().net.parameters())
        assert count == pytest.approx(1_027_444, rel=0.03)

    def test_untrained_means_random_and_not_nothing(self):
        torch.manual_seed(0)
        encoder, x = ViT(width=32, depth=1), pictures(2).x
        nothing = torch.nn.functional.layer_norm(encoder.enter(patchify(x, 4)) + encoder.places, (32,))
        torch.testing.assert_close(encoder(x), nothing)
        assert not torch.allclose(untrained(encoder)(x), nothing, atol=1e-2)

    def test_every_parameter_is_trained(self, mae):
        one_loss(mae)[0].backward()
        assert [name for name, p in mae.net.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []

    def test_its_average_has_the_same_places(self, mae):
        averaged, keep = Ema(mae.net).module, at_random(chances(2, 7, 7), 12)
        assert torch.equal(averaged(pictures(2).x, keep), mae.net(pictures(2).x, keep))
        assert set(averaged.state_dict()) == {name for name, _ in mae.net.named_parameters()}


class TestMAE:
    def test_the_loss_is_that_of_hidden_patches(self, mae):
        batch, rng = pictures(), Rng(3)
        keep = at_random(rng.uniform(8 * 49).view(8, 7, 7), 12)
        guess, target, hide = mae.guess(batch.x, keep), patchify(batch.x, 4), hidden(keep, 49)
        loss, metrics = one_loss(mae, batch, seed=3)
        assert loss.item() == pytest.approx((guess - target)[hide].square().mean().item(), rel=1e-4)
        assert metrics["visible"].item() == pytest.approx((guess - target)[~hide].square().mean().item(), rel=1e-4)
        everywhere, _ = one_loss(MAE(mae.net, everywhere=True), batch, seed=3)
        assert everywhere.item() == pytest.approx((guess - target).square().mean().item(), rel=1e-4)

    def test_the_target_may_be_the_pattern_alone(self, mae):
        x = pictures(2).x
        assert torch.equal(mae.target(x), patchify(x, 4))
        assert torch.equal(MAE(mae.net, normalise=True).target(x), normalised(patchify(x, 4)))

    @pytest.mark.parametrize(
        ("ratio", "visible"), [(0.25, 37), (0.5, 24), (0.75, 12), (0.9, 5), (0.001, 48), (0.999, 1)]
    )
    def test_how_many_are_shown(self, mae, ratio, visible):
        assert MAE(mae.net, ratio).visible() == mae.visible(ratio) == visible
        assert mae.choose(3, seeded(), ratio).shape == (3, visible)

    @pytest.mark.parametrize("ratio", [0.0, 1.0, 75.0])
    def test_the_ratio_is_a_share(self, ratio):
        with pytest.raises(ValueError, match="share of hidden patches, between 0 and 1, got"):
            MAE(tiny_net(), ratio=ratio)

    def test_a_seed_gives_the_same_masks_and_each_example_its_own(self, mae):
        assert torch.equal(one_loss(mae, seed=1)[0], one_loss(mae, seed=1)[0])
        assert not torch.equal(one_loss(mae, seed=1)[0], one_loss(mae, seed=2)[0])
        keep = mae.choose(2, seeded())
        assert torch.equal(keep, mae.choose(2, seeded())) and not torch.equal(keep[0], keep[1])

    def test_two_processes_see_what_one_would(self, mae):
        batch, seen = pictures(8), []
        mae.masking = lambda chance, visible: seen.append(chance) or at_random(chance, visible)
        next(mae.losses(batch, Rng(5)))
        for rank in (0, 1):
            next(mae.losses(Batch(batch.x[4 * rank :][:4]), Rng(5, rank, 2)))
        assert torch.equal(seen[0], torch.cat(seen[1:]))

    def test_what_was_shown_stays_in_the_rebuilt_picture(self, mae):
        x, keep = pictures(3).x, at_random(chances(3, 7, 7), 12)
        rebuilt, hide = patchify(mae.rebuild(x, keep), 4), hidden(keep, 49)
        assert torch.equal(rebuilt[~hide], patchify(x, 4)[~hide])
        assert torch.equal(rebuilt[hide], mae.guess(x, keep)[hide])

    @pytest.mark.parametrize("normalise", [False, True])
    def test_a_perfect_guess_rebuilds_the_picture(self, normalise):
        system = MAE(tiny_net(), normalise=normalise)
        system.modules["net"] = Knows(system)
        x = pictures(3).x
        rebuilt = system.rebuild(x, system.choose(3, seeded()))
        torch.testing.assert_close(rebuilt, x, rtol=1e-3, atol=1e-3)
        assert system.error(x) < 1e-6

    def test_its_error_is_in_pixels_and_over_all_parts(self, mae, monkeypatch):
        x, keep = pictures(7).x, mae.choose(7, seeded(2), 0.5)
        by_hand = (mae.guess(x, keep) - patchify(x, 4))[hidden(keep, 49)].square().mean().item()
        monkeypatch.setattr("edu_diffusion.systems.mae.BATCH", 3)
        assert mae.error(x, seed=2, ratio=0.5) == pytest.approx(by_hand, rel=1e-4)
        assert mae.error(x, seed=3, ratio=0.5) != pytest.approx(by_hand, rel=1e-6)
        assert mae.error(x, seed=2, ratio=0.5, masking=around_a_block) != pytest.approx(by_hand, rel=1e-6)

    def test_pictures_in_another_range_are_refused(self, mae):
        with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
            mae.check(Batch((pictures(64).x + 1) / 2))
        mae.check(Batch(5 * torch.ones(4, 1, 1, 16)))  # a row of numbers may lie anywhere

    def test_training_lowers_the_loss(self, mae):
        before = one_loss(mae, seed=5)[0].item()
        optimisers = {"net": adamw(mae.net.parameters(), 2e-3, warmup=1)}
        *_, last = train(mae, Batches(pictures(), 8, seed=0), optimisers, steps=30)
        assert one_loss(mae, seed=5)[0].item() < 0.6 * before
        assert {"loss", "hidden", "visible"} == set(last.metrics) and last.metrics["loss"] == last.metrics["hidden"]


class Knows(torch.nn.Module):
    """A network that knows the answer."""

    def __init__(self, system: MAE):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(()))
        self.system = [system]

    def forward(self, x, keep):
        return self.system[0].target(x)


def chain(n: int, rho: float = 0.9):
    """The covariance of a walk that forgets: neighbours are related by rho, others by its powers."""
    at = torch.arange(n, dtype=torch.float64)
    return rho ** (at[:, None] - at).abs()


class TestExactGuess:
    def test_between_two_neighbours(self):
        """One number of a chain is hidden: the best guess is rho / (1 + rho^2) times the sum of its neighbours."""
        x, hide = normal(7).double(), torch.arange(7) == 3
        guess = conditional_mean(x, hide, torch.zeros(7).double(), chain(7))
        assert guess[3].item() == pytest.approx(0.9 / 1.81 * (x[2] + x[4]).item())
        assert torch.equal(guess[~hide], x[~hide])

    def test_beyond_the_last_one_it_falls_to_the_mean(self):
        x, hide = torch.full((30,), 3.0).double(), torch.arange(30) > 4
        guess = conditional_mean(x, hide, torch.ones(30).double(), chain(30))
        torch.testing.assert_close(guess[5:8], 1 + 2 * 0.9 ** torch.arange(1, 4, dtype=torch.float64))

    def test_what_is_unrelated_tells_nothing(self):
        mean, hide = normal(6, seed=2), torch.tensor([True, False] * 3)
        assert torch.equal(conditional_mean(normal(6), hide, mean, torch.eye(6))[hide], mean[hide])

    def test_no_linear_guess_is_better(self):
        """Its error is uncorrelated with all that was seen."""
        cov, hide = chain(6, 0.7), torch.tensor([False, True, True, False, False, True])
        x = torch.randn(4000, 6, generator=seeded(), dtype=torch.float64) @ torch.linalg.cholesky(cov).T
        guess = torch.stack([conditional_mean(one, hide, torch.zeros(6).double(), cov) for one in x])
        together = (x - guess)[:, hide].T @ x[:, ~hide] / len(x)
        assert together.abs().max() < 0.06

    def test_a_trained_mae_comes_near_it(self):
        """A row of 12 numbers, each a patch; three of four are hidden."""
        torch.manual_seed(0)
        cov = chain(12)
        rows = torch.randn(8000, 12, generator=seeded(), dtype=torch.float64) @ torch.linalg.cholesky(cov).T
        data = rows.float().view(-1, 1, 1, 12)
        system = MAE(MAENet(ViT((1, 12), 1, width=32, depth=2), width=32, depth=1), ratio=0.75)
        optimisers = {"net": adamw(system.net.parameters(), 5e-3, warmup=20)}
        for _ in train(system, Batches(data, 128, seed=0), optimisers, steps=200):
            pass
        x, keep = data[:1000], system.choose(1000, seeded(7))
        hide = hidden(keep, 12)
        zero = torch.zeros(12).double()
        exact = [conditional_mean(row, out, zero, cov) for row, out in zip(rows[:1000], hide, strict=True)]
        best = (torch.stack(exact) - rows[:1000])[hide].square().mean().item()
        reached = (system.guess(x, keep)[..., 0] - rows[:1000].float())[hide].square().mean().item()
        assert best < 0.6 and reached < 1.15 * best


class TestLabelled:
    def test_it_names_classes_from_the_mean_token(self):
        torch.manual_seed(0)
        system, batch = Labelled(LabelledNet(ViT(width=32, depth=1))), pictures(6)
        loss, metrics = one_loss(system, batch)
        logits = system.net.leave(system.features(batch.x))
        assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, batch.y).item(), rel=1e-5)
        assert metrics["accuracy"].item() == pytest.approx((logits.argmax(1) == batch.y).float().mean().item())

    def test_it_wants_labels(self):
        with pytest.raises(ValueError, match="learns from labels"):
            one_loss(Labelled(LabelledNet(ViT(width=32, depth=1))), Batch(pictures().x))


class TestProbe:
    def data(self, n=600, apart=2.0):
        """Two round clouds, `apart` between their centres."""
        y = torch.arange(n) % 2
        x = normal(n, 5)
        x[:, 0] += apart * (y - 0.5)
        return x, y

    def test_it_finds_a_line_that_separates(self):
        x, y = self.data(apart=12)
        assert linear_probe(x[:300], y[:300], x[300:], y[300:]) == 1

    def test_it_is_as_good_as_one_can_be(self):
        """The best border between two equal Gaussians lies half-way: here at 0 on the first axis."""
        x, y = self.data(6000)
        best = ((x[3000:, 0] > 0) == (y[3000:] == 1)).float().mean().item()
        assert 0.8 < best < 0.9
        assert linear_probe(x[:3000], y[:3000], x[3000:], y[3000:]) == pytest.approx(best, abs=0.01)

    def test_what_knows_nothing_scores_chance(self):
        x, _ = self.data(4000)
        y = torch.randint(4, (4000,), generator=seeded(3))
        assert linear_probe(x[:2000], y[:2000], x[2000:], y[2000:]) == pytest.approx(0.25, abs=0.03)

    def test_units_and_a_feature_that_never_changes_do_not_matter(self):
        x, y = self.data()
        plain = linear_probe(x[:300], y[:300], x[300:], y[300:])
        other = torch.cat([1000 * x + 5, torch.full((600, 1), 7.0)], 1)
        assert linear_probe(other[:300], y[:300], other[300:], y[300:]) == pytest.approx(plain, abs=0.01)

    def test_it_learns_also_where_gradients_are_switched_off(self):
        x, y = self.data(apart=12)
        with torch.no_grad():
            assert linear_probe(x[:300], y[:300], x[300:], y[300:]) == 1

    def test_features_that_are_not_finite_are_refused(self):
        x, y = self.data()
        x[3, 2] = float("nan")
        with pytest.raises(ValueError, match="finite"):
            linear_probe(x[:300], y[:300], x[300:], y[300:])
