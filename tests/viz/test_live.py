"""The live plot and the progress bar: what they hand on, what they show at the end, and that they print nothing."""

import math

import pytest
import torch

from edu_diffusion import viz
from edu_diffusion.training.loop import Log
from edu_diffusion.viz import live


def logs(n: int, names=("loss",)):
    for i in range(1, n + 1):
        yield Log(20 * i, 20 * n, dict.fromkeys(names, 1 / i), 1e-3, 0.5 * i, 400.0, i / n)


@pytest.fixture
def full_mode(monkeypatch):
    monkeypatch.setenv("EDU_DIFFUSION_FAST", "0")


def test_every_log_is_handed_on_and_the_end_is_shown(capsys):
    plot = viz.LivePlot("DDPM")
    seen = list(plot.watch(logs(5), samples=lambda: torch.randn(2, 1, 8, 8)))
    assert [log.step for log in seen] == [20, 40, 60, 80, 100] == plot.steps
    value = plot.widget.value
    assert "step 100 of 100 · 400 images a second · took 0:02" in value
    assert 'alt="DDPM: loss from 1 to ' in value and "in 100 steps" in value
    assert value.count("<img alt=") == 2
    assert capsys.readouterr() == ("", "")


def test_in_fast_mode_it_draws_and_samples_once(monkeypatch):
    asked, drawn = [], []
    plot = viz.LivePlot("DDPM", every=0, samples_every=0)
    monkeypatch.setattr(plot, "_draw", lambda log, done=False: drawn.append(done))
    list(plot.watch(logs(5), samples=lambda: asked.append(1) or torch.zeros(1, 1, 4, 4)))
    assert (asked, drawn) == ([1], [True])


def test_samples_get_rows_with_the_first_and_last_kept(full_mode):
    plot = viz.LivePlot("DDPM", every=1000, samples_every=-1)
    plot.samples_every = 0
    for step in range(20, 420, 20):
        plot.steps.append(step)
        plot._sample(lambda: torch.zeros(2, 1, 4, 4))
    assert len(plot.rows) == 5 and min(plot.rows) == 20 and max(plot.rows) == 400


def test_stopping_early_keeps_the_plot_and_closes_the_training():
    closed = []

    def training():
        try:
            yield from logs(5)
        finally:
            closed.append(True)

    plot = viz.LivePlot("DDPM")
    watching = plot.watch(training())
    next(watching), next(watching)
    watching.close()
    assert closed == [True] and "step 40 of 100" in plot.widget.value


def test_several_losses_and_a_phase_that_pauses():
    plot = viz.LivePlot("GAN")
    first, second = next(logs(3, ["loss/d"])), list(logs(3, ["loss/d", "loss/g"]))[1]
    list(plot.watch([first, second]))
    assert math.isnan(plot.values["loss/g"][0]) and plot.values["loss/d"] == [1, 0.5]
    assert "loss/g from" in plot.picture().alt


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match=r"\['vlb'\].*only \['loss'\]"):
        list(viz.LivePlot("DDPM", losses=["vlb"]).watch(logs(2)))


def test_it_prints_as_its_title():
    assert repr(viz.LivePlot("DDPM").widget) == "LivePlot: DDPM"


def test_the_running_mean_forgets_a_high_start():
    assert live.running_mean([100.0, *[1.0] * 8])[-1] == 1.0


def test_a_training_by_the_clock_does_not_count_steps_it_will_not_do():
    log = Log(900, 10**9, {"loss": 1.0}, 1e-3, 60.0, 100.0, 0.5)
    assert live._status(log, done=False) == "step 900 · 100 images a second · 1:00 left"


def test_the_running_mean_starts_unbiased():
    mean = live.running_mean([3.0, 3.0, math.nan, 3.0])
    assert mean == pytest.approx([3, 3, 3, 3])


def test_drawing_takes_at_most_a_tenth_of_the_time(full_mode, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    every, calls = live._Every(1.0), []

    def slow():
        calls.append(now[0])
        now[0] += 2.0

    while now[0] < 100:
        every(slow)
        now[0] += 0.5
    assert len(calls) == 5


@pytest.mark.parametrize("items", [range(4), (i for i in range(4))])
def test_progress_hands_on_everything_and_prints_nothing(items, capsys):
    assert list(viz.progress(items, "Measuring")) == [0, 1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_the_bar_in_a_notebook(monkeypatch, full_mode):
    shown = []
    monkeypatch.setattr(live, "get_ipython", lambda: object())
    monkeypatch.setattr(live, "display", shown.append)
    assert list(viz.progress(iter("abc"), "Reading", total=3)) == ["a", "b", "c"]
    (bar,) = shown
    assert 'value="3" max="3"' in bar.value and 'aria-label="Reading"' in bar.value
    assert repr(bar) == "progress: Reading"
