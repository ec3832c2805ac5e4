import pytest
import torch

from edu_diffusion.data import Batches, fashion
from edu_diffusion.types import Batch

NUMBERS = torch.arange(10, dtype=torch.float32)[:, None]


def take(batches: Batches, n: int) -> list[Batch]:
    return [next(batches) for _ in range(n)]


def test_an_epoch_shows_every_example_once():
    seen = torch.cat([batch.x for batch in take(Batches(NUMBERS, 5, seed=0), 2)])
    assert seen.flatten().sort().values.equal(NUMBERS.flatten())


def test_each_epoch_has_another_order():
    first, second = take(Batches(NUMBERS, 10, seed=0), 2)
    assert not first.x.equal(second.x) and first.x.sort(0).values.equal(second.x.sort(0).values)


def test_a_short_rest_is_left_out_and_batches_never_end():
    batches = Batches(NUMBERS, 4, seed=0)
    assert [len(batch) for batch in take(batches, 7)] == [4] * 7
    assert batches.epoch == 3


def test_the_seed_decides_the_order():
    one, same, other = (next(Batches(NUMBERS, 10, seed=seed)).x for seed in (1, 1, 2))
    assert one.equal(same) and not one.equal(other)


def test_the_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = next(Batches(NUMBERS, 10, seed=1)).x
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(7)
    assert next(Batches(NUMBERS, 10, seed=1)).x.equal(one)


def test_labels_stay_with_their_examples():
    batch = next(Batches(Batch(NUMBERS, torch.arange(10)), 6, seed=0))
    assert batch.x.flatten().equal(batch.y.float())


def test_without_labels_y_is_none():
    assert next(Batches(NUMBERS, 6, seed=0)).y is None


def test_pictures_come_from_the_bundled_data():
    data = fashion("test")
    batch = next(Batches(data, 6, seed=0))
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:6]
    assert batch.x.equal(data.x[order]) and batch.y.equal(data.y[order])


def test_flip_mirrors_about_half_left_to_right():
    picture = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]).expand(1000, 1, 2, 2)
    x = next(Batches(picture, 1000, seed=0, flip=True)).x
    mirrored = (x == picture.flip(-1)).flatten(1).all(1)
    assert ((x == picture).flatten(1).all(1) | mirrored).all()
    assert 400 < mirrored.sum() < 600


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_see_what_one_sees(world):
    picture = torch.randn(20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    alone = take(Batches(picture, 8, seed=3, flip=True), 5)
    parts = [take(Batches(picture, 8, seed=3, flip=True, rank=rank, world=world), 5) for rank in range(world)]
    for step, batch in enumerate(alone):
        assert torch.cat([part[step].x for part in parts]).equal(batch.x)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_resuming_continues_bit_for_bit(steps):
    picture = torch.randn(20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    first = Batches(picture, 8, seed=3, flip=True)
    take(first, steps)
    resumed = Batches(picture, 8, seed=99, flip=True)
    resumed.load_state_dict(first.state_dict())
    for expected, found in zip(take(first, 6), take(resumed, 6), strict=True):
        assert found.x.equal(expected.x)
    assert resumed.epoch == first.epoch


def test_one_state_serves_any_number_of_processes():
    alone, other = Batches(NUMBERS, 4, seed=3), Batches(NUMBERS, 4, seed=0, rank=1, world=2)
    take(alone, 3)
    other.load_state_dict(alone.state_dict())
    assert next(other).x.equal(next(alone).x[2:])


def test_a_saved_state_does_not_move_on():
    batches = Batches(NUMBERS, 5, seed=0)
    state = batches.state_dict()
    first = take(batches, 4)
    batches.load_state_dict(state)
    assert all(a.x.equal(b.x) for a, b in zip(first, take(batches, 4), strict=True))


def test_the_state_survives_a_weights_only_file(tmp_path):
    batches = Batches(NUMBERS, 4, seed=0)
    take(batches, 3)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    again = Batches(NUMBERS, 4, seed=5)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert next(again).x.equal(next(batches).x)


@pytest.mark.parametrize("other", [Batches(NUMBERS, 5, seed=0), Batches(NUMBERS[:9], 4, seed=0)])
def test_a_state_of_other_batches_is_refused(other):
    with pytest.raises(ValueError, match="saved with"):
        other.load_state_dict(Batches(NUMBERS, 4, seed=0).state_dict())


@pytest.mark.parametrize(
    ("size", "rank", "world", "message"),
    [(0, 0, 1, "1..10"), (11, 0, 1, "1..10"), (5, 0, 2, "evenly"), (4, 2, 2, "rank"), (4, 0, 0, "evenly")],
)
def test_bad_settings_are_refused(size, rank, world, message):
    with pytest.raises(ValueError, match=message):
        Batches(NUMBERS, size, seed=0, rank=rank, world=world)


def test_labels_of_another_length_are_refused():
    batch = Batch(NUMBERS, torch.arange(10))
    object.__setattr__(batch, "y", torch.arange(9))  # the tests' shape check would stop Batch(...) itself
    with pytest.raises(ValueError, match="same length"):
        Batches(batch, 2, seed=0)
