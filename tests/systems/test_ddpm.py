"""The diffusion recipes: what each is made of, what it refuses, and that a step of training lowers its loss."""

from functools import partial

import pytest
import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.diffusion import (
    FIXED_SMALL,
    LEARNED,
    ClassifierFree,
    ClipX0,
    LossAwareTimes,
    ancestral,
    cosine,
    ddim,
    generate,
    hybrid_loss,
    linear,
    simple_loss,
    snr_weighting,
    vlb_loss,
)
from edu_diffusion.nets import Encoder
from edu_diffusion.systems.adm import ADM, NoisyClassifier, adm_unet
from edu_diffusion.systems.classifier_free import ClassifierFreeADM
from edu_diffusion.systems.ddpm import DDPM, ddpm_unet
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM, improved_unet
from edu_diffusion.training import Ema, adamw, train
from edu_diffusion.types import Batch, Rng

TINY = {"widths": (16, 32), "attention": (False, False)}
TINY_ADM = TINY | {"attention": (False, True), "head_width": 16}


def pictures(n=8) -> Batch:
    return fashion()[slice(0, n)]


def one_loss(recipe, batch=None, seed=0):
    [(phase, loss, _)] = recipe.losses(batch or pictures(), Rng(seed))
    assert phase == "net" and loss.ndim == 0 and loss.isfinite()
    return loss


RECIPES = {
    "ddpm": lambda: DDPM(ddpm_unet(**TINY)),
    "improved": lambda: ImprovedDDPM(improved_unet(**TINY)),
    "bound": lambda: ImprovedDDPM(improved_unet(**TINY), loss=vlb_loss, times=LossAwareTimes),
    "adm": lambda: ADM(adm_unet(**TINY_ADM)),
    "classifier-free": lambda: ClassifierFreeADM(adm_unet(**TINY_ADM), p_uncond=0.5),
    "classifier": lambda: NoisyClassifier(Encoder(widths=(16, 32), attention=(False, False))),
}


@pytest.mark.parametrize("name", RECIPES)
def test_training_lowers_the_loss(name):
    torch.manual_seed(0)
    recipe = RECIPES[name]()
    before = one_loss(recipe, seed=5).item()
    optimisers = {"net": adamw(recipe.modules["net"].parameters(), 2e-3, warmup=1)}
    for _ in train(recipe, Batches(pictures(), 8, seed=0), optimisers, steps=30):
        pass
    assert one_loss(recipe, seed=5).item() < 0.9 * before


class TestDDPM:
    def test_its_parts_are_the_papers(self):
        recipe = RECIPES["ddpm"]()
        assert (recipe.schedule.name, recipe.target.name, recipe.variance.name) == ("linear", "eps", "fixed_small")
        assert recipe.loss is simple_loss

    def test_its_loss_is_the_packages_own(self):
        recipe, batch, rng = RECIPES["ddpm"](), pictures(), Rng(3)
        torch.nn.init.normal_(recipe.net.leave[-1].weight, std=0.02)
        t, _ = recipe.memory["times"].draw(len(batch), rng)
        expected = simple_loss(recipe.denoiser, batch.x, t, rng.normal_like(batch.x)).mean()
        torch.testing.assert_close(one_loss(recipe, batch, seed=3), expected)

    def test_pictures_in_another_range_are_refused(self):
        recipe = RECIPES["ddpm"]()
        with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
            recipe.check(Batch((fashion()[slice(0, 64)].x + 1) / 2))
        recipe.check(Batch(5 * torch.ones(4, 2)))  # points may lie anywhere

    def test_a_variance_that_nothing_would_teach_is_refused(self):
        with pytest.raises(ValueError, match="simple_loss cannot teach"):
            DDPM(ddpm_unet(out_channels=2, **TINY), variance=LEARNED)
        with pytest.raises(ValueError, match="simple_loss cannot teach"):
            DDPM(
                ddpm_unet(out_channels=2, **TINY),
                variance=LEARNED,
                loss=partial(simple_loss, weighting=snr_weighting()),
            )
        with pytest.raises(ValueError, match="simple_loss cannot teach"):
            ImprovedDDPM(improved_unet(**TINY), loss=simple_loss)


class TestImproved:
    def test_its_parts_are_the_papers(self):
        recipe = RECIPES["improved"]()
        assert (recipe.schedule.name, recipe.variance.name, recipe.loss) == ("cosine", "learned", hybrid_loss)

    def test_the_bound_teaches_the_variance_and_not_the_mean(self):
        """Under the hybrid loss the gradient of eps is L_simple's own."""
        recipe, batch = RECIPES["improved"](), pictures()
        torch.nn.init.normal_(recipe.net.leave[-1].weight, std=0.02)
        one_loss(recipe, batch).backward()
        hybrid = recipe.net.leave[-1].weight.grad.clone()
        recipe.net.zero_grad()
        plain = DDPM(recipe.net, recipe.schedule, variance=FIXED_SMALL)
        one_loss(plain, batch).backward()
        simple = recipe.net.leave[-1].weight.grad
        # Output channels are patches of 4: the first four say eps, the last four the variance.
        torch.testing.assert_close(hybrid[:4], simple[:4])
        assert simple[4:].abs().max() == 0 and hybrid[4:].abs().max() > 0

    def test_one_network_serves_any_number_of_steps_and_any_variance(self):
        denoiser = RECIPES["improved"]().denoiser
        for variance in (LEARNED, FIXED_SMALL):
            x = generate(
                ClipX0(denoiser.with_variance(variance)),
                (2, 1, 28, 28),
                steps=3,
                rule=ancestral(),
                generator=torch.Generator().manual_seed(0),
            )
            assert x.isfinite().all()


class TestADM:
    def test_the_class_matters(self):
        recipe = RECIPES["adm"]()
        for parameter in recipe.net.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        x, t = pictures(1).x, 500
        bag, boot = (recipe.denoiser(x, t, recipe.labels(torch.tensor([y]))).eps for y in (8, 9))
        assert not torch.allclose(bag, boot)

    def test_it_wants_labels(self):
        with pytest.raises(ValueError, match="learns from labels"):
            one_loss(RECIPES["adm"](), Batch(pictures().x))

    def test_leaving_out_none_is_adm(self):
        torch.manual_seed(0)
        net = adm_unet(**TINY_ADM)
        assert one_loss(ClassifierFreeADM(net, p_uncond=0.0)).item() == one_loss(ADM(net)).item()

    def test_guided_is_the_wrapper(self):
        recipe = RECIPES["classifier-free"]()
        guided = recipe.guided(2.0, ClipX0(recipe.denoiser))
        assert isinstance(guided, ClassifierFree) and isinstance(guided.denoiser, ClipX0) and guided.scale == 2


class TestNoisyClassifier:
    @pytest.fixture
    def classifier(self):
        torch.manual_seed(0)
        return RECIPES["classifier"]()

    def test_log_prob_is_the_logarithm_of_a_probability(self, classifier):
        x = pictures(3).x
        every = torch.stack([classifier.log_prob(torch.full((3,), y))(x, 300) for y in range(10)])
        torch.testing.assert_close(every.exp().sum(0), torch.ones(3))

    def test_it_guides_towards_the_class(self, classifier):
        """A step along the gradient makes the class likelier; both algorithms move that way."""
        recipe, y = DDPM(ddpm_unet(**TINY), schedule=cosine()), torch.tensor([3, 7])
        log_prob, shape = classifier.log_prob(y), (2, 1, 28, 28)
        options = {"steps": 10, "x_init": torch.randn(shape, generator=torch.Generator().manual_seed(0))}
        plain = generate(ClipX0(recipe.denoiser), shape, rule=ddim(), **options)
        steered = generate(ClipX0(classifier.guide(recipe.denoiser, y, 30.0)), shape, rule=ddim(), **options)
        assert (log_prob(steered, 0) > log_prob(plain, 0)).all()
        rules = (ancestral(), ancestral(shift=classifier.shift(y, 300.0)))
        straight, shifted = (
            generate(recipe.denoiser, shape, rule=rule, generator=torch.Generator().manual_seed(1), **options)
            for rule in rules
        )
        assert (log_prob(shifted, 0) > log_prob(straight, 0)).all()

    def test_another_schedule_is_refused(self, classifier):
        y, recipe = torch.tensor([1]), DDPM(ddpm_unet(**TINY), schedule=linear())
        with pytest.raises(ValueError, match="'cosine', the denoiser on 'linear'"):
            classifier.guide(recipe.denoiser, y)
        rule = ancestral(shift=classifier.shift(y))
        with pytest.raises(ValueError, match="'cosine', the denoiser on 'linear'"):
            generate(recipe.denoiser, (1, 1, 28, 28), steps=2, rule=rule)

    def test_the_clean_one_is_shown_no_noise_and_told_no_time(self):
        clean = NoisyClassifier(Encoder(widths=(16, 32), attention=(False, False)), noisy=False)
        x = pictures(2).x
        assert torch.equal(clean.logits(x, 0), clean.logits(x, 900))
        assert torch.equal(one_loss(clean, seed=1), one_loss(clean, seed=2))  # no noise, so no chance

    def test_accuracy_is_a_share(self, classifier):
        data = pictures(20)
        assert 0 <= classifier.accuracy(data.x, data.y, 500) <= 1

    def test_labels_and_the_range_are_checked(self, classifier):
        with pytest.raises(ValueError, match="learns from labels"):
            classifier.check(Batch(pictures().x))
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            classifier.check(Batch(3 * pictures().x, pictures().y))


def test_averaged_weights_do_not_drop_out():
    net = ddpm_unet(dropout=0.5, **TINY)
    assert not Ema(net).module.training and net.training


def test_an_optimiser_without_a_phase_is_refused():
    recipe = RECIPES["ddpm"]()
    idle = torch.nn.Linear(2, 2)
    make = partial(adamw, rate=1e-3)
    optimisers = {"net": make(recipe.net.parameters()), "other": make(idle.parameters())}
    with pytest.raises(ValueError, match=r"no phase for the optimisers \['other'\]"):
        list(train(recipe, Batches(pictures(), 8, seed=0), optimisers, steps=2))
