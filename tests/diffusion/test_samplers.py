"""The one loop and its rules: identities, exact moments, order of convergence, and diffusers as the oracle."""

from itertools import pairwise

import diffusers
import pytest
import torch

from edu_diffusion.diffusion import (
    EPS,
    FIXED_LARGE,
    FIXED_SMALL,
    LEARNED,
    ClipX0,
    Denoiser,
    ancestral,
    cosine,
    ddim,
    dpm_pp,
    generate,
    linear,
    sample,
)
from tests.diffusion.exact import exact_denoiser, true_moments

SHAPE = (6, 1, 4, 4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def toy_net(x, t, cond=None):
    """Any smooth function of x and t will do: both sides of a comparison see the same one."""
    return torch.tanh(x + t.reshape(-1, 1, 1, 1) / 500)


def learning_net(x, t, cond=None):
    """The same, with a number in [-1, 1] for the variance of each pixel."""
    return torch.cat([toy_net(x, t), torch.cos(3 * x)], dim=1)


def run(denoiser, rule, steps=20, seed=0, shape=SHAPE):
    return generate(denoiser, shape, steps=steps, rule=rule, generator=seeded(seed))


class TestIdentities:
    def test_ddim_with_eta_1_is_ancestral(self):
        denoiser = Denoiser(toy_net, linear())
        torch.testing.assert_close(run(denoiser, ddim(1.0)), run(denoiser, ancestral()), rtol=1e-4, atol=1e-4)

    def test_first_order_dpm_pp_is_ddim(self):
        denoiser = Denoiser(toy_net, cosine())
        torch.testing.assert_close(run(denoiser, dpm_pp(1)), run(denoiser, ddim()), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("rule", [ancestral(), ddim(), ddim(1.0), dpm_pp()])
    def test_no_noise_at_the_last_step(self, rule):
        denoiser = Denoiser(toy_net, linear(), EPS, FIXED_LARGE)
        steps = list(sample(denoiser, SHAPE, steps=5, rule=rule, generator=seeded()))
        torch.testing.assert_close(steps[-1].x, steps[-1].x0)
        assert [step.t for step in steps] == [800, 600, 400, 200, 0]

    def test_ddim_draws_nothing_after_the_start(self):
        generator = seeded()
        generate(Denoiser(toy_net, linear()), SHAPE, steps=5, rule=ddim(), generator=generator)
        reference = seeded()
        torch.randn(*SHAPE, generator=reference)
        assert torch.equal(generator.get_state(), reference.get_state())

    def test_x_init_starts_the_walk_anywhere(self):
        denoiser = Denoiser(toy_net, linear())
        whole = list(sample(denoiser, SHAPE, steps=[800, 400, 100, 0], rule=ddim(), generator=seeded()))
        rest = generate(denoiser, SHAPE, steps=[400, 100, 0], rule=ddim(), x_init=whole[0].x)
        torch.testing.assert_close(rest, whole[-1].x)


class TestExactDenoiser:
    """No training in the way: whatever is off here is the sampler's own."""

    @pytest.mark.parametrize(
        ("rule", "steps"),
        [(ancestral(), 250), (ddim(), 250), (ddim(0.5), 250), (dpm_pp(2), 60)],
        ids=["ancestral", "ddim", "ddim-half", "dpm_pp"],
    )
    def test_moments_are_the_datas(self, rule, steps):
        x = generate(exact_denoiser(cosine()), (20_000, 2), steps=steps, rule=rule, generator=seeded()).double()
        mean, cov = (moment.double() for moment in true_moments())
        torch.testing.assert_close(x.mean(0), mean, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), cov, atol=0.04, rtol=0)

    @pytest.mark.parametrize(
        ("rule", "order"), [(ddim(), 1), (dpm_pp(1), 1), (dpm_pp(2), 2)], ids=["ddim", "dpm1", "dpm2"]
    )
    def test_order_of_convergence(self, rule, order):
        """Twice the steps, 2 ** order times less error; times even in log-SNR, up to where the data's grain shows."""
        denoiser = exact_denoiser(linear(100_000, 1e-6, 2e-4))
        x_T = torch.randn(500, 2, generator=seeded(), dtype=torch.float64)
        counts = (20, 40, 80)
        fine = even_in_log_snr(denoiser, ddim() if order == 1 else dpm_pp(2), x_T, 1280)
        errors = [(even_in_log_snr(denoiser, rule, x_T, n) - fine).norm().item() for n in counts]
        rates = [torch.tensor(a / b).log2().item() for a, b in pairwise(errors)]
        assert rates[-1] == pytest.approx(order, abs=0.3), (errors, rates)


def even_in_log_snr(denoiser, rule, x_T, n):
    """x at log-SNR 4, after n steps evenly spaced in log-SNR."""
    log_snr = denoiser.schedule.log_snr(torch.arange(1, denoiser.schedule.T + 1))
    wanted = torch.linspace(log_snr[-1], 4.0, n + 1, dtype=torch.float64)
    times = [1 + int((log_snr - value).abs().argmin()) for value in wanted]
    steps = list(sample(denoiser, x_T.shape, steps=[*times, 0], rule=rule, x_init=x_T))
    return steps[-2].x


def diffusers_options(schedule):
    betas = [schedule.beta(t, t - 1, torch.zeros(1)) for t in range(1, schedule.T + 1)]
    return {"num_train_timesteps": schedule.T, "trained_betas": betas, "prediction_type": "epsilon"}


def walk(scheduler, times, x, net=toy_net, **options):
    """diffusers' own loop over given times, with our toy network; its timestep is ours less one."""
    states = []
    for t in times:
        out = net(x, torch.full((len(x),), float(t)))
        x = scheduler.step(out, t - 1, x, **options).prev_sample
        states.append(x)
    return states


class TestAgainstDiffusers:
    """Step by step, not only at the end."""

    @pytest.mark.parametrize("schedule", [linear(100, 1e-3, 0.1), cosine(100)], ids=["linear", "cosine"])
    @pytest.mark.parametrize(("variance", "name"), [(FIXED_SMALL, "fixed_small"), (FIXED_LARGE, "fixed_large")])
    @pytest.mark.parametrize("clip", [False, True])
    def test_ddpm(self, schedule, variance, name, clip):
        theirs = diffusers.DDPMScheduler(**diffusers_options(schedule), variance_type=name, clip_sample=clip)
        theirs.set_timesteps(schedule.T)
        ours = Denoiser(toy_net, schedule, EPS, variance)
        ours = ClipX0(ours) if clip else ours
        generator = seeded()
        x_T = torch.randn(*SHAPE, generator=generator)
        expected = walk(theirs, range(schedule.T, 0, -1), x_T, generator=generator)
        steps = list(sample(ours, SHAPE, steps=schedule.T, rule=ancestral(), generator=seeded()))
        for step, want in zip(steps, expected, strict=True):
            torch.testing.assert_close(step.x, want, rtol=1e-3, atol=1e-4)

    def test_ddpm_with_a_learned_variance(self):
        schedule = linear(100, 1e-3, 0.1)
        theirs = diffusers.DDPMScheduler(
            **diffusers_options(schedule), variance_type="learned_range", clip_sample=False
        )
        theirs.set_timesteps(schedule.T)
        generator = seeded()
        x_T = torch.randn(*SHAPE, generator=generator)
        expected = walk(theirs, range(schedule.T, 0, -1), x_T, net=learning_net, generator=generator)
        denoiser = Denoiser(learning_net, schedule, EPS, LEARNED)
        steps = list(sample(denoiser, SHAPE, steps=schedule.T, rule=ancestral(), generator=seeded()))
        for step, want in zip(steps, expected, strict=True):
            torch.testing.assert_close(step.x, want, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("eta", [0.0, 0.6])
    def test_ddim(self, eta):
        schedule = linear()
        theirs = diffusers.DDIMScheduler(
            **diffusers_options(schedule), clip_sample=False, timestep_spacing="trailing", set_alpha_to_one=True
        )
        theirs.set_timesteps(20)
        times = schedule.spaced(20)
        assert (theirs.timesteps + 1).tolist() == times[:-1]
        generator = seeded()
        x_T = torch.randn(*SHAPE, generator=generator)
        expected = walk(theirs, times[:-1], x_T, eta=eta, generator=generator)
        steps = list(sample(Denoiser(toy_net, schedule), SHAPE, steps=20, rule=ddim(eta), generator=seeded()))
        # diffusers draws once more, at the last step, where the noise's weight is 0.
        for step, want in zip(steps, expected, strict=True):
            torch.testing.assert_close(step.x, want, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("order", [1, 2])
    def test_dpm_solver_pp(self, order):
        schedule = linear()
        theirs = diffusers.DPMSolverMultistepScheduler(
            **diffusers_options(schedule),
            algorithm_type="dpmsolver++",
            solver_order=order,
            timestep_spacing="trailing",
            final_sigmas_type="zero",
            lower_order_final=False,
        )
        theirs.set_timesteps(20)
        times = schedule.spaced(20)
        x_T = torch.randn(*SHAPE, generator=seeded())
        expected = walk(theirs, times[:-1], x_T)
        steps = list(sample(Denoiser(toy_net, schedule), SHAPE, steps=20, rule=dpm_pp(order), x_init=x_T))
        for step, want in zip(steps, expected, strict=True):
            torch.testing.assert_close(step.x, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [[1000, 0, 5], [500, 500, 0], [1001, 0], [500, 100], [0]])
def test_bad_times_are_refused(steps):
    with pytest.raises(ValueError, match="fall strictly"):
        generate(Denoiser(toy_net, linear()), SHAPE, steps=steps, rule=ddim())


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="eta"):
        ddim(1.5)
    with pytest.raises(ValueError, match="order"):
        dpm_pp(3)
    with pytest.raises(ValueError, match="x_init"):
        generate(Denoiser(toy_net, linear()), SHAPE, steps=2, rule=ddim(), x_init=torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        generate(Denoiser(toy_net, linear()), SHAPE, steps=1001, rule=ddim())
