"""Claims of lesson 08, the U-Net: each part taken out and measured."""

from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.zoo.claims.arms import BUDGET, measured, small_unet
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, lower, verdict

PARTS = {
    "skips": {"skips": False},
    "attention": {"attention": (False, False)},
    "time": {"time": False},
}


def measure_parts(arms: Arms) -> Finding:
    """Train the network whole, and without each part, for the same number of pictures; nothing replaces the part.

    Verdict: one part for each of skips, attention and time embedding. It matters if the whole network's FD is lower
    than that of the network without it by more than a tenth (and twice the standard error, with several seeds).
    """
    whole = measured(arms, "linear-eps-simple", lambda: DDPM(net=small_unet()))
    numbers = {"all parts: FD": whole["fd"], "all parts: error of eps": whole["eps_error"]}
    matters = {}
    for part, options in PARTS.items():
        without = measured(arms, f"no-{part}", lambda options=options: DDPM(net=small_unet(**options)))
        numbers |= {f"no {part}: FD": without["fd"], f"no {part}: error of eps": without["eps_error"]}
        matters[part] = lower(whole["fd"], without["fd"])
    return Finding(numbers, verdict(*matters.values()), _why(numbers, matters))


def _why(numbers, matters: dict[str, bool]) -> str:
    fd, error = numbers["all parts: FD"].value, numbers["all parts: error of eps"].value
    parts = [
        f"without {part} FD is {numbers[f'no {part}: FD'].value / fd:.2f} times as large and the error of eps "
        f"{numbers[f'no {part}: error of eps'].value / error:.2f} times: {'it matters' if found else 'no loss of FD'}"
        for part, found in matters.items()
    ]
    return "; ".join(parts)


CLAIMS = [
    Claim(
        "unet-parts",
        "08",
        f"skips, attention and time embedding, each taken out ({BUDGET})",
        "ADM (arXiv:2105.05233), table 1: attention at three resolutions in place of one lowers FID by about 0.7 of "
        "15.3 (ImageNet 128); skips: Ronneberger et al. (arXiv:1505.04597); time embedding: DDPM (arXiv:2006.11239), "
        "appendix B",
        measure_parts,
    ),
]
