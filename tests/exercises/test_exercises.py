"""Every exercise accepts its own solution and names every listed mistake."""

from functools import partial

import pytest
import torch

from edu_diffusion.diffusion import V, linear
from edu_diffusion.exercises import ALL, Exercise, Mistake, Reply, exercise

EVERY_MISTAKE = [(one, mistake) for one in ALL.values() for mistake in one.mistakes]


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
class TestEveryExercise:
    def test_its_solution_is_right(self, one):
        assert one.check(one.answer).right

    def test_it_has_something_to_say(self, one):
        assert one.question and one.hint() and one.solution()
        assert one.mistakes, "an exercise knows at least one usual wrong answer"

    def test_its_messages_differ(self, one):
        assert len({mistake.message for mistake in one.mistakes}) == len(one.mistakes)


@pytest.mark.parametrize(("one", "mistake"), EVERY_MISTAKE, ids=lambda value: getattr(value, "name", None))
def test_every_mistake_is_recognised(one, mistake):
    reply = one.check(mistake.answer)
    assert not reply.right
    assert reply.text == mistake.message


def test_an_answer_that_raises_is_told_so():
    one = Exercise("x.y", "?", "clue", lambda a: a + 1, [Mistake("off", lambda a: a)], lambda: [(1,)])
    reply = one.check(lambda a: a / 0)
    assert not reply.right and "ZeroDivisionError" in reply.text
    assert "wants a function" in one.check(3).text
    assert "none of the usual mistakes" in one.check(lambda a: 17).text


def test_values_can_be_answers_too():
    one = Exercise("x.z", "?", "clue", 2.5, [Mistake("that is its square", 6.25)])
    assert one.check(2.50001).right
    assert one.check(6.25).text == "that is its square"


def test_where_a_number_is_wanted_the_same_in_every_place_will_do():
    one = Exercise("x.v", "?", "clue", lambda a: torch.tensor(2.0), [Mistake("off", lambda a: a)], lambda: [(1,)])
    assert one.check(lambda a: torch.full((3, 2), 2.0)).right
    assert not one.check(lambda a: torch.tensor([2.0, 2.1])).right
    full = Exercise("x.w", "?", "clue", lambda a: torch.full((3,), 2.0), [Mistake("off", lambda a: a)], lambda: [(1,)])
    assert not full.check(lambda a: torch.tensor(2.0)).right


def test_a_reply_is_set_as_html():
    html = Reply(False, "take `a < b` and the *last* one, 2 * x * y")._repr_html_()
    assert "Take <code>a &lt; b</code> and the <em>last</em> one, 2 * x * y" in html and "<b>Not yet.</b>" in html


def test_an_unknown_name_is_refused_with_the_nearest():
    some = next(iter(ALL))
    with pytest.raises(ValueError, match=some):
        exercise(some[:-1] + "_")


class TestDdpm:
    def test_x0_from_v_undoes_the_packages_v(self):
        x0, eps = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
        signal, noise = 0.3**0.5, 0.7**0.5
        v = V.truth(x0, eps, signal, noise)
        found = exercise("ddpm.x0_from_v").answer(signal * x0 + noise * eps, v, 0.3)
        assert torch.allclose(found, x0, atol=1e-6)

    def test_the_weight_of_x0_is_that_of_eps_times_snr(self):
        schedule, like = linear(), torch.zeros(3, dtype=torch.float64)
        t = torch.tensor([2, 50, 1000])
        beta, sigma2 = schedule.beta(t, t - 1, like), schedule.beta_tilde(t, t - 1, like)
        of_eps = beta**2 / (2 * sigma2 * (1 - beta) * schedule.noise(t, like) ** 2)
        found = torch.stack([exercise("ddpm.x0_weight").answer(schedule.alpha_bar, int(one)) for one in t])
        assert torch.allclose(found, of_eps * schedule.log_snr(t).exp())

    def test_the_lessons_step_is_told_of_its_slips_one_at_a_time(self):
        schedule = linear()

        def step(noisy_end, eps_hat, x_t, t, z):
            beta, alpha_bar = schedule.beta(t, t - 1, x_t), schedule.alpha_bar[t].item()
            mean = (x_t - beta / (1 - alpha_bar) ** 0.5 * eps_hat) / (1 - beta) ** 0.5
            return mean + beta**0.5 * z if noisy_end or t > 1 else mean

        one = exercise("ddpm.step")
        assert "at the last step" in one.check(partial(step, True)).text
        assert "fixed large" in one.check(partial(step, False)).text
