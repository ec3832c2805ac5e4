"""The command line, run in this process; the last test starts a new one."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from edu_diffusion.__main__ import main
from edu_diffusion.systems.adm import adm_unet
from edu_diffusion.systems.classifier_free import ClassifierFreeADM
from edu_diffusion.systems.gan import GAN, Discriminator, Generator
from edu_diffusion.zoo import ENTRIES, Entry, Plan, card
from edu_diffusion.zoo.claims import CLAIMS, Claim, Finding, Number
from edu_diffusion.zoo.families import LINES
from edu_diffusion.zoo.train import train_entry
from tests.zoo.conftest import STEPS, fake_measure, few_pictures, tiny, trained, zoo

__all__ = ["tiny", "trained", "zoo"]  # fixtures


@pytest.fixture
def run(capsys):
    """Run a command; gives its status, what it printed, and what it complained of."""

    def command(*arguments):
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return command


def test_zoo_as_json_says_everything(run, zoo):
    assert run("evaluate", "tiny", "--zoo", zoo)[0] == 0
    status, out, _ = run("zoo", "--json", "--zoo", zoo)
    (record,) = json.loads(out)
    assert status == 0 and record["name"] == "tiny" and record["system"] == "DDPM"
    assert record["parameters"] > 1000 and record["weight_bytes"] > 2000
    assert record["minutes"] >= 0 and record["machine"]
    assert record["results"]["fd"] == {
        "name": "Fréchet distance",
        "value": 1.5,
        "samples": 8,
        "seed": 0,
        "floor": 0.5,
    }


def test_the_real_zoo_as_json(run):
    status, out, _ = run("zoo", "--json")
    records = json.loads(out)
    assert status == 0 and "fashion-classifier" in [record["name"] for record in records]
    for record in records:
        assert record.keys() >= {"name", "system", "parameters", "weight_bytes", "minutes", "machine", "results"}
        for result in record["results"].values():
            assert result.keys() >= {"value", "samples", "seed", "floor"}


def test_zoo_as_text_lists_what_is_not_trained_too(run, zoo):
    status, out, _ = run("zoo", "--zoo", zoo)
    assert status == 0 and "tiny: for tests" in out and "ddpm-fashion: not trained yet" in out


def test_claims_as_json_and_as_text(run):
    status, out, _ = run("claims", "--json")
    rows = json.loads(out)
    assert status == 0 and [row["id"] for row in rows] == [name for name in CLAIMS if name in {r["id"] for r in rows}]
    for row in rows:
        assert row.keys() >= {"id", "lesson", "what", "paper", "numbers", "verdict", "why", "command", "minutes"}
    text = run("claims")[1]
    assert all(row["id"] in text and row["command"] in text for row in rows) and "fwd-closed" in text


def test_a_claim_is_measured_by_its_name(run, tmp_path, monkeypatch):
    made_up = Claim(
        "made-up", "06", "a and b", "so they say", lambda arms: Finding({"x": Number(2)}, "holds", "2 is 2")
    )
    monkeypatch.setitem(CLAIMS, "made-up", made_up)
    assert run("evaluate", "--claim", "made-up", "--zoo", tmp_path) == (0, "made-up: holds: 2 is 2\n", "")
    assert json.loads(run("claims", "--json", "--zoo", tmp_path)[1])[0]["numbers"]["x"]["value"] == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["fly"], "invalid choice: 'fly'"),
        ([], "required"),
        (["zoo", "--yaml"], "unrecognized arguments: --yaml"),
        (["train"], "name"),
        (["train", "tiny", "--minutes", "0"], "must be a number above 0, got '0'"),
        (["train", "tiny", "--minutes", "soon"], "must be a number above 0, got 'soon'"),
        (["train", "tiny", "--slice", "inf"], "must be a number above 0"),
        (["train", "tiny", "--steps", "0"], "must be a whole number, at least 1, got '0'"),
        (["sample", "tiny", "--count", "2.5"], "must be a whole number"),
        (["sample", "tiny", "--rule", "euler"], "invalid choice: 'euler'"),
        (["sample", "tiny", "--device", "tpu"], "must be cpu, cuda or mps, got 'tpu'"),
        (["sample", "tiny", "--scale", "-1"], "must be a number, at least 0, got '-1'"),
        (["families", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_arguments_that_cannot_be_read_end_with_2(run, arguments, message):
    status, _, complaint = run(*arguments)
    assert status == 2 and message in complaint


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "ddpm-fasion"], "no 'ddpm-fasion'; did you mean 'ddpm-fashion'"),
        (["sample", "gpt"], "the zoo has no 'gpt'"),
        (["evaluate"], "needs either a name of the zoo or --claim ID"),
        (["evaluate", "tiny", "--claim", "fwd-prior"], "needs either a name of the zoo or --claim ID"),
        (["evaluate", "--claim", "fwd-priors"], "did you mean 'fwd-prior'"),
        (["evaluate", "--claim", "fwd-prior", "--samples", "3"], "leave --samples out"),
        (["evaluate", "fashion-classifier", "--samples", "3"], "leave --samples out"),
        (["sample", "fashion-classifier"], "does not generate pictures"),
        (["sample", "tiny", "--out", "picture.txt"], "--out must name a .png file"),
        (["sample", "tiny", "--out", "no/such/folder/x.png"], "in a folder that exists"),
        (["sample", "tiny", "--steps", "5000"], "steps must be in 1..1000"),
        (["sample", "tiny", "--label", "Bag"], "tiny is not told the class: leave --label out"),
        (["sample", "tiny", "--scale", "2"], "was not trained for classifier-free guidance"),
        (["sample", "tiny", "a red star"], "tiny draws no captions and no variations"),
        (["sample", "unclip"], "give unclip a caption"),
        (["sample", "unclip", "a red star", "--variation-of", "x.png"], "give unclip a caption"),
        (["sample", "unclip", "a red star", "--label", "Bag"], "leave --label out"),
        (["sample", "unclip", "--variation-of", "no-such.png"], "no-such.png"),
        (["families"], "no model of the table has been measured"),
    ],
)
def test_what_cannot_be_done_ends_with_1_and_says_why(run, zoo, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = [] if "fashion-classifier" in arguments else ["--zoo", zoo]
    status, out, complaint = run(*arguments, *folder)
    assert status == 1 and out == "" and complaint.startswith("edu_diffusion: ") and message in complaint
    assert complaint.count("\n") == 1


def test_sample_writes_a_picture(run, zoo, tmp_path):
    from PIL import Image

    path = tmp_path / "two.png"
    status, out, _ = run("sample", "tiny", "--count", 2, "--steps", 2, "--out", path, "--zoo", zoo, "--seed", 3)
    assert status == 0 and "2 samples, 2 steps of ddim, seed 3" in out
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 56 and picture.height >= 28
    first = path.read_bytes()
    run("sample", "tiny", "--count", 2, "--steps", 2, "--out", path, "--zoo", zoo, "--seed", 4)
    assert path.read_bytes() != first


@pytest.mark.parametrize("rule", ["ancestral", "dpm_pp"])
def test_sample_by_other_rules(run, zoo, tmp_path, rule):
    path = tmp_path / "one.png"
    status, out, _ = run("sample", "tiny", "--count", 1, "--steps", 2, "--rule", rule, "--out", path, "--zoo", zoo)
    assert status == 0 and f"2 steps of {rule}" in out and path.exists()


@pytest.fixture
def told(monkeypatch, tmp_path):
    """A folder with a tiny model that is told the class."""

    def build():
        net = adm_unet(widths=(16, 32), attention=(False, False), residual=False)
        return ClassifierFreeADM(net)

    entry = Entry("told", "for tests", build, Plan(steps=2, batch=2), fake_measure, few_pictures)
    monkeypatch.setitem(ENTRIES, "told", entry)
    for _ in train_entry(entry, tmp_path / "runs", folder=tmp_path):
        pass
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--label", "bag"], ["--label", "Ankle boot", "--scale", "2"]])
def test_sample_of_a_class(run, told, options):
    path = told / "some.png"
    status, out, complaint = run("sample", "told", "--count", 2, "--steps", 2, "--out", path, "--zoo", told, *options)
    assert status == 0 and not complaint and "2 samples" in out and path.exists()


def test_sample_of_an_unknown_class(run, told):
    status, _, complaint = run("sample", "told", "--label", "hat", "--out", told / "some.png", "--zoo", told)
    assert status == 1 and "--label must be one of T-shirt/top, Trouser" in complaint and "got 'hat'" in complaint


@pytest.fixture
def game(monkeypatch, tmp_path):
    """A folder with a tiny model that makes pictures in one go."""

    def build():
        return GAN(Generator(latent=4, widths=(16, 16)), Discriminator((4, 4, 4)))

    entry = Entry("game", "for tests", build, Plan(steps=2, batch=2), fake_measure, few_pictures)
    monkeypatch.setitem(ENTRIES, "game", entry)
    for _ in train_entry(entry, tmp_path / "runs", folder=tmp_path):
        pass
    return tmp_path


def test_sample_of_a_model_that_takes_no_steps(run, game):
    path = game / "three.png"
    status, out, complaint = run("sample", "game", "--count", 3, "--out", path, "--zoo", game, "--seed", 5)
    assert status == 0 and not complaint and path.exists()
    assert out == f"wrote {path}: 3 samples, seed 5\n"


@pytest.mark.parametrize(("option", "value"), [("--steps", 5), ("--rule", "ddim"), ("--scale", 2), ("--label", "Bag")])
def test_such_a_model_refuses_what_it_would_ignore(run, game, option, value):
    path = game / "none.png"
    status, _, complaint = run("sample", "game", option, value, "--out", path, "--zoo", game)
    assert status == 1 and f"leave {option} out" in complaint and not path.exists()


class Drawer:
    """Stands for unCLIP: what it draws is made of the random numbers, and it keeps what it was told."""

    def __init__(self):
        self.told = []

    def pictures(self, captions, generator, **options):
        self.told.append((captions, options))
        return torch.rand(len(captions), 3, 64, 64, generator=generator) * 2 - 1

    def variations(self, picture, count, generator, **options):
        self.told.append((picture, options))
        return picture.expand(count, -1, -1, -1)


@pytest.fixture
def drawer(monkeypatch):
    made = Drawer()
    monkeypatch.setattr("edu_diffusion.zoo.chain.unclip", lambda device, folder: made)
    return made


def test_sample_of_captions(run, drawer, tmp_path):
    path = tmp_path / "picture.png"
    order = [
        "sample",
        "unclip",
        "a red star",
        "一个蓝色的圆环",
        "--count",
        2,
        "--steps",
        5,
        "--scale",
        3,
        "--out",
        path,
    ]
    status, out, _ = run(*order, "--seed", 7)
    assert status == 0 and "4 by unclip, a red star; 一个蓝色的圆环, seed 7" in out
    assert drawer.told == [(["a red star"] * 2 + ["一个蓝色的圆环"] * 2, {"scale": 3.0, "steps": 5})]
    first = path.read_bytes()
    run(*order, "--seed", 7)
    assert path.read_bytes() == first
    run(*order, "--seed", 8)
    assert path.read_bytes() != first


def test_variations_of_a_picture(run, drawer, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "given.png")
    status, out, _ = run(
        "sample", "unclip", "--variation-of", tmp_path / "given.png", "--count", 3, "--out", tmp_path / "x.png"
    )
    [(picture, options)] = drawer.told
    assert status == 0 and "3 by unclip, variations of" in out and options == {}
    assert picture.shape == (1, 3, 64, 64)
    assert torch.allclose(picture[0].permute(1, 2, 0), torch.from_numpy(levels) / 127.5 - 1)


def test_a_picture_that_is_not_square_is_refused(run, drawer, tmp_path):
    Image.new("RGB", (64, 80)).save(tmp_path / "given.png")
    status, _, complaint = run(
        "sample", "unclip", "--variation-of", tmp_path / "given.png", "--out", tmp_path / "x.png"
    )
    assert status == 1 and "must be square" in complaint and drawer.told == []


def test_families_as_json_and_as_text(run):
    status, out, _ = run("families", "--json")
    found = json.loads(out)
    real, *rows = found["rows"]
    assert status == 0 and real["model"] == "training set"
    assert any(card("ddpm-fashion").machine in note for note in found["notes"])
    order = [line.family for line in LINES]
    assert [order.index(row["family"]) for row in rows] == sorted(order.index(row["family"]) for row in rows)
    assert {"gan-fashion", "ddpm-fashion", "adm-fashion"} <= {row["model"] for row in rows}
    for row in rows:
        if row["model"] in ("gan-fashion", "ddpm-fashion", "adm-fashion"):
            key = "ancestral_fd" if "ancestral" in row["drawn"] else "fd"
            assert row["fd"] == card(row["model"]).results[key].value > real["fd"] > 0
    assert {row["drawn"] for row in rows if row["model"] == "ddpm-fashion"} == {"100 ancestral steps", "DDIM-50"}
    text = run("families")[1]
    assert "ddpm-fashion" in text and "petaFLOP" in text


def test_train_in_slices_stops_and_goes_on(run, tiny, tmp_path):
    train = ["train", "tiny", "--quiet", "--zoo", tmp_path, "--runs", tmp_path / "runs"]
    status, _, told = run(*train, "--slice", 1e-6)
    assert status == 0 and "at step 1; the same command goes on" in told
    assert not (tmp_path / "cards").exists()
    assert run(*train)[0] == 0
    assert card("tiny", tmp_path).steps == STEPS


def test_train_shows_how_far_it_is(run, tiny, tmp_path):
    status, _, bar = run("train", "tiny", "--steps", 2, "--zoo", tmp_path, "--runs", tmp_path / "runs")
    assert status == 0 and "step 2, loss" in bar and "images/s" in bar


def test_evaluate_writes_the_results_to_the_card(run, zoo):
    status, out, _ = run("evaluate", "tiny", "--samples", 5, "--seed", 2, "--zoo", zoo)
    assert status == 0 and "Fréchet distance 1.5 (real data: 0.5), 5 samples, seed 2" in out
    assert card("tiny", zoo).results["fd"].samples == 5


def test_stopping_by_hand_is_no_traceback(run, zoo, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edu_diffusion.zoo.load", stop)
    assert run("evaluate", "tiny", "--zoo", zoo) == (130, "", "edu_diffusion: stopped\n")


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "edu_diffusion", "sample", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("edu_diffusion: the zoo has no 'nothing'")
