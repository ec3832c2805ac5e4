"""The benchmarks run and write what they should, at sizes of no meaning. What they measure is not judged here."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHARED = {"common", "peer"}
# A number that must be there, for each script, as the keys that lead to it.
NUMBERS = {
    "training_speed": ["ratios", "speed_over_default"],
    "sampling_overhead": ["share_outside_network"],
    "quality_for_time": ["means", 0, "fd"],
    "solver_speed": ["times_faster"],
    "likelihood_speed": ["share_in_network"],
    "families_speed": ["families", 0, "times_faster"],
    "text_unet_speed": ["ratios", "speed_over_default"],
}


@pytest.fixture
def load(monkeypatch):
    """Import a script by its name, as Python does when it runs one."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_every_script_is_tried_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == SHARED | set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_quick_run_writes_a_whole_record(load, name, tmp_path, capsys):
    order = ["--quick", "--threads", "1", "--note", "a test", "--results", str(tmp_path)]
    if name == "quality_for_time":
        order += ["--weights", str(tmp_path)]
    returned = load(name).main(order)
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record == json.loads(json.dumps(returned))
    assert record["name"] == name
    environment = record["environment"]
    assert environment["quick"] and environment["threads"] == 1 and environment["note"] == "a test"
    assert {"machine", "torch", "date"} <= environment.keys()
    assert all({"measured", "value", "aim"} <= row.keys() for row in record["summary"]) and record["summary"]
    value = record
    for key in NUMBERS[name]:
        value = value[key]
    assert value > 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_too_few_repeats_are_refused(load, capsys):
    with pytest.raises(SystemExit):
        load("sampling_overhead").main(["--repeats", "3"])
    assert "at least 5" in capsys.readouterr().err


def test_a_quick_run_keeps_nothing_unless_told_where(load, capsys):
    before = set(FOLDER.rglob("*.json"))
    load("sampling_overhead").main(["--quick", "--threads", "1"])
    assert set(FOLDER.rglob("*.json")) == before
    assert "wrote" not in capsys.readouterr().out


def test_the_two_solvers_walk_the_same_way(load):
    module = load("solver_speed")
    assert all(0 < module.difference(rule, 5) < 1e-6 for rule in module.RULES)


def test_memory_is_that_of_training_alone(load):
    script = load("training_speed")
    held = b"x" * (300 * 2**20)  # what this process holds must not count
    chosen = script.parse(script.parser("x"), ["--quick"])
    assert 0 < script.memory_of(script.course(), chosen) < len(held)


def test_the_peer_is_of_our_size(load):
    peer = load("peer")
    ours, theirs = (peer.parameters(peer.Setup(network).build()) for network in ("course", "diffusers"))
    assert theirs == pytest.approx(ours, rel=0.15)


def test_alternate_counts_every_arm_once_a_round(load):
    common = load("common")
    calls = []
    arms = {name: lambda name=name: calls.append(name) for name in "ab"}
    chosen = common.parser("x").parse_args(["--repeats", "5"])
    seconds = common.alternate(arms, chosen)
    assert calls == ["a", "b"] * 6, "a round to warm up, then five that count, arms in turn"
    assert all(len(times) == 5 for times in seconds.values())


def test_times_faster_is_the_median_of_the_rounds(load):
    assert load("common").times_faster({"ours": [1.0, 1.0, 2.0], "theirs": [2.0, 9.0, 8.0]}, "ours", "theirs") == 4.0


def test_quality_goes_on_where_it_stopped(load, tmp_path, monkeypatch):
    script = load("quality_for_time")
    trained, judged = [], []

    def fit(network, minutes, seed, chosen):
        trained.append((network, seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return {"steps": 1}

    def judge(made, network, minutes, seed, chosen):
        judged.append((network, seed))
        if len(judged) == 2:
            raise KeyboardInterrupt
        numbers = {"samples": chosen.samples, "fd": 9.0, "fd_of_few": 9.0}
        return {"network": network, "minutes": minutes, "seed": seed, **numbers, **made}

    monkeypatch.setattr(script, "fit", fit)
    monkeypatch.setattr(script, "judge", judge)
    order = ["--minutes", "2", "--seeds", "0", "1", "--threads", "1"]
    order += ["--results", str(tmp_path), "--weights", str(tmp_path)]
    every = [("course", 0), ("diffusers", 0), ("course", 1), ("diffusers", 1)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            script.main(order)
    assert trained == every[:3] + every[2:], "of the trained, none is trained again"
    record = script.main(order)
    assert judged == every[:2] + every[1:], "and of the judged, none is judged again"
    assert [mean["seeds"] for mean in record["means"]] == [2, 2]


def test_quality_keeps_what_was_trained_for_a_later_judging(load, tmp_path):
    script = load("quality_for_time")
    order = ["--quick", "--threads", "1", "--networks", "course", "--weights", str(tmp_path)]
    assert script.main([*order, "--train-only"])["means"] == []
    (path,) = tmp_path.glob("*.pt")
    before = path.read_bytes()
    (mean,) = script.main(order)["means"]
    assert mean["seeds"] == 1 and path.read_bytes() == before
