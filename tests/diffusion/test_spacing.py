"""Which times a sampler of few steps visits."""

from itertools import pairwise

import pytest

from edu_diffusion.diffusion import cosine, even_in_log_snr, leading, linear, quadratic, trailing

SPACINGS = [trailing, leading, quadratic, even_in_log_snr]


@pytest.mark.parametrize("schedule", [linear(), cosine()], ids=["linear", "cosine"])
@pytest.mark.parametrize("spacing", SPACINGS, ids=lambda s: s.__name__)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 50, 99, 333, 500, 1000])
def test_times_fall_strictly_to_0(schedule, spacing, n):
    times = spacing(schedule, n)
    assert len(times) == n + 1 and times[-1] == 0 and times[0] <= schedule.T
    assert all(t > s for t, s in pairwise(times))
    assert times[0] == schedule.T or spacing is leading


def test_each_is_what_its_name_says():
    schedule = linear()
    assert trailing(schedule, 4) == [1000, 750, 500, 250, 0]
    assert leading(schedule, 4) == [751, 501, 251, 1, 0]
    assert quadratic(schedule, 4) == [1000, 562, 250, 62, 0]
    snr = [schedule.log_snr(t) for t in even_in_log_snr(schedule, 8)[:-1]]
    steps = [b - a for a, b in pairwise(snr)]
    assert max(steps) - min(steps) < 0.1 * max(steps)


def test_leading_is_diffusers_own():
    import diffusers

    theirs = diffusers.DDIMScheduler(num_train_timesteps=1000, timestep_spacing="leading")
    theirs.set_timesteps(30)
    assert [t + 1 for t in theirs.timesteps.tolist()] == leading(linear(), 30)[:-1]


@pytest.mark.parametrize("spacing", SPACINGS, ids=lambda s: s.__name__)
@pytest.mark.parametrize("n", [0, 1001])
def test_more_steps_than_times_are_refused(spacing, n):
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        spacing(linear(), n)


def test_leading_needs_a_whole_stride():
    with pytest.raises(ValueError, match="at most T / 2 = 500"):
        leading(linear(), 600)
