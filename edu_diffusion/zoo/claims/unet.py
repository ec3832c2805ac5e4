"""The claim of lessons 08 and 12 about the U-Net: each part taken out, and ADM's choices put in."""

from functools import partial

from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.zoo.claims.arms import BUDGET, WIDTHS, measured, small_unet
from edu_diffusion.zoo.claims.core import Arms, Claim, Finding, lower, verdict

PARTS = {
    "skips": {"skips": False},
    "attention": {"attention": (False, False)},
    "time": {"time": False},
}
# ADM's choices, one by one, with about as many parameters as the whole network; each but the first against what it has.
CHOICES = {
    "embedding added, not scaling": {"adaptive": False},
    "attention at 14x14 too": {"attention": (True, True)},
    "heads of 16 channels": {"head_width": 16},
    "residual resizing": {"residual": True},
    "deeper and narrower": {"widths": (24, 48), "blocks": 2, "head_width": 24},
}
FIRST = next(iter(CHOICES))


def measure_parts(arms: Arms) -> Finding:
    """Train the network whole, without each part (nothing replaces it), and with ADM's choices, for as many pictures.

    Verdict: one part for each of skips, attention and time embedding. It matters if the whole network's FD is lower
    than that of the network without it by more than a tenth (and twice the standard error, with several seeds). Of
    ADM's choices one part each: adaptive norms, which the network has, matter if it is better than with the embedding
    added; the others help if they make it better, by the same margins.
    """
    whole = measured(arms, "linear-eps-simple", lambda: DDPM(net=small_unet()))
    numbers = {"all parts: FD": whole["fd"], "all parts: error of eps": whole["eps_error"]}
    matters = {}
    for part, options in PARTS.items():
        without = measured(arms, f"no-{part}", lambda options=options: DDPM(net=small_unet(**options)))
        numbers |= {f"no {part}: FD": without["fd"], f"no {part}: error of eps": without["eps_error"]}
        matters[part] = lower(whole["fd"], without["fd"])
    helps = {}
    for choice, options in CHOICES.items():
        name = f"adm-{choice.replace(' ', '-').replace(',', '')}"
        build, widths = partial(small_unet, **options), options.get("widths", WIDTHS)
        found = measured(arms, name, lambda build=build: DDPM(net=build()), widths=widths)
        numbers[f"{choice}: FD"] = found["fd"]
        ours, other = (whole, found) if choice == FIRST else (found, whole)
        helps[choice] = lower(ours["fd"], other["fd"])
    return Finding(numbers, verdict(*matters.values(), *helps.values()), _why(numbers, matters, helps))


def _why(numbers, matters: dict[str, bool], helps: dict[str, bool]) -> str:
    fd, error = numbers["all parts: FD"].value, numbers["all parts: error of eps"].value
    parts = [
        f"without {part} FD is {numbers[f'no {part}: FD'].value / fd:.2f} times as large and the error of eps "
        f"{numbers[f'no {part}: error of eps'].value / error:.2f} times: {'it matters' if found else 'no loss of FD'}"
        for part, found in matters.items()
    ]
    choices = [
        f"{choice}: {numbers[f'{choice}: FD'].value / fd:.2f} times" + ("" if found else " (within the margin)")
        for choice, found in helps.items()
    ]
    return "; ".join([*parts, "FD with ADM's choices, against the whole network's: " + ", ".join(choices)])


CLAIMS = [
    Claim(
        "unet-parts",
        "08",
        f"skips, attention and time embedding, each taken out; ADM's choices, each put in ({BUDGET})",
        "ADM (arXiv:2105.05233), table 1: attention at three resolutions in place of one lowers FID by about 0.7 of "
        "15.3 (ImageNet 128), residual resizing by about 1.2; table 3: adaptive norms 13.06 against 15.08 for adding; "
        "skips: Ronneberger et al. (arXiv:1505.04597); time embedding: DDPM (arXiv:2006.11239), "
        "appendix B",
        measure_parts,
    ),
]
