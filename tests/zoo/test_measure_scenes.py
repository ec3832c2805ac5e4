"""What is measured of drawn scenes: on systems whose answer is known, and on real pictures."""

from types import SimpleNamespace

import pytest
import torch

from edu_diffusion.conditioning.lowres import double
from edu_diffusion.conditioning.masks import box
from edu_diffusion.data.captions import full_caption
from edu_diffusion.data.scenes import is_held_out, render
from edu_diffusion.zoo import measure_scenes, starts
from edu_diffusion.zoo.measure_scenes import around, asked, halves, psnr, real, recoloured


class Perfect:
    """Draws what it is asked for, by the renderer; and paints by drawing all and keeping what lies in the hole."""

    def __init__(self, scenes):
        self.known = {full_caption(scene): (scene, i) for i, scene in enumerate(scenes)}

    def paint(self, x0, mask, captions, generator, steps):
        asked = [self.known[text] for text in captions]
        scenes, index = zip(*asked, strict=True)
        return torch.where(mask, render(scenes, 32, index=index, split="test"), x0)


class Idle:
    """Changes nothing."""

    def paint(self, x0, mask, captions, generator, steps):
        return x0


class Untidy(Idle):
    """Changes a pixel that it should have kept."""

    def paint(self, x0, mask, captions, generator, steps):
        changed = x0.clone()
        changed[:, :, 0, 0] += 0.25
        return changed


def test_the_captions_are_those_of_the_scenes_and_the_pictures():
    captions, scenes = asked(6, only=1)
    assert len(captions) == len(scenes) == 6 and all(len(scene.things) == 1 for scene in scenes)
    assert torch.equal(real(6, only=1), render(scenes, 32, split="test"))
    chinese, same = asked(6, language="zh")
    assert same == asked(6)[1] and all(ord(text[0]) > 255 for text in chinese)
    assert all(map(is_held_out, asked(6, "held-out")[1]))


def test_recolouring_changes_the_colour_and_shows_nothing_held_out():
    _, scenes = asked(40, only=1)
    for i, scene in enumerate(scenes):
        other = recoloured(scene, i)
        assert other.things[0].colour != scene.things[0].colour and other.things[0].shape == scene.things[0].shape
        assert (other.place, other.ground) == (scene.place, scene.ground) and not is_held_out(other)


def test_a_hole_holds_the_whole_thing_and_not_the_whole_picture():
    x0 = real(30, only=1)
    mask = around(x0)
    differs = (x0 - x0[..., :1, :1]).abs().amax(1, keepdim=True) > 0.1
    assert not (differs & ~mask).any() and mask.flatten(1).float().mean(1).max() < 0.6
    exact = torch.zeros(1, 3, 16, 16)
    exact[..., 5:9, 6:8] = 1
    assert torch.equal(around(exact, 2), box((16, 16), 3, 4, 8, 6))


def test_half_a_hole_is_its_left_or_its_upper_half():
    whole = box((16, 16), 4, 2, 8, 6).expand(2, -1, -1, -1)
    assert torch.equal(halves(whole)[:1], box((16, 16), 4, 2, 8, 3))
    assert torch.equal(halves(whole)[1:], box((16, 16), 4, 2, 4, 6))


def test_painting_is_judged():
    _, scenes = asked(12, only=1)
    wanted = [recoloured(scene, i) for i, scene in enumerate(scenes)]
    perfect = measure_scenes.recolour(Perfect(wanted), samples=12) | measure_scenes.restore(Perfect(scenes), samples=12)
    assert perfect["colour"].value == perfect["recoloured"].value == perfect["restored"].value == 1
    assert perfect["outside"].value == 0 and perfect["seam"].value < 0.01 and perfect["hidden"].value < 0.01
    assert measure_scenes.recolour(Idle(), samples=12)["colour"].value == 0
    assert measure_scenes.recolour(Untidy(), samples=12)["outside"].value == pytest.approx(0.25)


def test_psnr_is_that_of_its_definition():
    x = torch.zeros(2, 3, 4, 4)
    assert psnr(x, x + 0.2) == pytest.approx(20.0)  # 10 log10(4 / 0.04)


def test_an_upsampler_stands_beside_bicubic():
    straight = SimpleNamespace(size=32, pictures=lambda small, generator, level: double(small))
    found = measure_scenes.measure_upsampler(straight, samples=20)
    assert found["psnr_0"].value == found["psnr_bilinear"].value < found["psnr_bicubic"].value
    assert found["whole"].value <= found["whole"].floor == pytest.approx(1, abs=0.06)


class TestGlide:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(measure_scenes, "REAL", 80)
        monkeypatch.setattr(measure_scenes, "features", lambda x: x[:, :, 16, ::4].flatten(1)[:, :8])
        measure_scenes.real_features.cache_clear()
        yield
        measure_scenes.real_features.cache_clear()

    def test_a_system_that_draws_real_scenes_scores_as_they_do(self, monkeypatch):
        def draws(system, captions, seed, **options):
            split = "held-out" if captions == asked(40, "held-out")[0] else "test"
            return real(40, split)

        monkeypatch.setattr(measure_scenes, "drawn", draws)
        found = measure_scenes.measure_glide(SimpleNamespace(), samples=40)
        assert found["whole"].value == found["whole"].floor > 0.9
        assert found["whole_zh"].value == found["whole"].value and found["whole_held"].value > 0.9
        assert found["nearest"].value == found["nearest"].floor > 0
        assert found["fd"].value < 3 * found["fd"].floor

    def test_a_system_that_draws_nothing_scores_nothing(self, monkeypatch):
        monkeypatch.setattr(
            measure_scenes, "drawn", lambda system, captions, seed: torch.zeros(len(captions), 3, 32, 32)
        )
        found = measure_scenes.measure_glide(SimpleNamespace(), samples=40)
        assert found["whole"].value == 0 and found["fd"].value > 3 * found["fd"].floor


def test_tuning_begins_at_the_trained_weights(monkeypatch):
    from edu_diffusion.systems.glide import Glide
    from edu_diffusion.zoo import loading

    torch.manual_seed(0)
    glide = Glide()
    monkeypatch.setattr(loading, "load", lambda name, device: glide)
    tuned = starts.tuned_to_inpaint()
    assert torch.equal(tuned.net.text.embed.weight, glide.net.text.embed.weight)
    assert tuned.net.spatial == 4 and tuned.net.unet.enter.weight[:, (3 + 8) * 4 :].abs().max() == 0


def test_glide_begins_with_the_text_tower_of_clip_and_learns_on(monkeypatch):
    from edu_diffusion.systems.clip import ClipRecipe
    from edu_diffusion.zoo import loading

    torch.manual_seed(0)
    clip = ClipRecipe()
    monkeypatch.setattr(loading, "load", lambda name, device: clip)
    net = starts.reading_as_clip().net
    assert net.learn_text and torch.equal(net.text.embed.weight, clip.net.text.embed.weight)
