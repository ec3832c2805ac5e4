"""Which times a sampler of few steps should visit: give one of these lists to `sample` as its `steps`.

All lists hold n + 1 falling times, end at 0, and ask the network n times.
"""

import torch

from edu_diffusion.diffusion.schedule import NoiseSchedule


def trailing(schedule: NoiseSchedule, n: int) -> list[int]:
    """Evenly from T itself down to T / n: what `sample` does with a plain number of steps.

    Raises: ValueError unless 1 <= n <= T.
    Source: Lin et al. 2023 (arXiv:2305.08891), section 3.3.
    """
    return schedule.spaced(n)


def leading(schedule: NoiseSchedule, n: int) -> list[int]:
    """Every (T // n)-th time counted from t = 1, so it begins below T.

    Where x_T is pure noise and the first time is not, the sampler is handed more noise than it was told.

    Raises: ValueError unless 1 <= n <= T / 2, or n = T: in between there is no whole stride.
    Source: the code of DDIM (arXiv:2010.02502); named so by Lin et al. 2023 (arXiv:2305.08891), section 3.3.
    """
    _check(schedule, n)
    if schedule.T / 2 < n < schedule.T:
        raise ValueError(f"n must be at most T / 2 = {schedule.T // 2}, or T, for this spacing, got {n}")
    stride = schedule.T // n
    return [1 + stride * i for i in reversed(range(n))] + [0]


def quadratic(schedule: NoiseSchedule, n: int) -> list[int]:
    """The i-th time from the end grows with i squared: small steps near the data, large ones in the noise.

    Raises: ValueError unless 1 <= n <= T.
    Source: DDIM (arXiv:2010.02502), appendix D.2, "quadratic", here beginning at T itself.
    """
    _check(schedule, n)
    # At least i: near 0 the square would visit times more than once.
    return [max(i, round(schedule.T * (i / n) ** 2)) for i in reversed(range(n + 1))]


def even_in_log_snr(schedule: NoiseSchedule, n: int) -> list[int]:
    """From T towards t = 1 in n equal steps of log-SNR, or as near as whole times allow; the last goes to 0 instead.

    Raises: ValueError unless 1 <= n <= T.
    Source: DPM-Solver (arXiv:2206.00927), section 3.3.
    """
    _check(schedule, n)
    table = schedule.log_snr(torch.arange(1, schedule.T + 1))
    wanted = torch.linspace(table[-1], table[0], n + 1, dtype=table.dtype)[:-1] if n > 1 else table[-1:]
    times = []
    for i, value in enumerate(wanted):
        nearest = 1 + int((table - value).abs().argmin())
        times.append(max(n - i, min([nearest, *(t - 1 for t in times[-1:])])))
    return [*times, 0]


def _check(schedule: NoiseSchedule, n: int) -> None:
    schedule.spaced(n)  # has the same limits, and the words for them
