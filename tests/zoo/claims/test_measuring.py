"""The measuring code: on cases whose answer is known, with nothing trained but networks of a few steps."""

import math

import pytest
import torch

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import X0, Denoiser, ddim, dpm_pp, from_betas, linear, q_posterior, vlb_loss
from edu_diffusion.systems.ddpm import DDPM, ddpm_unet
from edu_diffusion.zoo import card
from edu_diffusion.zoo.claims import arms as arms_module
from edu_diffusion.zoo.claims import ddpm, forward, improved, reverse, samples, sampling, unet
from edu_diffusion.zoo.claims.arms import PredictsMean, eps_error, measured, of_zoo, spread_times
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestForward:
    def test_z_scores_of_the_right_gaussian_are_one(self):
        x = 2 + 3 * torch.randn(400, 1, 20, 20, generator=seeded())
        right = forward.z_scores(x, torch.full((1, 20, 20), 2.0), 9.0).square().mean(1).sqrt()
        assert (right - 1).abs().max() < 0.15
        off_mean, _ = forward.z_scores(x, torch.full((1, 20, 20), 2.5), 9.0).square().mean(1).sqrt()
        _, off_variance = forward.z_scores(x, torch.full((1, 20, 20), 2.0), 3.0).square().mean(1).sqrt()
        assert off_mean > 3 and off_variance > 10

    def test_the_walk_agrees_and_the_usual_slip_shows(self, monkeypatch):
        schedule = from_betas(torch.linspace(0.01, 0.2, 20))
        monkeypatch.setattr(forward, "STOPS", (5, 20))
        assert all(0.85 < score < 1.15 for score in forward.walk(schedule))
        assert forward.walk(schedule, lambda s, t, x: s.noise(t, x) ** 4)[1] > 3

    def test_the_exact_moments_agree(self):
        assert forward.exact_difference(linear(50)) < 1e-12

    def test_the_detective_is_sure_at_the_start_and_guesses_at_the_end(self):
        x0 = fashion("test").x[:5].double()
        assert forward.detective(forward.stopped(2), x0) > 0.999
        assert 0.5 < forward.detective(linear(), x0) < 0.55
        assert forward.ten_steps().T == 10 and forward.ten_steps().alpha_bar[-1] == linear().alpha_bar[-1]


class TestReverse:
    def test_the_exact_denoiser_gives_training_pictures_back(self):
        points = fashion("train").x[:30]
        made = reverse.draw_exact(points, count=6, steps=20)
        distance = reverse.nearest(made, points).distance
        assert reverse.copies(distance) == 1

    def test_only_what_is_nearer_than_half_a_grey_level_is_a_copy(self):
        assert reverse.copies(torch.tensor([0.0, 0.9 / 255, 1.1 / 255, 0.2])) == 0.5

    @pytest.mark.parametrize("remembers, says", [(True, IN_PART), (False, HOLDS)])
    def test_the_verdict(self, monkeypatch, remembers, says):
        train = fashion("train")
        monkeypatch.setattr(reverse, "TRAINED", 5)
        monkeypatch.setattr(reverse, "draw_exact", lambda points: points[:4])
        monkeypatch.setattr(reverse, "trained_net", lambda: None)
        made = train.x[:5] if remembers else train.x[:5] * 0.9
        monkeypatch.setattr(reverse, "draw", lambda denoiser, count, steps: made)
        found = reverse.measure_memory(Arms())
        assert found.verdict == says and found.numbers["exact denoiser: copies"].value == 100


def never():
    raise AssertionError("built again")


class TestArms:
    @pytest.fixture
    def small(self, monkeypatch, tmp_path):
        """Arms that train for three steps, and a Fréchet distance that is quick."""
        budget = {"STEPS": 3, "BATCH": 2, "SAMPLES": 2, "SAMPLE_STEPS": 1, "PICTURES": 2, "TIMES": 3}
        for name, value in budget.items():
            monkeypatch.setattr(arms_module, name, value)
        monkeypatch.setattr(arms_module, "draw", lambda denoiser, count, **_: torch.zeros(count, 1, 28, 28))
        monkeypatch.setattr(arms_module, "fd", lambda images, seed: arms_module_measured(len(images), seed))
        monkeypatch.setattr(arms_module, "SEEDS", (0, 1))
        return Arms(tmp_path, tmp_path / "runs")

    def test_an_arm_trains_and_is_measured_once_for_each_seed(self, small, monkeypatch):
        def build():
            return DDPM(net=ddpm_unet(widths=(16, 32), attention=(False, False)))

        monkeypatch.setattr(arms_module, "WIDTHS", (16, 32))
        found = measured(small, "some-arm", build)
        assert found["fd"].value == 2.5 and found["fd"].seeds == 2 and found["fd"].floor == 0.5
        assert found["bits"].value > 0 and 0.5 < found["eps_error"].value < 2 and found["eps_error"].spread > 0
        assert sorted(path.name for path in small.folder.iterdir()) == ["some-arm-seed0.json", "some-arm-seed1.json"]
        assert measured(small, "some-arm", never) == found  # nothing is built again

    def test_arms_of_another_budget_are_refused(self, small, monkeypatch):
        build, widths = (lambda: DDPM(net=ddpm_unet(widths=(16, 32), attention=(False, False)))), (16, 32)
        measured(small, "some-arm", build, widths=widths)
        monkeypatch.setattr(arms_module, "STEPS", 4)
        with pytest.raises(ValueError, match=r"another budget \(steps\)"):
            measured(small, "some-arm", never, widths=widths)

    def test_an_arm_must_have_the_widths_it_says(self, small):
        with pytest.raises(ValueError, match=r"says widths \(32, 64\), but builds \{\(16, 32\)\}"):
            measured(small, "wrong", lambda: DDPM(net=ddpm_unet(widths=(16, 32), attention=(False, False))))

    def test_times_are_dense_at_the_start(self):
        times = spread_times(linear(), 60)
        assert times[0] == 1 and times[-1] == 1000 and times[:3] == [1, 2, 3] and 40 < len(times) <= 60

    def test_the_error_of_eps_does_not_depend_on_the_target(self):
        pictures = fashion("test").x[:4]
        zero = Denoiser(lambda x_t, t, cond=None: x_t * 0, linear())
        assert eps_error(zero, pictures) == pytest.approx(1, abs=0.02)
        schedule = linear()

        def net(x_t, t, cond=None):  # knows that x0 is these pictures
            return pictures

        assert eps_error(Denoiser(net, schedule, X0), pictures) < 1e-6

    def test_predicting_the_mean_is_what_it_says(self):
        schedule, x0 = linear(), fashion("test").x[:3]
        t = torch.tensor([2, 300, 1000])
        eps = torch.randn(x0.shape, generator=seeded())
        net = PredictsMean(Mean(), schedule)
        denoiser = Denoiser(net, schedule, X0)
        x_t = schedule.signal(t, x0) * x0 + schedule.noise(t, x0) * eps
        assert torch.allclose(denoiser(x_t, t).mean(t - 1), 0.5 * x_t + 0.1, atol=1e-4)
        # Its bound is the squared distance of that mean from the true one, over twice the variance.
        true, _ = q_posterior(schedule, x0, x_t, t, t - 1)
        variance = schedule.beta_tilde(t, t - 1, x0)
        wanted = 1000 * ((0.5 * x_t + 0.1 - true) ** 2 / (2 * variance)).flatten(1).mean(1) / math.log(2)
        assert torch.allclose(vlb_loss(denoiser, x0, t, eps), wanted, rtol=1e-3)


class Mean(torch.nn.Module):
    def forward(self, x_t, t, cond=None):
        return 0.5 * x_t + 0.1


def arms_module_measured(samples: int, seed: int):
    from edu_diffusion.metrics import Measured

    return Measured("Fréchet distance", 2.0 + seed, samples, seed, floor=0.5)


class StoredArms(Arms):
    """Arms whose FD, bits and errors are given, and which never train."""

    def __init__(self, fd: dict, bits: dict[str, float] | None = None):
        super().__init__()
        self.fd, self.bits, self.asked = fd, bits or {}, []

    def get(self, name, measure):
        self.asked.append(name)
        arm = name.rsplit("-seed", 1)[0]
        numbers = {"fd": float(self.fd.get(arm, 20)), "bits": float(self.bits.get(arm, 4.0)), "eps_error": 0.1}
        return numbers | {"floor": 0.3, "budget": budget_of(arm), "minutes": 5.0}


def budget_of(arm: str) -> dict:
    """The budget that an arm of this name has."""
    sizes = tuple(map(int, arm.split("-")[1:])) if arm.startswith("widths-") else None
    widths = (24, 48) if "deeper" in arm else sizes
    return arms_module.Arm(arm, never, widths=widths).budget()


# Arms that are better for ADM's choices; the first is without one that the network has.
ADM_HELPS = {
    "adm-embedding-added-not-scaling": 25,
    "adm-attention-at-14x14-too": 15,
    "adm-heads-of-16-channels": 15,
    "adm-residual-resizing": 15,
    "adm-deeper-and-narrower": 15,
}


class TestVerdicts:
    @pytest.mark.parametrize(
        "fd, says",
        [
            ({"no-skips": 30, "no-attention": 25, "no-time": 23} | ADM_HELPS, HOLDS),
            ({"no-skips": 30, "no-attention": 25, "no-time": 23}, IN_PART),
            ({"no-skips": 30, "no-attention": 20.5, "no-time": 23} | ADM_HELPS, IN_PART),
            ({"no-skips": 21, "no-attention": 20.5, "no-time": 15}, DOES_NOT),
        ],
    )
    def test_unet_parts(self, fd, says):
        found = unet.measure_parts(StoredArms(fd))
        assert found.verdict == says and found.numbers["no skips: FD"].value == fd["no-skips"]
        assert found.why.count("it matters") == sum(fd[part] > 22 for part in ("no-skips", "no-attention", "no-time"))
        assert found.why.count("within the margin") == (0 if "adm-residual-resizing" in fd else 5)

    @pytest.mark.parametrize(
        "mean, bound, says", [(60, 40, HOLDS), (60, 21, IN_PART), (18, 40, IN_PART), (18, 19, DOES_NOT)]
    )
    def test_eps_target(self, mean, bound, says):
        arms = StoredArms({"linear-mean-bound": mean, "linear-eps-bound": bound, "linear-v": 15})
        found = ddpm.measure_target(arms)
        assert found.verdict == says and len(found.numbers) == 6 and "lowest of all six: v, 15" in found.why
        assert "linear-eps-simple-seed0" in arms.asked

    @pytest.mark.parametrize(
        "bound, bits, says", [(40, 3.5, HOLDS), (40, 4.1, IN_PART), (19, 3.5, IN_PART), (19, 4.1, DOES_NOT)]
    )
    def test_simple_against_the_bound(self, bound, bits, says):
        vlb = ("linear-vlb-aware", "cosine-vlb-aware")
        arms = StoredArms(dict.fromkeys(vlb, bound), dict.fromkeys(vlb, bits))
        found = improved.measure_losses(arms)
        assert found.verdict == says and len(found.numbers) == 12
        assert found.numbers["cosine, bound: bits"].value == bits

    @pytest.mark.parametrize(
        "fds, bits, says",
        [((40, 20, 18, 15), (5, 4, 3.9, 3.8), HOLDS), ((40, 20, 21, 15), (5, 4, 3.9, 3.8), IN_PART)],
    )
    def test_bigger(self, fds, bits, says):
        names = ["widths-16-32", "linear-eps-simple", "widths-48-96", "widths-64-128"]
        found = improved.measure_sizes(
            StoredArms(dict(zip(names, fds, strict=True)), dict(zip(names, bits, strict=True)))
        )
        assert found.verdict == says and len(found.numbers) == 8

    def test_numbers_of_other_weights_are_refused(self, tmp_path):
        arms = Arms(tmp_path, tmp_path / "runs")
        digest = card("ddpm-fashion").weight_sha256
        found = of_zoo(arms, "ddpm-fashion", "nothing", lambda system: {"fd": 1.0})
        assert found["weights"] == digest and of_zoo(arms, "ddpm-fashion", "nothing", never) == found
        path = arms.folder / "ddpm-fashion-nothing.json"
        path.write_text(path.read_text().replace(digest, "0" * 64))
        with pytest.raises(ValueError, match="of other weights"):
            of_zoo(arms, "ddpm-fashion", "nothing", never)

    def test_the_order_of_a_rule_is_measured(self):
        assert sampling.order_of(ddim(), fine=640) == pytest.approx(1, abs=0.3)
        assert sampling.order_of(dpm_pp(), fine=640) == pytest.approx(2, abs=0.3)

    @pytest.mark.parametrize("slow, says", [(1.0, HOLDS), (3.0, IN_PART)])
    def test_ddim_needs_few_steps(self, monkeypatch, slow, says):
        def found(arms, entry, what, measure):
            rule, steps = what.rsplit("-", 1)
            worst = {"ancestral": 200, "ddim": 20, "dpm_pp": 15}[rule]
            return {"fd": 5 + slow * worst / int(steps), "floor": 0.7}

        monkeypatch.setattr(sampling, "of_zoo", found)
        orders = iter([1.0, 2.0])
        monkeypatch.setattr(sampling, "order_of", lambda rule: next(orders))
        result = sampling.measure_steps(Arms())
        assert result.verdict == says and len(result.numbers) == len(sampling.SWEEP) + 2


class TestSamples:
    def test_a_picture_is_its_coarse_and_fine_part(self):
        x = fashion("test").x[:3]
        parts = samples.parts(x)
        assert torch.allclose(parts["coarse"] + parts["fine"], x, atol=1e-6)
        assert torch.nn.functional.avg_pool2d(parts["fine"], samples.BLOCK).abs().max() < 1e-6

    def test_what_is_known_when(self):
        x0 = fashion("test").x[:8]
        coarse = samples.parts(x0)["coarse"]

        def net(x_t, t, cond=None):  # all until t = 200, the coarse part until 600, then only the mean
            return x0 if t[0] <= 200 else coarse if t[0] <= 600 else x0.mean(0).expand_as(x0)

        assert samples.half_known(Denoiser(net, linear(), X0), x0) == {"coarse": 600, "fine": 200}

    def test_half_of_the_bits_are_paid_at(self):
        from edu_diffusion.diffusion import Bits

        errors = torch.zeros(4)
        assert samples.half_paid(Bits(torch.tensor([1.0, 1.0, 1.0, 1.0]), 0.0, errors)) == 3
        assert samples.half_paid(Bits(torch.tensor([9.0, 1.0, 1.0, 1.0]), 0.0, errors)) == 1
        assert samples.half_paid(Bits(torch.tensor([1.0, 1.0, 1.0, 9.0]), 0.0, errors)) == 4

    @pytest.mark.parametrize("copied, says", [(True, DOES_NOT), (False, HOLDS)])
    def test_copies_are_not_original(self, monkeypatch, copied, says):
        train, test = fashion("train").x[:500], fashion("test").x
        data = {"train": Few(train), "test": Few(test[:50])}
        made = train[:50] if copied else test[50:100]
        monkeypatch.setattr(samples, "SAMPLES", 50)
        monkeypatch.setattr(samples, "fashion", data.get)
        monkeypatch.setattr(samples, "trained_net", lambda: None)
        monkeypatch.setattr(samples, "draw", lambda *_, **__: made)
        monkeypatch.setattr(samples, "features", lambda x: x.flatten(1)[:, ::3])
        monkeypatch.setattr(samples, "real_features", lambda split: data[split].x.flatten(1)[:, ::3])
        assert samples.measure_original(Arms()).verdict == says


class Few:
    def __init__(self, x):
        self.x = x
