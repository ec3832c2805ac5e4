"""The codebook: choosing, learning by running means or by gradient, dead codes, and several processes as one."""

import math
import threading
from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.nets.codebook import Codebook, frequency, normal_levels, perplexity, straight_through, used
from edu_diffusion.training import Ema, adamw
from edu_diffusion.types import Rng


def normal(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def codebook(size=8, width=4, **options) -> Codebook:
    torch.manual_seed(0)
    return Codebook(size, width, **options)


class TestChoosing:
    def test_the_nearest_is_the_nearest(self):
        book, z = codebook(20, 4), normal(2, 7, 7, 4, seed=1)
        assert book.nearest(z).equal(torch.cdist(z.flatten(0, 2), book.vectors).argmin(1).view(2, 7, 7))

    def test_a_long_vector_is_not_chosen_for_its_length(self):
        """What the scalar product alone would choose."""
        book = codebook(2, 2)
        book.vectors.data = torch.tensor([[1.0, 0.0], [9.0, 0.0]])
        assert book.nearest(torch.tensor([[1.5, 0.0]])).tolist() == [0]

    def test_a_vector_of_the_codebook_is_its_own_nearest(self):
        book = codebook(16, 3)
        assert book.nearest(book.vectors).equal(torch.arange(16)) and book(torch.tensor([3])).equal(book.vectors[3:4])

    def test_autocast_does_not_change_the_choice(self):
        book, z = codebook(256, 16), normal(500, 16, seed=1)
        with torch.autocast("cpu", torch.bfloat16):
            inside = book.nearest(z)
        assert inside.equal(book.nearest(z))
        half = (book.vectors.square().sum(1).bfloat16() - 2 * z.bfloat16() @ book.vectors.bfloat16().T).argmin(1)
        assert not inside.equal(half)  # it would

    @pytest.mark.parametrize("wrong", [{"size": 1}, {"decay": 1.0}, {"dead": -0.1}])
    def test_senseless_settings_are_refused(self, wrong):
        with pytest.raises(ValueError, match="at least 2 codes"):
            Codebook(**wrong)


class TestStraightThrough:
    def test_value_of_e_gradient_of_z(self):
        z, e = normal(3, 2).requires_grad_(), normal(3, 2, seed=1).requires_grad_()
        out = straight_through(z, e)
        torch.testing.assert_close(out, e)
        out.backward(normal(3, 2, seed=2))
        assert z.grad.equal(normal(3, 2, seed=2)) and e.grad is None


class TestRunningMeans:
    def test_with_no_memory_a_vector_is_the_mean_of_what_chose_it(self):
        book, z = codebook(decay=0.0, dead=0.0), normal(50, 4, seed=1)
        codes = book.nearest(z)
        before = book.vectors.clone()
        book.follow(z, codes, Rng(0))
        for k in range(8):
            expected = z[codes == k].mean(0) if (codes == k).any() else before[k]
            torch.testing.assert_close(book.vectors[k].detach(), expected)

    def test_two_batches_by_hand(self):
        book = codebook(2, 1, decay=0.9, dead=0.0)
        book.follow(torch.tensor([[1.0], [1.0], [5.0]]), torch.tensor([0, 0, 1]), Rng(0))
        book.follow(torch.tensor([[2.0], [7.0], [7.0]]), torch.tensor([0, 1, 1]), Rng(0))
        # N_0: 0.9 (0.1 2) + 0.1 1, m_0: 0.9 (0.1 2) + 0.1 2; the batch's size 3 cancels.
        torch.testing.assert_close(book.vectors[0].item(), (0.18 + 0.2) / (0.18 + 0.1))
        torch.testing.assert_close(book.vectors[1].item(), (0.09 * 5 + 0.1 * 14) / (0.09 + 0.2))
        torch.testing.assert_close(book.share, torch.tensor([0.28, 0.29]) / 3)

    def test_a_code_that_nothing_chooses_stays_where_it_is(self):
        book = codebook(2, 1, decay=0.5, dead=0.0)
        book.follow(torch.tensor([[1.0], [100.0]]), torch.tensor([0, 1]), Rng(0))
        for _ in range(200):  # its share and its sum fall to 0, and 0 / 0 is no number
            book.follow(torch.ones(4, 1), torch.zeros(4, dtype=torch.long), Rng(0))
        assert book.vectors[:, 0].tolist() == pytest.approx([1.0, 100.0], rel=1e-3)

    def test_no_gradient_moves_it_and_no_optimiser(self):
        book = codebook()
        assert not book.vectors.requires_grad and codebook(by_gradient=True).vectors.requires_grad
        optimiser, before = adamw([*book.parameters(), torch.nn.Parameter(torch.ones(1))], decay=0.1), book.vectors + 0
        optimiser.step(0.0)
        assert book.vectors.equal(before)

    def test_by_gradient_it_only_counts(self):
        book, z = codebook(by_gradient=True, dead=0.0), normal(50, 4, seed=1)
        before = book.vectors.detach().clone()
        book.follow(z, book.nearest(z), Rng(0))
        assert book.vectors.equal(before) and book.share.sum().item() == pytest.approx(0.01)


class TestDeadCodes:
    def test_the_first_batch_places_the_codes(self):
        book, z = codebook(8, 4), 50 + normal(100, 4, seed=1)
        book.follow(z, book.nearest(z), Rng(0))
        apart = torch.cdist(book.vectors, z).min(1).values
        assert (apart < 1e-3).sum() >= 7  # the one that was nearest to all of them is their mean instead
        assert used(book.nearest(z), 8) == 1

    def test_a_dead_code_goes_where_the_error_is(self):
        book = codebook(3, 1, decay=0.0)
        book.vectors.data = torch.tensor([[0.0], [10.0], [999.0]])
        z = torch.tensor([[0.0]] * 50 + [[10.0]] * 49 + [[30.0]])
        # Without memory the second moves to the mean of what chose it, 10.4: the far point has nearly all of the error.
        book.follow(z, book.nearest(z), Rng(0))
        assert book.vectors[2].item() == 30.0 and book.share[2].item() == pytest.approx(1 / 3)

    def test_no_vector_is_taken_twice(self):
        book, z = codebook(6, 2), normal(6, 2, seed=3)
        book.follow(z, torch.zeros(6, dtype=torch.long), Rng(0))
        taken = torch.cdist(book.vectors, z).argmin(1)[1:]
        assert len(taken.unique()) == 5

    def test_with_fewer_vectors_than_dead_codes(self):
        book = codebook(8, 2)
        book.follow(normal(3, 2, seed=4), torch.zeros(3, dtype=torch.long), Rng(0))
        assert book.vectors.isfinite().all()

    def test_by_gradient_they_are_moved_as_well(self):
        book, z = codebook(8, 4, by_gradient=True), 50 + normal(100, 4, seed=1)
        book.follow(z, book.nearest(z), Rng(0))
        assert (torch.cdist(book.vectors, z).min(1).values < 1e-3).sum() >= 7 and book.vectors.requires_grad

    def test_without_it_codes_that_start_far_away_are_never_used(self):
        lost, found = codebook(8, 2, dead=0.0), codebook(8, 2)
        for book in (lost, found):
            book.vectors.data[4:] += 100
            for step in range(400):
                z = normal(64, 2, seed=step)
                book.follow(z, book.nearest(z), Rng(step))
        z = normal(1000, 2, seed=999)
        assert used(lost.nearest(z), 8) == 0.5 and used(found.nearest(z), 8) == 1


class TestKeeping:
    def test_the_moving_average_of_weights_holds_vectors_and_counts(self):
        """Vectors are averaged like all weights; counts are the last ones."""
        book, vectors = codebook(), []
        ema = Ema(book, 0.5)
        for step in range(3):
            z = normal(200, 4, seed=step)
            book.follow(z, book.nearest(z), Rng(step))
            vectors.append(book.vectors.detach().clone())
            ema.update(book)
        averaged = vectors[0].lerp(vectors[1], 1 - 2 / 11).lerp(vectors[2], 1 - 3 / 12)
        torch.testing.assert_close(ema.module.vectors, averaged, check_stride=False)
        assert ema.module.share.equal(book.share) and not ema.module.vectors.equal(book.vectors)

    def test_a_restored_one_goes_on_as_if_nothing_had_been(self):
        book, rng = codebook(), Rng(0)

        def go_on(book, rng):
            for step in range(5):
                z = normal(40, 4, seed=100 + step)
                book.follow(z, book.nearest(z), rng)
            return book.vectors

        for step in range(5):
            z = normal(40, 4, seed=step)
            book.follow(z, book.nearest(z), rng)
        other, other_rng = codebook(), Rng(9)
        other.load_state_dict(deepcopy(book.state_dict()))
        other_rng.load_state_dict(rng.state_dict())
        assert go_on(other, other_rng).equal(go_on(book, rng))


class Together:
    """Rngs of several processes, here threads, that put together what they hold as `torch.distributed` would."""

    def __init__(self, world: int):
        self.barrier, self.parts = threading.Barrier(world), [None] * world

    def rng(self, rank: int) -> Rng:
        rng = Rng(0, rank, len(self.parts))
        rng.whole = lambda mine: self.whole(rank, mine)
        return rng

    def whole(self, rank: int, mine: torch.Tensor) -> torch.Tensor:
        self.parts[rank] = mine
        self.barrier.wait(10)
        everything = torch.cat(self.parts)
        self.barrier.wait(10)
        return everything


@pytest.mark.parametrize("by_gradient", [False, True])
def test_two_processes_learn_what_one_would(by_gradient):
    alone, pair, together = codebook(by_gradient=by_gradient), [codebook(by_gradient=by_gradient) for _ in "ab"], None
    batches = [normal(40, 4, seed=step) for step in range(6)]
    rng = Rng(0)
    for z in batches:
        alone.follow(z, alone.nearest(z), rng)
    together = Together(2)

    def process(rank):
        rng, book = together.rng(rank), pair[rank]
        for z in batches:
            mine = z.chunk(2)[rank]
            book.follow(mine, book.nearest(mine), rng)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pair[0].vectors.equal(pair[1].vectors) and pair[0].share.equal(pair[1].share)
    torch.testing.assert_close(pair[0].vectors, alone.vectors)
    torch.testing.assert_close(pair[0].share, alone.share)


class TestCounting:
    def test_perplexity_counts_the_codes_in_use(self):
        assert perplexity(torch.arange(16).repeat(3), 16).item() == pytest.approx(16)
        assert perplexity(torch.arange(4).repeat(3), 16).item() == pytest.approx(4)
        assert perplexity(torch.zeros(9, dtype=torch.long), 16).item() == pytest.approx(1)

    def test_perplexity_of_uneven_codes(self):
        codes = torch.tensor([0, 0, 0, 1])
        entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
        assert perplexity(codes, 8).item() == pytest.approx(2**entropy)

    def test_use_and_frequency(self):
        codes = torch.tensor([[0, 2], [2, 2]])
        assert used(codes, 4) == 0.5 and frequency(codes, 4).tolist() == [0.25, 0, 0.75, 0]


class TestNormalLevels:
    """Max 1960, table I."""

    @pytest.mark.parametrize(
        ("count", "error", "outermost"), [(2, 0.3634, 0.7980), (4, 0.1175, 1.510), (8, 0.03454, 2.152)]
    )
    def test_they_are_those_of_the_table(self, count, error, outermost):
        levels, left = normal_levels(count)
        assert left == pytest.approx(error, rel=5e-4) and levels[-1].item() == pytest.approx(outermost, rel=5e-4)
        torch.testing.assert_close(levels, -levels.flip(0))

    def test_two_levels_in_closed_form(self):
        levels, left = normal_levels(2)
        assert left == pytest.approx(1 - 2 / math.pi) and levels[1].item() == pytest.approx(math.sqrt(2 / math.pi))

    def test_one_level_is_the_mean(self):
        levels, left = normal_levels(1)
        assert levels.tolist() == [0] and left == 1
        with pytest.raises(ValueError, match="at least 1 level"):
            normal_levels(0)

    @pytest.mark.parametrize("by_gradient", [False, True])
    def test_a_learned_codebook_finds_them(self, by_gradient):
        best, left = normal_levels(4)
        book, rng = codebook(4, 1, by_gradient=by_gradient, decay=0.9), Rng(0)
        optimiser = torch.optim.Adam(book.parameters(), lr=2e-2) if by_gradient else None
        for step in range(600):
            z = normal(512, 1, seed=step)
            codes = book.nearest(z)
            if optimiser is not None:
                F.mse_loss(book(codes), z).backward()
                optimiser.step()
                optimiser.zero_grad()
            book.follow(z, codes, rng)
        z = normal(100_000, 1, seed=9999)
        error = (z - book(book.nearest(z))).square().mean().item()
        assert error == pytest.approx(left, rel=0.02)
        torch.testing.assert_close(book.vectors.detach()[:, 0].sort().values.double(), best, atol=0.1, rtol=0)
