"""What one can do with z_i and x_T: identities that hold for any decoder, and directions known beforehand."""

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.nets.layers import resize
from edu_diffusion.systems import edits
from edu_diffusion.systems.edits import Components, Split
from tests.systems.tiny_unclip import WIDTH, pictures, seeded, shaken, tiny_decoder


@pytest.fixture(scope="module")
def decoder():
    decoder = tiny_decoder()
    shaken(decoder.net)
    return decoder


def unit(n, seed=0, width=WIDTH):
    return F.normalize(torch.randn(n, width, generator=seeded(seed)), dim=1)


class TestSplit:
    def test_there_and_back_is_the_nearer_the_more_steps(self, decoder):
        x = pictures(2)
        small = resize(x, (16, 16))
        rough, fine = (edits.join(decoder, edits.split(decoder, x, steps=n), steps=n) for n in (4, 40))
        assert (edits.psnr(fine, small) > edits.psnr(rough, small) + 6).all()

    def test_its_embedding_is_that_of_the_whole_picture(self, decoder):
        parts = edits.split(decoder, pictures(2), steps=2)
        torch.testing.assert_close(parts.image_emb, decoder.eyes.image_emb(pictures(2)))
        assert parts.x_T.shape == (2, 3, 16, 16) and len(parts) == 2

    def test_repeated_and_told_something_else(self):
        parts = Split(unit(2), torch.arange(2.0)[:, None, None, None].expand(2, 3, 4, 4))
        assert parts.repeat(2).x_T[:, 0, 0, 0].tolist() == [0, 0, 1, 1]
        one = Split(unit(1), torch.zeros(1, 3, 4, 4)).with_emb(unit(5))
        assert one.x_T.shape == (5, 3, 4, 4) and torch.equal(one.image_emb, unit(5))

    def test_pictures_in_another_range_are_refused(self, decoder):
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            edits.split(decoder, 3 * pictures(1))


class TestVariations:
    def test_without_eta_they_are_the_picture_and_with_it_they_differ(self, decoder):
        x, options = pictures(1), {"steps": 10}
        same = edits.variations(decoder, x, 2, seeded(), eta=0.0, **options)
        torch.testing.assert_close(same[0], same[1])
        torch.testing.assert_close(same[:1], edits.join(decoder, edits.split(decoder, x, **options), **options))
        some, far = (edits.variations(decoder, x, 2, seeded(), eta=eta, **options) for eta in (0.3, 1.0))
        assert 0 < (some - same).abs().mean() < (far - same).abs().mean()
        assert not torch.allclose(far[0], far[1])

    def test_eta_has_limits(self, decoder):
        with pytest.raises(ValueError, match="eta must be in"):
            edits.variations(decoder, pictures(1), 2, seeded(), eta=1.5, steps=2)


class TestBetween:
    a, b = (Split(unit(1, seed), torch.randn(1, 3, 4, 4, generator=seeded(seed))) for seed in (1, 2))

    def test_the_ends_are_the_two(self):
        way = edits.between(self.a, self.b, [0.0, 0.5, 1.0])
        torch.testing.assert_close(way.image_emb[[0, 2]], torch.cat([self.a.image_emb, self.b.image_emb]))
        torch.testing.assert_close(way.x_T[[0, 2]], torch.cat([self.a.x_T, self.b.x_T]))
        torch.testing.assert_close(way.image_emb.norm(dim=1), torch.ones(3))

    def test_the_noise_may_stay(self):
        way = edits.between(self.a, self.b, [0.0, 0.5, 1.0], noise=False)
        assert (way.x_T == self.a.x_T).all() and len(way) == 3

    def test_it_goes_from_one_to_one(self):
        with pytest.raises(ValueError, match="one picture to one other, got 2 and 1"):
            edits.between(self.a.repeat(2), self.b, [0.5])


class TestTextDiff:
    z, now, wanted = unit(3, 0), unit(1, 1), unit(1, 2)

    def test_it_turns_towards_the_difference_by_a_share_of_the_angle(self):
        direction = F.normalize(self.wanted - self.now, dim=1)
        turned = edits.text_diff(self.z, self.now, self.wanted, 0.25)
        before, after = ((z * direction).sum(1).acos() for z in (self.z, turned))
        torch.testing.assert_close(after, 0.75 * before)
        torch.testing.assert_close(turned.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(edits.text_diff(self.z, self.now, self.wanted, 0.0), self.z)
        end = edits.text_diff(self.z, self.now, self.wanted, 1.0)
        torch.testing.assert_close(end, direction.expand(3, -1), atol=1e-5, rtol=0)

    def test_a_step_is_an_addition_brought_back_to_length_1(self):
        moved = edits.text_step(self.z, self.now, self.wanted, 0.7)
        torch.testing.assert_close(moved, F.normalize(self.z + 0.7 * (self.wanted - self.now), dim=1))
        torch.testing.assert_close(edits.text_step(self.z, self.now, self.now, 2.0), self.z)


class TestComponents:
    def test_data_of_two_dimensions_need_two(self):
        flat = torch.randn(300, 2, generator=seeded()) @ torch.randn(2, 8, generator=seeded(1)) * 0.3
        z = F.normalize(flat + 1, dim=1)
        found = Components(z)
        assert found.share.sum().item() == pytest.approx(1) and (found.share.diff() <= 1e-6).all()
        errors = [(found.keep(z, count) - z).norm(dim=1).mean().item() for count in (0, 1, 2, 3, 8)]
        assert errors == sorted(errors, reverse=True) and errors[0] > 0.1 and errors[-1] < 1e-5

    def test_none_kept_is_the_mean_for_all(self):
        z = unit(50)
        kept = Components(z).keep(z, 0)
        torch.testing.assert_close(kept, F.normalize(z.mean(0, keepdim=True), dim=1).expand(50, -1))

    def test_limits(self):
        with pytest.raises(ValueError, match="more than 16 embeddings, got 16"):
            Components(unit(16))
        with pytest.raises(ValueError, match=r"0\.\.16"):
            Components(unit(50)).keep(unit(1), 17)


def test_psnr_is_known_for_a_known_error():
    a = torch.zeros(2, 3, 4, 4)
    torch.testing.assert_close(edits.psnr(a, a + 0.2), torch.full((2,), 20.0))
