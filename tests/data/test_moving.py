import pytest
import torch

from edu_diffusion.data.grammar import is_chinese
from edu_diffusion.data.moving import (
    DIRECTIONS,
    FRAMES,
    SPEEDS,
    Motion,
    motion_caption,
    motion_meaning,
    motion_of,
    motion_words,
    read_motion,
    read_motions,
    render_films,
    split_motion_words,
)
from edu_diffusion.data.world import HELD_OUT, SHAPES, Thing

MOTIONS = [motion_of(i) for i in range(150)]
STAR = Motion(Thing("star", "red", "large"), "black", "left", "fast")


def test_a_number_means_one_motion():
    assert MOTIONS[:20] == [motion_of(i) for i in range(20)] != [motion_of(i, 1) for i in range(20)]
    assert MOTIONS[:20] != [motion_of(i, 0, "test") for i in range(20)]
    assert {motion.direction for motion in MOTIONS} == set(DIRECTIONS)
    assert {motion.speed for motion in MOTIONS} == set(SPEEDS)


def test_held_out_things_move_in_their_own_split_only():
    for split, expected in (("train", False), ("test", False), ("held-out", True)):
        things = [motion_of(i, 0, split).thing for i in range(150)]
        assert all(((thing.shape, thing.colour) in HELD_OUT.things) == expected for thing in things)


def test_films_follow_from_index_seed_and_split():
    films = render_films([STAR] * 2, 16, index=[3, 4])
    assert films.shape == (2, FRAMES, 3, 16, 16) and films.min() == -1 and films.max() <= 1
    assert films.equal(render_films([STAR] * 2, 16, index=[3, 4])) and not films[0].equal(films[1])
    assert films[1:].equal(render_films([STAR], 16, index=[4]))
    assert not films.equal(render_films([STAR] * 2, 16, index=[3, 4], seed=1))


def test_nothing_leaves_the_picture():
    motions = [
        Motion(Thing(shape, "red", size), "white", direction, "fast")
        for shape in SHAPES
        for size in ("small", "large")
        for direction in DIRECTIONS
    ]
    films = render_films(motions, 64)
    cover = (1 - films[:, :, 1]).sum(dim=(2, 3))
    assert (cover.amax(1) / cover.amin(1) < 1.03).all()  # all of it is there all the time


@pytest.mark.parametrize("size", [32, 16])
def test_motions_are_read_from_films(size):
    motions = MOTIONS[:40]
    assert read_motions(render_films(motions, size)) == motions


def test_motions_are_read_through_noise_and_from_few_frames():
    motions = MOTIONS[:12]
    films = render_films(motions)
    films = films + 0.1 * torch.randn(films.shape, generator=torch.Generator().manual_seed(0))
    assert read_motions(films) == motions
    assert read_motions(render_films(motions, frames=3)) == motions


def test_a_film_backwards_goes_the_other_way():
    film = render_films([STAR])[0]
    assert read_motion(film) == STAR and read_motion(film.flip(0)).direction == "right"


def test_what_cannot_be_told_is_none():
    still = render_films([STAR])[0, :1].expand(FRAMES, -1, -1, -1)
    assert read_motion(still) == Motion(STAR.thing, "black", None, None)
    assert read_motion(torch.zeros(FRAMES, 3, 32, 32)) == Motion(None, "grey", None, None)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_are_understood(language):
    left_out = 0
    for i, motion in enumerate(MOTIONS):
        assert motion_meaning(motion_caption(motion, i, language, full=True)) == motion
        text = motion_caption(motion, i, language)
        found = motion_meaning(text)
        for name in ("ground", "direction", "speed"):
            assert getattr(found, name) in (None, getattr(motion, name))
        assert (found.thing.shape, found.thing.colour) == (motion.thing.shape, motion.thing.colour)
        assert set(split_motion_words(text)) <= set(motion_words()) and is_chinese(text) == (language == "zh")
        left_out += found.speed is None
    assert 30 < left_out < 100


@pytest.mark.parametrize("text", ["a red star", "a red star moves", "a red star moves inwards", "一颗红色的星星"])
def test_what_is_no_wording_is_refused(text):
    with pytest.raises(ValueError, match="cannot make out"):
        motion_meaning(text)


def test_bad_input_is_refused():
    for call in (
        lambda: render_films([STAR], frames=1),
        lambda: render_films([STAR], frames=9),
        lambda: render_films([STAR], index=[0, 1]),
        lambda: render_films([STAR], 48),
        lambda: motion_of(0, 0, "valid"),
        lambda: Motion(STAR.thing, "black", "inwards", "fast"),
        lambda: motion_caption(STAR, 0, "fr"),
    ):
        with pytest.raises(ValueError):
            call()
