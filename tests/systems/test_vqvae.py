"""VQ-VAE: where each gradient goes, what a training learns, and what a checkpoint and the zoo's file keep."""

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.data import Batches, fashion
from edu_diffusion.nets.codebook import used
from edu_diffusion.systems.vqvae import VQVAE, VQNet
from edu_diffusion.training import Checkpoint, Ema, Runtime, adamw, pick_runtime, train
from edu_diffusion.types import Batch, Rng
from edu_diffusion.zoo.families import training_compute

TINY = {"size": 16, "width": 8, "widths": (16, 32)}
CPU = pick_runtime("cpu")


def pictures(n=8) -> Batch:
    return fashion()[slice(0, n)]


def tiny(commit_weight=0.25, **options) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(VQNet(**TINY | options), commit_weight)


def placed(system: VQVAE) -> VQVAE:
    """Its codes lie where the encoder's vectors are, as after the first step of a training."""
    [_] = system.losses(pictures(), Rng(0))
    return system


def gradients(system: VQVAE) -> dict[str, float]:
    """How large the gradient of a training step is, in each of the three parts."""
    turns = system.losses(pictures(), Rng(0))
    phase, loss, _ = next(turns)
    assert phase == "net"
    loss.backward()
    parts = {name: getattr(system.net, name).parameters() for name in ("encoder", "codebook", "decoder")}
    return {
        name: sum(0.0 if p.grad is None else p.grad.abs().sum().item() for p in part) for name, part in parts.items()
    }


def trained(system: VQVAE, steps=60, **options):
    ema = Ema(system.net, 0.9)
    optimisers = {"net": adamw(system.net.parameters(), 2e-3, warmup=1)}
    data = Batches(pictures(64), 16, seed=0)
    return ema, train(system, data, optimisers, steps=steps, ema={"net": ema}, runtime=CPU, log_every=1, **options)


class TestTheNetwork:
    def test_a_picture_is_49_numbers_of_128(self):
        system = VQVAE()
        codes = system.encode(pictures().x)
        assert codes.shape == (8, 7, 7) and codes.dtype == torch.int64 and 0 <= codes.min() <= codes.max() < 128
        made = system.decode(codes)
        assert made.shape == (8, 1, 28, 28) and made.abs().max() <= 1
        assert system.reconstruct(pictures().x).equal(made)

    def test_training_draws_what_decode_draws(self):
        system = placed(tiny())
        seen = system.net(pictures().x)
        assert seen.codes.equal(system.encode(pictures().x))
        torch.testing.assert_close(seen.drawn.clamp(-1, 1), system.decode(seen.codes), atol=1e-5, rtol=1e-4)

    def test_many_pictures_are_taken_in_parts(self, monkeypatch):
        system = placed(tiny())
        whole = system.encode(pictures(20).x)
        monkeypatch.setattr("edu_diffusion.systems.vqvae.PART", 7)
        assert system.encode(pictures(20).x).equal(whole) and len(system.decode(whole)) == 20

    def test_codes_that_do_not_exist_are_refused(self):
        with pytest.raises(ValueError, match=r"0\.\.15, got 0 to 16"):
            tiny().decode(torch.tensor([[[0, 16]]]))


class TestGradients:
    def test_the_encoder_learns_through_the_choice(self):
        """With commit_weight 0 only the straight-through gradient is left."""
        found = gradients(placed(tiny(commit_weight=0.0)))
        assert found["encoder"] > 0 and found["decoder"] > 0 and found["codebook"] == 0

    def test_its_gradient_is_that_of_a_decoder_fed_with_codes(self):
        """What the encoder's vectors get is the gradient at the codes' vectors, handed on unchanged."""
        system, x = placed(tiny(commit_weight=0.0)), pictures().x
        z = system.net.look(x)
        e = system.net.codebook(system.net.codebook.nearest(z)).detach().requires_grad_()
        F.mse_loss(system.net.draw(e), x).backward()
        at_codes = e.grad.clone()
        system.net.zero_grad()
        z.backward(at_codes)
        expected = system.net.encoder.enter.weight.grad.clone()
        system.net.zero_grad()
        gradients(system)
        torch.testing.assert_close(system.net.encoder.enter.weight.grad, expected, atol=1e-6, rtol=1e-3)

    def test_the_codebook_gets_a_gradient_only_if_it_learns_by_it(self):
        assert gradients(placed(tiny()))["codebook"] == 0
        assert gradients(placed(tiny(by_gradient=True)))["codebook"] > 0

    def test_each_term_of_the_loss_teaches_its_own_side(self):
        """Eq. 3: the second term moves the codebook and not the encoder, the third the encoder and not the codebook."""
        system = placed(tiny(by_gradient=True))
        _, z, e, _ = system.net(pictures().x)
        second, third = F.mse_loss(e, z.detach()), F.mse_loss(z, e.detach())
        weight, vectors = system.net.encoder.enter.weight, system.net.codebook.vectors
        for term, moved in ((second, [False, True]), (third, [True, False])):
            found = torch.autograd.grad(term, [weight, vectors], retain_graph=True, allow_unused=True)
            assert [one is not None and one.abs().sum().item() > 0 for one in found] == moved

    def test_the_loss_is_the_sum_of_its_terms(self):
        for by_gradient in (False, True):
            system = placed(tiny(by_gradient=by_gradient))
            drawn, z, e, _ = system.net(pictures().x)
            expected = F.mse_loss(drawn, pictures().x) + (0.25 + by_gradient) * F.mse_loss(z, e)
            torch.testing.assert_close(next(system.losses(pictures(), Rng(0)))[1], expected)


class TestTraining:
    @pytest.mark.parametrize("by_gradient", [False, True])
    def test_a_short_training_learns_to_draw_with_its_codes(self, by_gradient):
        system = tiny(by_gradient=by_gradient)
        ema, logs = trained(system, 150)
        errors = [log.metrics["error"] for log in logs]
        assert errors[-1] < 0.4 * errors[0]
        x = pictures(64).x
        blind = (x - x.mean(0)).square().mean()  # what one picture for all would leave
        system.modules["net"] = ema.module
        assert (system.reconstruct(x) - x).square().mean() < 0.6 * blind
        assert used(system.encode(x), 16) > 0.5

    def test_the_codebook_learns_after_the_step(self):
        system = tiny()
        turns = system.losses(pictures(), Rng(0))
        next(turns)
        assert system.net.codebook.share.sum() == 0
        assert next(turns, None) is None and system.net.codebook.share.sum() > 0

    def test_perplexity_is_measured(self):
        _, _, metrics = next(tiny().losses(pictures(), Rng(0)))
        assert 1 <= metrics["perplexity"].item() <= 16

    def test_it_is_the_same_every_time(self):
        first, again = tiny(), tiny()
        for system in (first, again):
            list(trained(system, 8)[1])
        assert first.net.codebook.vectors.equal(again.net.codebook.vectors)

    def test_a_checkpoint_keeps_the_codebook(self, tmp_path):
        """Interrupted after 5 of 10 steps, it ends exactly as one that was not."""
        whole, half, rest = tiny(), tiny(), tiny()
        ema_whole, logs = trained(whole, 10)
        list(logs)
        _, logs = trained(half, 10, checkpoint=Checkpoint(tmp_path / "half.pt", "vqvae"))
        for log in logs:
            if log.step == 5:
                logs.close()
                break
        ema_rest, logs = trained(rest, 10, checkpoint=Checkpoint(tmp_path / "half.pt", "vqvae"))
        assert next(logs).step == 6
        list(logs)
        for name, value in whole.net.state_dict().items():
            assert rest.net.state_dict()[name].equal(value), name
        for name, value in ema_whole.module.state_dict().items():
            assert ema_rest.module.state_dict()[name].equal(value), name

    def test_averaged_weights_come_with_a_codebook_that_fits_them(self):
        system = tiny()
        ema, logs = trained(system, 100)
        list(logs)
        x = pictures(64).x
        plain = (system.reconstruct(x) - x).square().mean().item()
        system.modules["net"] = ema.module
        averaged = (system.reconstruct(x) - x).square().mean().item()
        assert averaged < 1.2 * plain
        assert system.inner is ema.module and system.size == 16

    def test_wrapped_in_half_precision_it_chooses_the_same_codes(self):
        system = placed(tiny())
        codes, made = system.encode(pictures().x), system.reconstruct(pictures().x)
        half = Runtime(torch.device("cpu"), torch.bfloat16)
        system.modules["net"] = half.wrap(system.net)
        with half.autocast():
            assert system.encode(pictures().x).equal(codes)
            torch.testing.assert_close(system.decode(codes), made, atol=1e-5, rtol=1e-4)

    def test_it_trains_in_half_precision(self):
        system, half = tiny(), Runtime(torch.device("cpu"), torch.bfloat16)
        optimisers = {"net": adamw(system.net.parameters(), 2e-3, warmup=1)}
        *_, last = train(system, Batches(pictures(64), 16, seed=0), optimisers, steps=40, runtime=half, log_every=20)
        assert last.metrics["error"] < 0.5

    def test_its_compute_is_counted(self):
        assert training_compute(tiny()) > 1e6


def test_pictures_in_another_range_and_a_negative_weight_are_refused():
    with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
        tiny().check(Batch((pictures(64).x + 1) / 2))
    with pytest.raises(ValueError, match="commit_weight must not be negative"):
        tiny(commit_weight=-1.0)
