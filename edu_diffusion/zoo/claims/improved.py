"""Claims of lesson 10, improved DDPM: the schedule, the losses, the learned variance, and size."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from edu_diffusion.data import Batches, fashion
from edu_diffusion.diffusion import (
    FIXED_LARGE,
    FIXED_SMALL,
    LEARNED,
    LossAwareTimes,
    NoiseSchedule,
    UniformTimes,
    ancestral,
    cosine,
    linear,
    simple_loss,
    vlb_loss,
)
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.systems.improved_ddpm import ImprovedDDPM, improved_unet
from edu_diffusion.types import Rng
from edu_diffusion.zoo.claims.arms import BUDGET, STEPS, WIDTHS, measured, of_zoo, small_unet
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, Numbers, lower, verdict
from edu_diffusion.zoo.measure import draw, fd

SHARES, SKIP_SAMPLES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), 2000
COUNTS, FEW_SAMPLES = (5, 10, 25, 50, 100, 250), 1000
SIZES = ((16, 32), (32, 64), (48, 96), (64, 128))
NOISE_BATCHES, NOISE_BATCH = 100, 64


def measure_cosine(arms: Arms) -> Finding:
    """FD when the first steps of the way back are left out: sampling begins with noise at t = (1 - share) T.

    The models are the zoo's, alike but for the schedule; DDIM with 50 steps of which the first are skipped.

    Verdict: two parts. On the linear schedule, skipping a fifth raises FD by less than a tenth; and on the cosine
    schedule the same skip raises it by more than on the linear one, by a tenth at least.
    """
    numbers, ratio = {}, {}
    for name, entry in {"linear": "ddpm-fashion", "cosine": "ddpm-fashion-cosine"}.items():
        found = [of_zoo(arms, entry, f"skips-{share:g}", lambda s, share=share: skipping(s, share)) for share in SHARES]
        for share, one in zip(SHARES, found, strict=True):
            numbers[f"{name}, {share:.0%} skipped: FD"] = Number(one["fd"], floor=one["floor"])
        ratio[name] = [one["fd"] / found[0]["fd"] for one in found]
    fifth = SHARES.index(0.2)
    kept = ratio["linear"][fifth] < 1.1, ratio["cosine"][fifth] > ratio["linear"][fifth] + 0.1
    why = (
        f"without the first fifth of the steps FD is {ratio['linear'][fifth]:.2f} times as large on the linear "
        f"schedule and {ratio['cosine'][fifth]:.2f} times on the cosine one; without the first half "
        f"{ratio['linear'][-1]:.2f} and {ratio['cosine'][-1]:.2f} times"
    )
    return Finding(numbers, verdict(*kept), why)


def skipping(system: DDPM, share: float, steps: int = 50) -> Numbers:
    """FD of samples whose walk begins at (1 - share) T, with noise in place of what should be there by then."""
    schedule = system.denoiser.schedule
    times = [t for t in schedule.spaced(steps) if t <= round((1 - share) * schedule.T)]
    distance = fd(draw(system.denoiser, SKIP_SAMPLES, steps=times), 0)
    return {"fd": distance.value, "floor": distance.floor}


def improved(schedule: NoiseSchedule, **options) -> ImprovedDDPM:
    """An arm with a learned variance."""
    return ImprovedDDPM(net=improved_unet(widths=WIDTHS), schedule=schedule, **options)


def bound(schedule: NoiseSchedule, times) -> ImprovedDDPM:
    """An arm that is trained on the variational bound alone."""
    return improved(schedule, loss=vlb_loss, times=times)


SCHEDULES = {"linear": linear, "cosine": cosine}


def losses(arms: Arms) -> dict[str, dict[str, Number]]:
    """The three losses on the two schedules.

    L_simple cannot learn a variance, so its arms have the fixed small one. For L_vlb times are drawn by importance.
    """
    found = {}
    for name, make in SCHEDULES.items():
        plain = {"net": small_unet, "schedule": make, "loss": lambda: simple_loss}
        found[f"{name}, simple"] = measured(
            arms, f"{name}-eps-simple", lambda plain=plain: DDPM(**{key: build() for key, build in plain.items()})
        )
        found[f"{name}, hybrid"] = measured(arms, f"{name}-hybrid", lambda make=make: improved(make()))
        found[f"{name}, bound"] = measured(arms, f"{name}-vlb-aware", lambda make=make: bound(make(), LossAwareTimes))
    return found


def measure_losses(arms: Arms) -> Finding:
    """FD and bits/dim of L_simple (fixed small variance), L_hybrid and L_vlb (both learned), on two schedules.

    Verdict: two parts on each schedule. L_simple has the lower FD than L_vlb, by more than a tenth; L_vlb has fewer
    bits/dim than L_simple, by more than a hundredth (and both by twice the standard error).
    """
    found = losses(arms)
    numbers = {
        f"{name}: {label}": arm[key] for name, arm in found.items() for label, key in (("FD", "fd"), ("bits", "bits"))
    }
    pictures = {s: lower(found[f"{s}, simple"]["fd"], found[f"{s}, bound"]["fd"]) for s in SCHEDULES}
    bits = {s: lower(found[f"{s}, bound"]["bits"], found[f"{s}, simple"]["bits"], margin=0.01) for s in SCHEDULES}
    why = "; ".join(
        f"{s}: FD {numbers[f'{s}, simple: FD'].value:.3g} simple, {numbers[f'{s}, hybrid: FD'].value:.3g} hybrid, "
        f"{numbers[f'{s}, bound: FD'].value:.3g} bound; bits/dim {numbers[f'{s}, simple: bits'].value:.3g}, "
        f"{numbers[f'{s}, hybrid: bits'].value:.3g}, {numbers[f'{s}, bound: bits'].value:.3g}"
        for s in SCHEDULES
    )
    return Finding(numbers, verdict(*pictures.values(), *bits.values()), why)


def measure_variance(arms: Arms) -> Finding:
    """FD against the number of ancestral steps, by one network (improved-fashion) under three choices of the variance.

    Verdict: three parts. With the learned variance, 50 steps come within 15% of 250; with neither fixed one they do.
    And at 10 and at 25 steps it has a lower FD than both fixed variances, by more than a tenth.
    """
    found: dict[str, dict[int, Numbers]] = {}
    for variance in (FIXED_SMALL, FIXED_LARGE, LEARNED):
        found[variance.name] = {
            n: of_zoo(arms, "improved-fashion", f"{variance.name}-{n}", lambda s, n=n, v=variance: in_steps(s, n, v))
            for n in COUNTS
        }
    numbers = {
        f"{name.replace('_', ' ')}, {n} steps: FD": Number(one["fd"], floor=one["floor"])
        for name, by_steps in found.items()
        for n, one in by_steps.items()
    }
    value = {name: {n: one["fd"] for n, one in by_steps.items()} for name, by_steps in found.items()}
    learned, small, large = (value[v.name] for v in (LEARNED, FIXED_SMALL, FIXED_LARGE))
    kept = (
        learned[50] <= 1.15 * learned[250],
        all(fixed[50] > 1.15 * fixed[250] for fixed in (small, large)),
        all(learned[n] < 0.9 * min(small[n], large[n]) for n in (10, 25)),
    )
    why = "; ".join(
        f"{n} steps: FD {learned[n]:.3g} learned, {small[n]:.3g} fixed small, {large[n]:.3g} fixed large"
        for n in COUNTS
    )
    return Finding(numbers, verdict(*kept), why)


def in_steps(system: ImprovedDDPM, steps: int, variance) -> Numbers:
    """FD of ancestral samples."""
    denoiser = system.denoiser.with_variance(variance)
    distance = fd(draw(denoiser, FEW_SAMPLES, steps=steps, rule=ancestral()), 0)
    return {"fd": distance.value, "floor": distance.floor}


TIMES = {"uniform": UniformTimes, "loss-aware": LossAwareTimes}


def measure_importance(arms: Arms) -> Finding:
    """The noise of the bound's gradient with uniform and with loss-aware times; and arms trained either way.

    The gradient noise scale is tr(covariance) / |mean|^2, the covariance of one example's gradient: about the batch
    size below which noise rules (McCandlish et al., arXiv:1812.06162). It is measured on improved-fashion. Whichever
    way t is drawn, the mean is the same; so the ratio of the two scales is that of the covariances.

    Verdict: two parts. Loss-aware times have the lower noise scale, by more than a tenth; and the arm that is trained
    on the bound with them has fewer bits/dim, by more than a hundredth (and twice the standard error).
    """
    noise = of_zoo(arms, "improved-fashion", "gradient-noise", noise_scales)
    uniform = measured(arms, "cosine-vlb", lambda: bound(cosine(), UniformTimes))
    aware = measured(arms, "cosine-vlb-aware", lambda: bound(cosine(), LossAwareTimes))
    numbers = {f"{name} times: gradient noise scale": Number(noise[name], unit="examples") for name in TIMES}
    numbers |= {"uniform times: bits": uniform["bits"], "loss-aware times: bits": aware["bits"]}
    numbers |= {"uniform times: FD": uniform["fd"], "loss-aware times: FD": aware["fd"]}
    ratio = noise["uniform"] / noise["loss-aware"]
    why = (
        f"the bound's gradient is {ratio:.1f} times less noisy with loss-aware times; after {STEPS} steps, of which "
        f"the first part goes into looking at every t, the arm has {aware['bits'].value:.3g} bits/dim against "
        f"{uniform['bits'].value:.3g}"
    )
    return Finding(numbers, verdict(ratio > 1 / 0.9, lower(aware["bits"], uniform["bits"], margin=0.01)), why)


def noise_scales(system: ImprovedDDPM, batches: int = NOISE_BATCHES, batch: int = NOISE_BATCH) -> Numbers:
    """The gradient noise scale of the bound, in examples, by how t is drawn.

    Each has batches and noise of its own. So the product of the two mean gradients estimates |mean|^2 without bias,
    where the square of one would be too large by what is left of its noise.
    """
    gradients = [gradient_noise(system, make, seed, batches, batch) for seed, make in enumerate(TIMES.values())]
    (mean, _), (other, _) = gradients
    return {name: covariance / (mean @ other).item() for name, (_, covariance) in zip(TIMES, gradients, strict=True)}


def gradient_noise(system: ImprovedDDPM, make, seed: int, batches: int, batch: int) -> tuple[Tensor, float]:
    """The mean of the bound's gradient, and the trace of the covariance of one example's, from batches' gradients."""
    net, times, rng = system.modules["net"], make(system.schedule.T), Rng(seed)
    net.requires_grad_(True)
    data = Batches(fashion(), batch, seed=seed)
    if isinstance(times, LossAwareTimes):
        learn_losses(system, times, data, rng)
    total, squares = 0.0, 0.0
    for _ in range(batches):
        gradient = bound_gradient(system, net, times, next(data).x, rng)
        total, squares = total + gradient, squares + gradient.square().sum().item()
    net.requires_grad_(False)
    mean = total / batches
    # Of one example: batch times the variance between batches.
    return mean, batch * (squares - batches * mean.square().sum().item()) / (batches - 1)


@torch.no_grad()
def learn_losses(system: ImprovedDDPM, times: LossAwareTimes, data: Batches, rng: Rng) -> None:
    """Show the sampler as many losses of every t as it remembers."""
    for _ in range(times.losses.shape[1]):
        for t in torch.arange(1, times.T + 1).split(data.size):
            x0 = next(data).x[: len(t)].to(system.denoiser.device)
            times.update(t, vlb_loss(system.denoiser, x0, t, rng.normal_like(x0)), rng)


def bound_gradient(system: ImprovedDDPM, net: nn.Module, times, x0, rng: Rng):
    """The bound's gradient on one batch, all parameters in one vector."""
    x0 = x0.to(system.denoiser.device)
    t, weight = times.draw(len(x0), rng)
    loss = vlb_loss(system.denoiser, x0, t, rng.normal_like(x0))
    grads = torch.autograd.grad((loss * weight.to(loss)).mean(), list(net.parameters()))
    return torch.cat([g.flatten() for g in grads]).double()


def measure_sizes(arms: Arms) -> Finding:
    """FD and bits/dim of the simple loss with four widths of the network, the same number of steps each.

    Verdict: two parts. FD falls with every larger network, and so do the bits/dim; and each falls by more than a tenth
    (FD) or a hundredth (bits) from the smallest to the largest.
    """
    found = {}
    for widths in SIZES:
        name = "linear-eps-simple" if widths == WIDTHS else f"widths-{widths[0]}-{widths[1]}"
        found[widths] = measured(arms, name, lambda widths=widths: DDPM(net=small_unet(widths=widths)), widths=widths)
    count = {w: sum(p.numel() for p in small_unet(widths=w).parameters()) for w in SIZES}
    numbers = {f"{count[w]:,} parameters: FD": found[w]["fd"] for w in SIZES}
    numbers |= {f"{count[w]:,} parameters: bits": found[w]["bits"] for w in SIZES}
    kept = []
    for key, margin in (("fd", 0.1), ("bits", 0.01)):
        values = [found[w][key] for w in SIZES]
        falls = all(b.value < a.value for a, b in pairwise(values))
        kept.append(falls and lower(values[-1], values[0], margin))
    why = "; ".join(
        f"{count[w] / 1e6:.2g} million parameters: FD {found[w]['fd'].value:.3g}, {found[w]['bits'].value:.3g} bits/dim"
        for w in SIZES
    )
    return Finding(numbers, verdict(*kept), why)


IDDPM = "Improved DDPM (arXiv:2102.09672)"
CLAIMS = [
    Claim(
        "cosine",
        "10",
        f"FD of {SKIP_SAMPLES:,} samples of ddpm-fashion and ddpm-fashion-cosine, the first of 50 DDIM steps left out",
        f"{IDDPM}, figure 4, ImageNet 64: with the linear schedule, skipping up to 20% of the steps costs little FID",
        measure_cosine,
    ),
    Claim(
        "simple-vs-vlb",
        "10",
        f"three losses on two schedules ({BUDGET})",
        f"{IDDPM}, table 2, CIFAR-10, T = 4000, cosine: about 2.94 bits/dim and FID 11.47 for the bound (times drawn "
        "by importance), 3.26 and 3.05 for the simple loss, 3.17 and 3.19 for the hybrid one",
        measure_losses,
    ),
    Claim(
        "learned-var",
        "10",
        f"FD of {FEW_SAMPLES:,} ancestral samples of improved-fashion, by number of steps and by variance",
        f"{IDDPM}, figure 8: with a learned variance about 100 steps are nearly as good as 4000; with a fixed one not",
        measure_variance,
    ),
    Claim(
        "importance",
        "10",
        f"noise of the bound's gradient by how t is drawn, on improved-fashion ({NOISE_BATCHES} batches of "
        f"{NOISE_BATCH}); and arms trained on the bound ({BUDGET})",
        f"{IDDPM}, figures 6 and 7: importance sampling lowers the noise of L_vlb's gradient, and the loss with it",
        measure_importance,
    ),
    Claim(
        "bigger",
        "10",
        f"four widths of the network ({BUDGET.replace(f'{WIDTHS} channels, ', '')})",
        f"{IDDPM}, figure 10: FID falls smoothly with training compute and model size, bits/dim less clearly",
        measure_sizes,
    ),
]
