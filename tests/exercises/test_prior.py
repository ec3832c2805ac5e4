"""Lesson 18's exercises: each accepts its solution, names every mistake, and agrees with the package."""

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.diffusion import X0, Denoiser, cosine, simple_loss
from edu_diffusion.exercises import prior
from edu_diffusion.nets.transformer import earlier, itself
from edu_diffusion.systems.ar_prior import PrincipalCodes
from edu_diffusion.systems.prior import PriorNet, nearest_to
from edu_diffusion.zoo.measure_prior import pair_cosine


def unit(*shape, seed=0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class TestTheyAreThePackages:
    def test_loss(self):
        schedule, x0, eps = cosine(), unit(4, 6), unit(4, 6, seed=1)
        t = torch.tensor([1, 200, 600, 1000])
        theirs = simple_loss(Denoiser(lambda x, t, cond: x.tanh(), schedule, X0), x0, t, eps)
        signal, noise = (each.flatten() for each in (schedule.signal(t, x0), schedule.noise(t, x0)))
        torch.testing.assert_close(prior.loss(torch.tanh, x0, signal, noise, eps), theirs)

    def test_scale(self):
        net, z = PriorNet(6, text=4, length=3, width=32, depth=1), unit(50, 6)
        net.mean.copy_(z.mean(0))
        net.std.copy_(z.std(0))
        torch.testing.assert_close(prior.scale(z, z[:5]), net.scaled(z[:5]))

    def test_seen(self):
        real = torch.tensor([[True, True, False]])
        there = torch.cat([real, real.new_ones(1, 4)], 1)
        assert prior.seen(real).equal(earlier(7, 7) & (there[:, None, :] | itself(7, 7)))

    def test_best(self):
        drawn, text = unit(8, 3, 5), unit(8, 5, seed=1)
        assert prior.best(drawn, text).equal(nearest_to(drawn, text))

    def test_codes(self):
        codec, z = PrincipalCodes(6, 3, 4), unit(80, 6)
        codec.fit(z)
        assert prior.codes(codec.scores(z), codec.edges).equal(codec.encode(z))

    def test_scores_are_what_draws_score(self):
        z = F.normalize(unit(5, 4) + 0.5, dim=1)
        mean, perfect = prior.scores(z)
        assert (z @ F.normalize(z.mean(0), dim=0)).mean() == pytest.approx(mean.item(), rel=1e-5)
        assert (z @ z.T).mean() == pytest.approx(perfect.item(), rel=1e-5)
        often = z[torch.randint(5, (1, 20_000), generator=torch.Generator().manual_seed(0))]
        assert pair_cosine(often) == pytest.approx(perfect.item(), abs=0.02)
