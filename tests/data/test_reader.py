from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from edu_diffusion.data.captions import Wanted, caption, full_caption
from edu_diffusion.data.drawing import PAINT, averaged, paint, placed
from edu_diffusion.data.reader import Reading, agreement, caption_accuracy, read_scene, read_scenes
from edu_diffusion.data.scenes import render
from edu_diffusion.data.world import COLOURS, GROUNDS, PLACES, SHAPES, SIZES, Scene, Thing, scene_of, swapped

N = 200
SCENES = [scene_of(i, 0, "test") for i in range(N)]
LARGE = render(SCENES, split="test")
STAR, RING = Thing("star", "red", "small"), Thing("ring", "blue", "large")


def noisy(x: torch.Tensor, std: float) -> torch.Tensor:
    return x + std * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def read(*things: Thing, ground="black", place=None, relation=None) -> Reading:
    return Reading(things, ground, place, relation, ((32.0, 32.0),) * len(things), (1.0,) * len(things))


class TestReading:
    @pytest.mark.parametrize("size", [64, 32, 16])
    def test_whole_scenes_are_read_from_clean_pictures(self, size):
        found = caption_accuracy(SCENES, averaged(LARGE, size))
        assert found.whole >= 0.99 and found.one >= 0.99 and found.two >= 0.99

    @pytest.mark.parametrize("std", [0.05, 0.1])
    @pytest.mark.parametrize("size", [32, 16])
    def test_some_noise_does_no_harm(self, size, std):
        assert caption_accuracy(SCENES, noisy(averaged(LARGE, size), std)).whole >= 0.99

    def test_a_blurred_picture_is_still_read(self):
        small = averaged(LARGE, 32)
        blurred = F.interpolate(averaged(small, 16), size=32, mode="bilinear", align_corners=False)
        assert caption_accuracy(SCENES, blurred).whole >= 0.98

    def test_every_kind_of_scene_is_read(self):
        kinds = [
            Scene((Thing(shape, "cyan", size),), ground, place=place)
            for shape in SHAPES
            for size in SIZES
            for place in PLACES
            for ground in GROUNDS
        ]
        assert caption_accuracy(kinds, render(kinds, 32)).whole == 1

    def test_colours_may_be_duller(self):
        assert caption_accuracy(SCENES, averaged(LARGE, 32) * 0.85).whole >= 0.98

    def test_centres_are_right(self):
        rows = [(n, n % 8, n % 8, 20.0 + n, 40.0 - n / 2, 9.5) for n in range(24)]
        pictures = paint(placed(rows), torch.zeros(24, dtype=torch.int64), 32)
        for reading, row in zip(read_scenes(pictures), rows, strict=True):
            assert reading.centres[0] == pytest.approx(row[3:5], abs=1.0)

    def test_an_empty_picture_has_no_things(self):
        for level, ground in zip((-1.0, 0.0, 1.0), GROUNDS, strict=True):
            reading = read_scene(torch.full((3, 32, 32), level))
            assert reading.things == () and reading.ground == ground and reading.place is reading.relation is None

    def test_noise_alone_has_no_things(self):
        assert not any(reading.things for reading in read_scenes(noisy(torch.zeros(20, 3, 32, 32), 0.2)))

    def test_a_picture_all_in_one_colour_fits_badly(self):
        flat = PAINT[:, :, None, None].expand(-1, -1, 32, 32)
        for x in (flat, noisy(flat, 0.05)):
            assert all(max(reading.fit, default=0) < 0.8 for reading in read_scenes(x))
            assert caption_accuracy([f"a {colour} square" for colour in COLOURS], x).kinds["number"] < 0.5

    def test_a_picture_does_not_depend_on_its_neighbours(self):
        x = averaged(LARGE[:70], 16)
        assert read_scene(x[66]).things == read_scenes(x)[66].things

    def test_how_well_things_fit_is_told(self):
        clean, dull = read_scenes(torch.stack([LARGE[0], LARGE[0] * 0.75 + 0.25]))
        assert clean.things == dull.things and clean.ground == dull.ground == "white"
        assert all(fit > 0.95 for fit in clean.fit) and max(dull.fit) < 0.8

    def test_bad_pictures_are_refused(self):
        for bad in (torch.zeros(1, 3, 28, 28), torch.full((1, 3, 32, 32), torch.nan)):
            with pytest.raises(ValueError, match="reader reads"):
                read_scenes(bad)


class TestAccuracy:
    def test_captions_in_both_languages_are_right_of_their_pictures(self):
        for language in ("en", "zh"):
            texts = [caption(scene, i, language) for i, scene in enumerate(SCENES)]
            found = caption_accuracy(texts, averaged(LARGE, 32))
            assert found.whole == found.attributes == 1 and found.right.all()

    def test_what_a_caption_leaves_out_does_not_count(self):
        picture = render([Scene((STAR,), "black", place="left")], 32)
        assert caption_accuracy(["a red star"], picture).whole == 1
        assert caption_accuracy(["a large red star"], picture).whole == 0
        assert caption_accuracy(["a red star on the right"], picture).whole == 0

    def test_shares_are_counted_by_hand(self):
        pictures = render([Scene((STAR,), "black", place="left")] * 2, 32)
        found = caption_accuracy(["a red star", "a blue star on the left on white"], pictures)
        # number, shape, colour; and number, ground, place, shape, colour, of which ground and colour are wrong
        assert found.attributes == 6 / 8 and found.whole == found.one == 0.5 and found.two != found.two
        assert found.kinds == {"number": 1, "shape": 1, "colour": 0.5, "ground": 0, "place": 1}
        assert found.right.tolist() == [True, False]

    def test_swapped_things_are_wrong_in_the_relation_only(self):
        scene = Scene((STAR, RING), "black", relation="above")
        found = caption_accuracy([full_caption(swapped(scene))], render([scene], 32))
        assert found.two == 0 and found.kinds["relation"] == 0 and found.kinds["shape"] == found.kinds["colour"] == 1

    def test_colours_bound_to_the_wrong_things_are_wrong(self):
        asked = Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="above")
        found = read(replace(STAR, colour="blue"), replace(RING, colour="red"), relation="above")
        checks = agreement(asked, found)
        assert ("relation", True) in checks and checks.count(("colour", False)) == 2

    def test_a_missing_or_an_additional_thing_is_wrong(self):
        two = Wanted((Thing("star", "red"), Thing("ring", "blue")), relation="above")
        checks = agreement(two, read(RING, place="centre"))
        assert ("number", False) in checks and ("shape", True) in checks and ("shape", False) in checks
        checks = agreement(Wanted((Thing("star", "red"),)), read(RING, STAR, relation="above"))
        assert checks == [("number", False), ("shape", True), ("colour", True)]
        assert not any(ok for _, ok in agreement(two, read()))

    def test_bad_input_is_refused(self):
        picture = render([SCENES[0]], 32)
        for captions in ([], ["a red star", "a red star"]):
            with pytest.raises(ValueError, match="needs one caption"):
                caption_accuracy(captions, picture)
        with pytest.raises(ValueError, match="cannot make out"):
            caption_accuracy(["a red dog"], picture)
