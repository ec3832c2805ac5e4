"""The loop: it learns, resumes to the last bit, keeps a time budget, and is the same with two processes as with one."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from edu_diffusion.data import Batches
from edu_diffusion.diffusion import LossAwareTimes, linear
from edu_diffusion.nets import MLP
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Checkpoint, Ema, Runtime, adamw, pick_runtime, train

SETTING = Path(__file__).parent / "one_run.py"
CPU = pick_runtime("cpu")


def setting(steps=8, checkpoint=None, dropout=0.1, **options):
    """A small DDPM on points, with dropout, so that torch's own generator matters too."""
    torch.manual_seed(0)
    net = Dropped(dropout)
    recipe = DDPM(net, linear(100, 1e-3, 0.2))
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    data = Batches(points, 16, seed=2)
    ema = {"net": Ema(net, 0.9)}
    logs = train(
        recipe,
        data,
        {"net": adamw(net.parameters(), 1e-2, warmup=2)},
        steps=steps,
        ema=ema,
        checkpoint=checkpoint,
        runtime=CPU,
        log_every=1,
        **options,
    )
    return net, ema["net"].module, logs


class Dropped(MLP):
    def __init__(self, p):
        super().__init__(width=16, layers=1)
        self.dropout = torch.nn.Dropout(p)

    def forward(self, x_t, t, cond=None):
        return super().forward(self.dropout(x_t), t, cond)


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_it_learns():
    _, _, logs = setting(steps=200, dropout=0.0)
    losses = [log.metrics["loss"] for log in logs]
    assert sum(losses[-30:]) < 0.9 * sum(losses[:30])


def test_logs_say_how_it_stands():
    _, _, logs = setting(steps=4)
    logs = list(logs)
    assert [log.step for log in logs] == [1, 2, 3, 4]
    assert logs[-1].progress == 1 and logs[-1].seconds_left == 0
    assert logs[1].rate == pytest.approx(1e-2 * (1 - 1 / 4))
    assert logs[-1].seconds > 0 and logs[-1].images_per_second > 0


@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_training_is_the_same_to_the_last_bit(tmp_path, stop):
    net, ema, logs = setting()
    whole = [log.metrics["loss"] for log in logs]

    checkpoint = Checkpoint(tmp_path / "run.pt", "test")
    _, _, logs = setting(checkpoint=checkpoint)
    first = [next(logs).metrics["loss"] for _ in range(stop)]
    logs.close()
    torch.manual_seed(99)  # whatever happens in between
    again, again_ema, logs = setting(checkpoint=checkpoint)
    rest = [log.metrics["loss"] for log in logs]

    assert first + rest == whole
    assert torch.equal(weights(again), weights(net))
    assert torch.equal(weights(again_ema), weights(ema))


def test_a_finished_training_has_nothing_more_to_do(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", "test")
    net, _, logs = setting(checkpoint=checkpoint)
    assert len(list(logs)) == 8
    again, _, logs = setting(checkpoint=checkpoint)
    assert list(logs) == []
    assert torch.equal(weights(again), weights(net))


def test_a_time_budget_ends_it():
    _, _, logs = setting(steps=10**9, minutes=0.5 / 60)
    last = list(logs)[-1]
    assert last.progress >= 1 and last.step < 10**9
    assert last.rate < 1e-3  # the rate fell with the clock


def test_the_averaged_weights_follow_behind():
    net, ema, logs = setting(steps=30)
    start = weights(net).clone()
    for _ in logs:
        pass
    moved, followed = (weights(net) - start).norm(), (weights(ema) - start).norm()
    assert 0 < followed < moved


def test_a_loss_that_is_no_number_stops_with_a_message():
    recipe = DDPM(MLP(width=16), linear(100, 1e-3, 0.2))
    data = Batches(torch.full((8, 2), float("inf")), 4, seed=0)
    with pytest.raises(FloatingPointError, match=r"loss is .* at step 1"):
        list(train(recipe, data, {"net": adamw(recipe.net.parameters())}, steps=1, runtime=CPU))


def test_pictures_out_of_range_are_refused():
    from edu_diffusion.nets import UNet

    recipe = DDPM(UNet(widths=(16, 32), attention=(False, False)))
    data = Batches(torch.full((4, 1, 8, 8), 255.0), 4, seed=0)
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\], got \[255"):
        list(train(recipe, data, {"net": adamw(recipe.net.parameters())}, steps=1, runtime=CPU))
    data = Batches(torch.rand(16, 1, 8, 8), 16, seed=0)
    with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
        list(train(recipe, data, {"net": adamw(recipe.net.parameters())}, steps=1, runtime=CPU))


class TwoPhases:
    """Two turns of one network: each yields what it puts out just then."""

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Linear(8, 8)
        self.modules, self.seen = {"net": self.net}, []

    def losses(self, batch, rng):
        for phase in ("a", "b"):
            out = self.modules["net"](batch.x)
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                self.seen.append((out.float(), self.net(batch.x)))
            yield phase, out.float().square().mean(), {}


def test_each_phase_sees_the_weights_that_the_phase_before_left():
    """In bf16 too, where autocast keeps copies of the weights for as long as it is open."""
    recipe = TwoPhases()
    optimisers = {name: adamw(recipe.net.parameters(), 0.1, warmup=0, clip=None) for name in "ab"}
    data = Batches(torch.ones(4, 8), 4, seed=0)
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    list(train(recipe, data, optimisers, steps=2, runtime=runtime))
    assert (recipe.seen[1][1] - recipe.seen[0][1]).abs().max() > 0.1, "the first phase changed the weights"
    for autocast_out, now in recipe.seen:
        torch.testing.assert_close(autocast_out, now, rtol=0.03, atol=0.03)


class Uneven(TwoPhases):
    """Phase "a" at every step, "b" twice at every third."""

    steps = 0

    def losses(self, batch, rng):
        self.steps += 1
        for phase in ("a", "b", "b") if self.steps % 3 == 0 else ("a",):
            loss = self.modules["net"](batch.x).square().mean()
            yield phase, 0 * loss + (1.0 if phase == "a" else 5.0), {phase: loss.detach() * 0 + 7.0}


def test_what_is_not_measured_at_every_step_is_averaged_over_when_it_was():
    recipe = Uneven()
    optimisers = {name: adamw(recipe.net.parameters(), 0.1) for name in "ab"}
    data = Batches(torch.ones(4, 8), 4, seed=0)
    [log] = train(recipe, data, optimisers, steps=6, runtime=CPU, log_every=6)
    assert log.metrics == pytest.approx({"loss/a": 1.0, "loss/b": 5.0, "a": 7.0, "b": 7.0})


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", "test")
    list(setting(checkpoint=checkpoint, steps=2)[2])
    recipe = DDPM(MLP(width=32, layers=1), linear(100, 1e-3, 0.2))
    data, ema = Batches(torch.randn(64, 2), 16, seed=2), {"net": Ema(recipe.net, 0.9)}
    optimiser = {"net": adamw(recipe.net.parameters())}
    with pytest.raises(ValueError, match="of another network"):
        list(train(recipe, data, optimiser, steps=4, ema=ema, checkpoint=checkpoint, runtime=CPU))
    recipe = DDPM(Dropped(0.1), linear(100, 1e-3, 0.2))
    optimiser = {"net": adamw(recipe.net.parameters())}
    with pytest.raises(ValueError, match=r"checkpoint's ema are \['net'\], but this training has \[\]"):
        list(train(recipe, data, optimiser, steps=4, checkpoint=checkpoint, runtime=CPU))
    first, *rest = recipe.net.parameters()
    optimiser, ema = {"net": adamw([{"params": [first], "lr": 1e-3}, {"params": rest}])}, {"net": Ema(recipe.net, 0.9)}
    with pytest.raises(ValueError, match="or of other settings"):
        list(train(recipe, data, optimiser, steps=4, ema=ema, checkpoint=checkpoint, runtime=CPU))


def test_a_pause_goes_on_later(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", "test")
    _, _, logs = setting(checkpoint=checkpoint, pause=1e-9)
    first = list(logs)
    assert [log.step for log in first] == [1] and first[0].progress < 1
    again, _, logs = setting(checkpoint=checkpoint)
    assert [log.step for log in logs] == list(range(2, 9))
    whole, _, logs = setting()
    list(logs)
    assert torch.equal(weights(again), weights(whole))


def test_loss_aware_times_are_resumed_to_the_last_bit(tmp_path):
    def run(checkpoint=None):
        torch.manual_seed(0)
        recipe = DDPM(MLP(width=16, layers=1), linear(4, 0.1, 0.5), times=partial(LossAwareTimes, history=1))
        data, optimiser = Batches(torch.randn(64, 2), 16, seed=2), {"net": adamw(recipe.net.parameters(), 1e-2)}
        return recipe, train(recipe, data, optimiser, steps=8, checkpoint=checkpoint, runtime=CPU, log_every=1)

    whole, logs = run()
    losses = [log.metrics["loss"] for log in logs]
    assert whole.memory["times"].probabilities().std() > 0.01
    checkpoint = Checkpoint(tmp_path / "run.pt", "test")
    _, logs = run(checkpoint)
    first = [next(logs).metrics["loss"] for _ in range(4)]
    logs.close()
    again, logs = run(checkpoint)
    assert first + [log.metrics["loss"] for log in logs] == losses
    assert torch.equal(again.memory["times"].losses, whole.memory["times"].losses)


def test_batches_for_another_number_of_processes_are_refused():
    recipe = DDPM(MLP(width=16), linear(100, 1e-3, 0.2))
    data = Batches(torch.randn(8, 2), 4, seed=0, rank=1, world=2)
    with pytest.raises(ValueError, match="part 1 of 2, but this is process 0 of 1"):
        list(train(recipe, data, {"net": adamw(recipe.net.parameters())}, steps=1, runtime=CPU))


def test_trainings_on_different_devices_do_not_know_of_each_other():
    """Accelerate's state is one for the whole process: alone, the loop must not touch it."""
    from accelerate.state import PartialState

    list(setting(steps=1)[2])
    assert PartialState._shared_state == {}


def test_two_processes_end_where_one_does(tmp_path):
    """Two `accelerate launch --cpu` processes with half the batch each, against one process with all of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "2",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    runs = [([sys.executable, str(SETTING), str(tmp_path / "one")], shared)]
    for rank in ("0", "1"):
        place = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
        runs.append(([*launch, "--machine_rank", rank, str(SETTING), str(tmp_path / "two")], shared | place))
    started = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for command, env in runs]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    one, two = (torch.load(tmp_path / f"{name}.0.pt", weights_only=True) for name in ("one", "two"))
    other = torch.load(tmp_path / "two.1.pt", weights_only=True)
    assert one["world"] == 1 and two["world"] == 2
    assert torch.equal(two["weights"], other["weights"])
    torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    assert (one["weights"] - one["start"]).norm() > 0.1
    # What the processes measured of their halves is put together too.
    assert two["loss"] == other["loss"] == pytest.approx(one["loss"], rel=1e-4)
    torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrong", ["optimisers", "ema"])
def test_a_wrong_name_is_refused_and_the_right_ones_are_named(wrong):
    net = MLP(width=16, layers=1)
    names = {"optimisers": "net", "ema": "net"} | {wrong: "unet"}
    data = Batches(torch.randn(64, 2), 16, seed=2)
    optimisers = {names["optimisers"]: adamw(net.parameters())}
    with pytest.raises(ValueError, match=r"unet.*net|net.*unet"):
        list(train(DDPM(net), data, optimisers, steps=2, ema={names["ema"]: Ema(net)}, runtime=CPU))


def test_progress_ends_at_one_also_by_the_clock():
    _, _, logs = setting(steps=100_000, minutes=0.002)
    last = list(logs)[-1]
    assert last.progress == 1 and last.seconds_left == 0
