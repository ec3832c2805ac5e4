"""Claims of lesson 09, DDPM: what the network predicts and what its loss weights."""

from edu_diffusion.diffusion import EPS, X0, V, linear, snr_weighting, vlb_loss
from edu_diffusion.diffusion import simple_loss as simple
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.zoo.claims.arms import BUDGET, PredictsMean, measured, small_unet
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, lower, verdict


def base() -> DDPM:
    """The paper's choice: linear schedule, eps, the simple loss."""
    return DDPM(net=small_unet(), schedule=linear(), target=EPS, loss=simple)


def x0_as_eps(denoiser, x0, t, eps):
    """An x0 network under L_simple for eps: the error of x0, weighted by the signal-to-noise ratio."""
    return simple(denoiser, x0, t, eps, weighting=snr_weighting())


def mean_bound() -> DDPM:
    """DDPM's baseline: the network puts out the mean itself and is trained by the bound, with a fixed variance."""
    return DDPM(net=PredictsMean(small_unet(), linear()), target=X0, loss=vlb_loss)


TARGETS = {
    "eps, simple loss": ("linear-eps-simple", base),
    "mean, bound": ("linear-mean-bound", mean_bound),
    "eps, bound": ("linear-eps-bound", lambda: DDPM(net=small_unet(), loss=vlb_loss)),
    "x0, uniform weights": ("linear-x0-uniform", lambda: DDPM(net=small_unet(), target=X0)),
    "x0, weighted as eps": ("linear-x0-snr", lambda: DDPM(net=small_unet(), target=X0, loss=x0_as_eps)),
    "v": ("linear-v", lambda: DDPM(net=small_unet(), target=V)),
}


def measure_target(arms: Arms) -> Finding:
    """FD of the same network under six pairs of target and weighting, all with fixed small variance.

    The paper's table has the first three; the mean is what `PredictsMean` puts out. The others show whether it is the
    target or the weighting that counts: "x0, weighted as eps" has the first one's loss with another output.

    Verdict: two parts. eps with the simple loss must have a lower FD than the mean with the bound, and than eps with
    the bound, by more than a tenth (and twice the standard error, with several seeds).
    """
    found = {name: measured(arms, arm, build) for name, (arm, build) in TARGETS.items()}
    numbers = {f"{name}: FD": arm["fd"] for name, arm in found.items()}
    ours = numbers["eps, simple loss: FD"]
    kept = [lower(ours, numbers[f"{name}: FD"]) for name in ("mean, bound", "eps, bound")]
    best = min(found, key=lambda name: found[name]["fd"].value)
    why = (
        f"FD {ours.value:.3g} for eps with the simple loss, against {numbers['mean, bound: FD'].value:.3g} for the "
        f"mean and {numbers['eps, bound: FD'].value:.3g} for eps, both under the bound; lowest of all six: {best}, "
        f"{found[best]['fd'].value:.3g}. The mean is sampled by DDIM through the x0 it implies, not by all the steps "
        "it was trained for"
    )
    return Finding(numbers, verdict(*kept), why)


CLAIMS = [
    Claim(
        "eps-target",
        "09",
        f"what the network predicts, and how its loss is weighted ({BUDGET})",
        "DDPM (arXiv:2006.11239), table 2, CIFAR-10: FID 3.17 for eps with the simple loss, 13.51 for eps and 13.22 "
        "for the mean under the bound with fixed variance",
        measure_target,
    ),
]
