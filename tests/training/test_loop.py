"""The loop: it learns, resumes to the last bit, keeps a time budget, and is the same with two processes as with one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edu_diffusion.data import Batches
from edu_diffusion.diffusion import linear
from edu_diffusion.nets import MLP
from edu_diffusion.systems.ddpm import DDPM
from edu_diffusion.training import Checkpoint, Ema, adamw, pick_runtime, train

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
    with pytest.raises(ValueError, match=r"must be in \[-1, 1\], got 255"):
        list(train(recipe, data, {"net": adamw(recipe.net.parameters())}, steps=1, runtime=CPU))


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
