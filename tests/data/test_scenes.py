import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
import torch

from edu_diffusion.data import Batches, words
from edu_diffusion.data.drawing import CANVAS, PAINT, REACH, _place, averaged, coverage, patches, placed
from edu_diffusion.data.scenes import (
    COLOURS,
    GROUNDS,
    HELD_OUT,
    PLACES,
    RELATIONS,
    SHAPES,
    Scene,
    Scenes,
    Thing,
    is_held_out,
    render,
    scene_of,
    scenes_checksum,
    swapped,
    with_swapped,
)

STAR, RING = Thing("star", "red", "small"), Thing("ring", "blue", "large")
PAIR = Scene((STAR, RING), "black", relation="above")
MANY = 1500


@cache
def many(split: str) -> list[Scene]:
    return [scene_of(i, 0, split) for i in range(MANY)]


def lengths(texts: list[str]) -> torch.Tensor:
    """Stands in for a tokenizer."""
    return torch.tensor([[len(text), ord(text[0])] for text in texts])


def kinds(scenes: list[Scene]) -> set[tuple[str, str]]:
    return {(thing.shape, thing.colour) for scene in scenes for thing in scene.things}


class TestWorld:
    def test_a_number_means_one_scene(self):
        assert [scene_of(i, 3) for i in range(50)] == [scene_of(i, 3) for i in range(50)]

    def test_another_process_draws_the_same(self):
        code = "from edu_diffusion.data import *; print([scene_of(i) for i in range(9)], scenes_checksum(), words())"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "7"}
        )
        assert run.stdout == f"{[scene_of(i) for i in range(9)]} {scenes_checksum()} {words()}\n"

    def test_seed_and_split_give_other_scenes(self):
        streams = [
            [scene_of(i, seed, split) for i in range(50)] for seed, split in ((0, "train"), (1, "train"), (0, "test"))
        ]
        for a, b in ((0, 1), (0, 2), (1, 2)):
            assert sum(one == other for one, other in zip(streams[a], streams[b], strict=True)) < 5

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_held_out_combinations_are_never_drawn(self, split):
        scenes = many(split)
        assert not kinds(scenes) & HELD_OUT.things
        assert not {frozenset(thing.shape for thing in scene.things) for scene in scenes} & HELD_OUT.pairs

    def test_all_else_is_drawn(self):
        scenes = many("train")
        assert len(kinds(scenes)) == 64 - len(HELD_OUT.things)
        pairs = {frozenset(thing.shape for thing in scene.things) for scene in scenes if scene.relation}
        assert len(pairs) == 36 - len(HELD_OUT.pairs)
        assert {scene.ground for scene in scenes} == set(GROUNDS)
        assert {scene.place for scene in scenes} == {*PLACES, None}
        assert {scene.relation for scene in scenes} == {*RELATIONS, None}

    def test_held_out_draws_nothing_else(self):
        scenes = [scene_of(i, 0, "held-out") for i in range(200)]
        assert all(map(is_held_out, scenes))
        singles = [scene for scene in scenes if scene.place]
        assert kinds(singles) == HELD_OUT.things
        shapes = {frozenset(thing.shape for thing in scene.things) for scene in scenes if scene.relation}
        assert shapes >= HELD_OUT.pairs

    def test_each_shape_and_each_colour_is_held_out_once(self):
        assert {shape for shape, _ in HELD_OUT.things} == set(SHAPES) == frozenset().union(*HELD_OUT.pairs)
        assert {colour for _, colour in HELD_OUT.things} == set(COLOURS)
        assert len(HELD_OUT.things) == 8 and len(HELD_OUT.pairs) == 4

    def test_test_has_the_distribution_of_train(self):
        counts = {}
        for split in ("train", "test"):
            scenes = many(split)
            counts[split] = Counter(
                name for scene in scenes for name in (scene.ground, scene.place, scene.things[0].size)
            )
        for name, n in counts["train"].items():
            assert abs(n - counts["test"][name]) < 5 * (2 * n) ** 0.5

    def test_two_things_are_never_told_apart_by_size_alone(self):
        pairs = [scene.things for scene in many("train") if scene.relation]
        assert all((a.shape, a.colour) != (b.shape, b.colour) for a, b in pairs)

    def test_the_number_of_things_can_be_fixed(self):
        assert all(len(scene_of(i, things=n).things) == n for n in (1, 2) for i in range(50))
        assert 0.4 < sum(len(scene_of(i).things) == 1 for i in range(400)) / 400 < 0.6

    def test_swapped_exchanges_the_things_and_nothing_else(self):
        other = swapped(PAIR)
        assert other.things == (RING, STAR) and other.relation == "above" and swapped(other) == PAIR
        with pytest.raises(ValueError, match="two things"):
            swapped(scene_of(0, things=1))

    @pytest.mark.parametrize(
        "made",
        [
            lambda: Thing("hexagon", "red"),
            lambda: Thing("star", "brown"),
            lambda: Thing("star", "red", "huge"),
            lambda: Scene((STAR,), "black"),
            lambda: Scene((STAR,), "pink", "left"),
            lambda: Scene((STAR,), "black", "left", "above"),
            lambda: Scene((STAR, RING), "black", "left"),
            lambda: Scene((STAR, RING), "black", relation="below"),
            lambda: Scene((), "black"),
            lambda: scene_of(-1),
            lambda: scene_of(0, 0, "valid"),
            lambda: scene_of(0, things=3),
        ],
    )
    def test_what_the_world_does_not_have_is_refused(self, made):
        with pytest.raises(ValueError):
            made()


class TestPictures:
    def test_pictures_follow_from_index_seed_and_split(self):
        scenes = [PAIR] * 3
        x = render(scenes, index=[5, 6, 7])
        assert x.equal(render(scenes, index=[5, 6, 7]))
        assert x[1].equal(render([PAIR], index=[6])[0]) and not x[0].equal(x[1])
        assert not x.equal(render(scenes, index=[5, 6, 7], seed=1))
        assert not x.equal(render(scenes, index=[5, 6, 7], split="test"))

    @pytest.mark.parametrize("size", [8, 16, 32])
    def test_small_pictures_are_area_averages(self, size):
        scenes = [scene_of(i) for i in range(40)]
        expected = render(scenes).reshape(40, 3, size, CANVAS // size, size, CANVAS // size).mean((3, 5))
        torch.testing.assert_close(render(scenes, size), expected)

    def test_pictures_are_in_range(self):
        x = render([scene_of(i) for i in range(200)])
        assert x.shape == (200, 3, 64, 64) and x.min() == -1 and x.max() == 1

    def test_nothing_leaves_the_picture(self):
        for i, extreme in enumerate((0.0, 0.999)):
            for thing in (Thing("star", "red", "large"), Thing("ring", "red", "small")):
                scenes = [Scene((thing,), "black", place) for place in PLACES]
                scenes += [Scene((thing, STAR), "black", relation=relation) for relation in RELATIONS]
                for _, _, _, x, y, radius in (row for scene in scenes for row in _place(scene, i, (extreme,) * 16)):
                    assert REACH * radius <= min(x, y) and max(x, y) <= 64 - REACH * radius

    def test_the_middle_of_a_thing_has_its_colour(self):
        for colour, paint in zip(COLOURS, PAINT, strict=True):
            x = render([Scene((Thing("square", colour, "large"),), "white", place="centre")])
            torch.testing.assert_close(x[0, :, 32, 32], paint)

    def test_edges_are_smooth(self):
        x = render([Scene((Thing("circle", "red", "large"),), "white", place="centre")])[0, 1]
        assert ((x > PAINT[0, 1] + 0.05) & (x < 0.95)).sum() > 20

    def test_two_things_never_touch(self):
        largest = [
            Scene((Thing(a, "red", "large"), Thing(b, "blue", "large")), "black", relation=relation)
            for a in SHAPES
            for b in SHAPES
            for relation in RELATIONS
        ]
        x = render(largest)
        first, second = x[:, 0] > x[:, 2], x[:, 0] < x[:, 2]
        for n, scene in enumerate(largest):
            axis = 0 if scene.relation == "left of" else 1
            assert first[n].any(axis)[:32].sum() == first[n].any(axis).sum() > 0
            assert second[n].any(axis)[32:].sum() == second[n].any(axis).sum() > 0

    @pytest.mark.parametrize("number", range(8))
    def test_shapes_keep_to_their_reach_and_weigh_alike(self, number):
        grid = torch.arange(-50, 50) + 0.5
        cover = coverage(torch.tensor([number]), grid[None], grid[None], torch.tensor([40.0]))[0]
        assert cover[:, grid.abs() > 40 * REACH + 0.5].sum() == 0 and cover[grid.abs() > 40 * REACH + 0.5].sum() == 0
        assert 1.7 < cover.sum() / 40**2 < 2.9

    def test_areas_are_those_of_geometry(self):
        grid = torch.arange(-50, 50) + 0.5
        r = 40.0
        area = dict(
            zip(
                SHAPES,
                coverage(torch.arange(8), *[grid.expand(8, -1)] * 2, torch.full((8,), r)).sum((1, 2)),
                strict=True,
            )
        )
        exact = {
            "circle": torch.pi * 0.93**2,
            "square": 1.66**2,
            "triangle": 1.1 * 1.9,
            "star": 5 * 1.15 * 0.54 * torch.sin(torch.tensor(torch.pi / 5)),
            "heart": 2 * 0.86**2 + torch.pi * 0.86**2 / 2,
            "ring": torch.pi * (1.02**2 - 0.5**2),
            "cross": 2 * 2 * 0.68 - 0.68**2,
            "diamond": 2 * 0.86 * 1.1,
        }
        for shape, expected in exact.items():
            assert area[shape] / r**2 == pytest.approx(float(expected), rel=0.005), shape

    def test_a_patch_holds_the_whole_thing(self):
        rows = [(0, 0, 0, x, y, 14.0) for x in (15.5, 20.2, 32.0, 48.5) for y in (15.5, 33.3, 48.5)]
        corner, cover = patches(placed(rows))
        assert (corner % 4 == 0).all() and corner.min() >= 0 and corner.max() <= 28
        torch.testing.assert_close(
            cover.sum((1, 2)), torch.full((12,), torch.pi * (0.93 * 14) ** 2), rtol=0.002, atol=0
        )

    def test_colours_and_grounds_are_far_apart(self):
        points = torch.cat([PAINT, torch.tensor([[-1.0], [0.0], [1.0]]).expand(-1, 3)])
        assert torch.pdist(points).min() > 0.9

    def test_bad_sizes_and_indices_are_refused(self):
        for size in (0, 48, 128):
            with pytest.raises(ValueError, match="size"):
                render([PAIR], size)
        with pytest.raises(ValueError, match="index"):
            render([PAIR], index=[1, 2])
        with pytest.raises(ValueError, match="averaged"):
            averaged(torch.zeros(1, 3, 32, 32), 64)

    def test_no_scenes_are_no_pictures(self):
        assert render([], 16).shape == (0, 3, 16, 16)


class TestScenes:
    def test_a_batch_has_pictures_and_token_numbers(self):
        data = Scenes(lengths, size=32, count=100)
        batch = next(Batches(data, 10, seed=0))
        assert batch.x.shape == (10, 3, 32, 32) and batch.y.shape == (10, 2) and batch.y.dtype == torch.int64

    def test_an_example_does_not_depend_on_its_batch(self):
        data = Scenes(lengths, size=16, count=100)
        batch = data[torch.tensor([4, 50, 9])]
        assert batch.x[1].equal(data[torch.tensor([50])].x[0]) and batch.y[1].equal(data[torch.tensor([50])].y[0])

    def test_both_languages_come_by_half(self):
        captions = Scenes(lengths).captions(range(400))
        assert 150 < sum(text.isascii() for text in captions) < 250
        for language, english in (("en", True), ("zh", False)):
            captions = Scenes(lengths, language=language).captions(range(50))
            assert all(text.isascii() == english for text in captions)

    def test_only_one_or_two_things(self):
        for n in (1, 2):
            assert all(len(scene.things) == n for scene in Scenes(lengths, only=n).scenes(range(50)))

    def test_splits_and_seeds_have_other_pictures(self):
        index = torch.arange(20)
        first = Scenes(lengths, size=16)[index].x
        assert not first.equal(Scenes(lengths, size=16, split="test")[index].x)
        assert not first.equal(Scenes(lengths, size=16, seed=1)[index].x)

    def test_captioned_pictures_are_never_mirrored(self):
        for data in (Scenes(lengths), with_swapped(Scenes(lengths))):
            with pytest.raises(ValueError, match="flipped"):
                Batches(data, 4, seed=0, flip=True)

    def test_numbers_out_of_range_are_refused(self):
        data = Scenes(lengths, count=10)
        for index in ([10], [-1]):
            with pytest.raises(IndexError):
                data.scenes(index)

    @pytest.mark.parametrize(
        "options", [{"split": "valid"}, {"size": 48}, {"count": 0}, {"language": "fr"}, {"only": 3}]
    )
    def test_bad_options_are_refused(self, options):
        with pytest.raises(ValueError):
            Scenes(lengths, **options)


class TestSwapped:
    def test_the_last_quarter_holds_swapped_pairs(self):
        data = Scenes(lengths, size=16, only=2)
        index = torch.arange(16)
        plain, hard = data[index], with_swapped(data)[index]
        assert hard.x[:12].equal(plain.x[:12]) and hard.y[:12].equal(plain.y[:12])
        scenes = [swapped(scene) for scene in data.scenes(index[:4])]
        assert hard.x[12:].equal(data.pictures(index[:4], scenes))
        assert hard.y[12:].equal(lengths(data.captions(index[:4], scenes)))

    def test_captions_of_a_swapped_pair_have_the_same_words(self):
        data = Scenes(lengths, only=2, language="en")
        either = {"an": "a", "little": "size", "small": "size", "big": "size", "large": "size"}
        for i, scene in enumerate(data.scenes(range(50))):
            texts = data.captions([i, i], [scene, swapped(scene)])
            words = [Counter(either.get(word, word) for word in text.split()) for text in texts]
            assert texts[0] != texts[1] and words[0] == words[1]

    def test_scenes_of_one_thing_stay(self):
        data, index = Scenes(lengths, size=16, only=1), torch.arange(16)
        assert with_swapped(data)[index].x.equal(data[index].x) and len(with_swapped(data)) == len(data)

    def test_the_share_is_at_most_half(self):
        with pytest.raises(ValueError, match="share"):
            with_swapped(Scenes(lengths), 0.6)
