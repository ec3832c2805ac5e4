"""Claims of lesson 09 about the zoo's DDPM: what its bits buy, and whether its pictures are new."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from edu_diffusion.data import fashion
from edu_diffusion.diffusion import ClipX0, bits_per_dim, q_sample
from edu_diffusion.metrics import nearest
from edu_diffusion.zoo.claims.arms import spread_times
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, Number, verdict
from edu_diffusion.zoo.claims.reverse import trained_net
from edu_diffusion.zoo.measure import draw, features, real_features

PICTURES, TIMES, BLOCK = 256, 100, 7
SAMPLES, STEPS = 1000, 50


def measure_scales(arms: Arms) -> Finding:
    """The rate-distortion curve of ddpm-fashion on test pictures, and when coarse and fine parts of them are known.

    Walking down from T, bits are paid (the bound's terms) and the guess of x0 gets better. The coarse part of a picture
    is its mean over blocks of 7 x 7 pixels, the fine part all the rest; each is "half known" at the largest t from
    which on the guess explains at least half of its variance over the test pictures.

    The guess from x_t stands beside what was paid before it: the term L_{t-1} is paid only after it.

    Verdict: two parts. Large scale first: the coarse part is half known at a t at least 1.25 times the fine part's.
    Most bits for detail: as soon as half of all bits are paid, the next guess explains at least nine tenths of the
    variance.
    """
    denoiser, x0 = ClipX0(trained_net()), fashion("test").x[:PICTURES]
    x0 = x0.to(denoiser.device)
    generator = torch.Generator().manual_seed(0)
    bits = bits_per_dim(denoiser, x0, times=spread_times(denoiser.schedule, TIMES), generator=generator)
    at = half_known(denoiser, x0)
    # The term of time t leads to x_{t-1}, whose guess has its error at index t - 2.
    left = bits.x0_error[max(half_paid(bits) - 2, 0)].item()
    known = 1 - left / (x0 - x0.mean(0)).square().mean().item()
    detail = bits.terms[0].item()
    grey = 127.5 * bits.x0_error[0].sqrt().item()
    numbers = {
        "coarse part half known at t": Number(at["coarse"], unit="of 1000"),
        "fine part half known at t": Number(at["fine"], unit="of 1000"),
        "all bits": Number(bits.total, unit="bits/dim"),
        "bits of the last step alone": Number(detail, unit="bits/dim"),
        "error before the last step": Number(grey, unit="grey levels of 255, RMS"),
        "half of the bits are paid with the step from t": Number(half_paid(bits), unit="of 1000"),
        "variance not explained after it": Number(100 * (1 - known), unit="%"),
    }
    why = (
        f"coming down from T, half of the coarse part is known at t = {at['coarse']}, of the fine part at t = "
        f"{at['fine']}; once half of the {bits.total:.2f} bits/dim are paid, the next guess explains {known:.2%} of "
        f"the variance. The last step alone costs {detail / bits.total:.0%} of the bits, for an error of {grey:.2g} "
        "grey levels of 255"
    )
    return Finding(numbers, verdict(at["coarse"] >= 1.25 * at["fine"], known >= 0.9), why)


def half_paid(bits) -> int:
    """The time t whose term brings what is paid to half of all bits, walking down from T."""
    paid = bits.prior + bits.terms.flip(0).cumsum(0)
    return len(paid) - int((paid < bits.total / 2).sum())


@torch.no_grad()
def half_known(denoiser, x0: Float[Tensor, "n c h w"]) -> dict[str, int]:
    """For the coarse and the fine part, the largest t from which on at least half of its variance is explained."""
    generator = torch.Generator().manual_seed(1)
    truth, found = parts(x0), {"coarse": 0, "fine": 0}
    open_parts = set(found)
    for t in range(20, denoiser.schedule.T + 1, 20):
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        guess = parts(denoiser(q_sample(denoiser.schedule, x0, t, eps), t).x0)
        for name in sorted(open_parts):
            if explained(guess[name], truth[name]) < 0.5:
                open_parts.discard(name)
            else:
                found[name] = t
    return found


def parts(x: Float[Tensor, "n c h w"]) -> dict[str, Tensor]:
    """A picture's block means, and what they leave."""
    coarse = F.interpolate(F.avg_pool2d(x, BLOCK), scale_factor=float(BLOCK), mode="nearest")
    return {"coarse": coarse, "fine": x - coarse}


def explained(guess: Tensor, truth: Tensor) -> float:
    """The share of the truth's variance over the examples that the guess explains: 1 is all, 0 is as the mean does."""
    error, variance = (guess - truth).square().mean(), (truth - truth.mean(0)).square().mean()
    return 1 - (error / variance).item()


def measure_original(arms: Arms) -> Finding:
    """How near samples of ddpm-fashion come to a training picture, beside test pictures, in pixels and in features.

    "Suspects" are samples nearer to a training picture than all but the nearest 1% of the test pictures are.

    Verdict: one part for pixels, one for features. Kept if the samples' median distance is at least 0.8 of the test
    pictures', and at most 5% are suspects.
    """
    images, train = draw(trained_net(), SAMPLES, seed=0, steps=STEPS), fashion("train").x
    test = fashion("test").x[:SAMPLES]
    spaces = {
        "pixels": (images, test, train),
        "features": (features(images), real_features("test")[:SAMPLES], real_features("train")),
    }
    numbers, kept, why = {}, [], []
    for name, (made, held_out, known) in spaces.items():
        ours, real = nearest(made, known).distance, nearest(held_out, known).distance
        suspects = (ours < real.quantile(0.01)).float().mean().item()
        ratio = (ours.median() / real.median()).item()
        numbers |= {
            f"{name}: median distance": Number(ours.median().item(), unit="RMS", floor=real.median().item()),
            f"{name}: least distance": Number(ours.min().item(), unit="RMS", floor=real.min().item()),
            f"{name}: suspects": Number(100 * suspects, floor=1.0, unit=f"% of {SAMPLES:,} samples"),
        }
        kept.append(ratio >= 0.8 and suspects <= 0.05)
        count = round(suspects * len(images))
        why.append(f"in {name} the median distance is {ratio:.2f} times held-out pictures', suspects are {count}")
    return Finding(numbers, verdict(*kept), "; ".join(why) + f" of {SAMPLES:,}")


CLAIMS = [
    Claim(
        "coarse-to-fine",
        "09",
        f"rate and distortion of ddpm-fashion on {PICTURES} test pictures at {TIMES} times; coarse against fine parts",
        "DDPM (arXiv:2006.11239), section 4.3 and figures 5 to 7, CIFAR-10: large scale first; more than half of the "
        "bits (1.97 of 3.75) describe detail nobody sees, an error of 0.95 of 255",
        measure_scales,
    ),
    Claim(
        "original",
        "09",
        f"nearest training picture: {SAMPLES:,} samples of ddpm-fashion, DDIM-{STEPS}; as many test pictures",
        "DDPM (arXiv:2006.11239), appendix D, shows the nearest training pictures of its samples",
        measure_original,
    ),
]
