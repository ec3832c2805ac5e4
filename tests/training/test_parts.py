"""The loop's parts: runtime, moving average, optimiser, shared random numbers."""

import pytest
import torch
from torch import nn

from edu_diffusion.training import Ema, Runtime, adamw, bare, pick_runtime
from edu_diffusion.types import Rng


class TestRuntime:
    def test_without_a_gpu_it_is_the_cpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert pick_runtime().device.type == "cpu"

    @pytest.mark.parametrize(("units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
    def test_a_cpu_uses_bf16_only_where_it_has_units_for_it(self, monkeypatch, units, dtype):
        monkeypatch.setattr("edu_diffusion.training.runtime.has_bf16_units", lambda: units)
        assert pick_runtime("cpu").dtype == dtype

    def test_wrapped_modules_answer_in_float32(self):
        runtime = Runtime(torch.device("cpu"), torch.bfloat16)
        wrapped = runtime.wrap(nn.Linear(3, 2))
        assert wrapped(torch.ones(1, 3)).dtype == torch.float32

    def test_bare_is_the_module_out_of_all_its_wrappers(self):
        runtime, net = Runtime(torch.device("cpu"), torch.bfloat16), nn.Linear(3, 2)
        wrapped = runtime.wrap(net)
        assert wrapped is not net and bare(wrapped) is net
        assert bare(runtime.wrap(wrapped)) is net and bare(net) is net

    @pytest.mark.parametrize("name", ["cuda", "mps"])
    def test_a_device_that_is_not_there_is_refused(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(ValueError, match=f"'{name}' was asked for"):
            pick_runtime(name)

    def test_an_unknown_device_is_refused(self):
        with pytest.raises(ValueError, match="cpu, cuda or mps"):
            pick_runtime("meta")


class TestEma:
    def test_decay_ramps_up(self):
        """After the first copy, update n moves by 1 - (1 + n) / (10 + n)."""
        net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(net.weight)
        ema = Ema(net, 0.99)
        ema.update(net)  # the first update copies
        nn.init.ones_(net.weight)
        ema.update(net)
        assert ema.module.weight.item() == pytest.approx(1 - 2 / 11)

    def test_a_decay_of_one_is_refused(self):
        with pytest.raises(ValueError, match=r"\[0, 1\)"):
            Ema(nn.Linear(1, 1), 1.0)


class TestOptimiser:
    def test_rate_warms_up_and_falls(self):
        net = nn.Linear(1, 1)
        optimiser = adamw(net.parameters(), 1.0, warmup=4)
        rates = []
        for step in range(10):
            net(torch.ones(1, 1)).sum().backward()
            optimiser.step(step / 10)
            rates.append(optimiser.rate)
        assert rates == pytest.approx([0.25, 0.45, 0.6, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])

    def test_long_gradients_are_clipped(self):
        net = nn.Linear(1, 1, bias=False)
        (1000 * net.weight).sum().backward()
        optimiser = adamw(net.parameters(), clip=1.0)
        assert optimiser.step(0.0).item() == pytest.approx(1000)
        assert net.weight.grad is None


class TestRng:
    def test_two_processes_share_one_processes_numbers(self):
        whole, first, second = Rng(5), Rng(5, 0, 2), Rng(5, 1, 2)
        x = torch.zeros(6, 2)
        together = torch.cat([first.normal_like(x[:3]), second.normal_like(x[3:])])
        assert torch.equal(whole.normal_like(x), together)
        assert torch.equal(whole.uniform(6), torch.cat([first.uniform(3), second.uniform(3)]))

    def test_state(self):
        rng = Rng(0)
        state = rng.state_dict()
        first = rng.uniform(3)
        rng.load_state_dict(state)
        assert torch.equal(rng.uniform(3), first)


def test_the_parts_of_a_wrapped_module_are_reached_as_on_any_machine():
    block = nn.ModuleDict({"inner": nn.Linear(2, 3)})
    wrapped = Runtime(torch.device("cpu"), torch.bfloat16).wrap(block)
    assert wrapped is not block and wrapped.module is block
    assert wrapped.keys() == block.keys() and wrapped.training
    with pytest.raises(AttributeError, match="no attribute 'middle'"):
        _ = wrapped.middle
