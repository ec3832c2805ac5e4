"""The exercises of lessons 19 and 20: each accepts its solution and names every listed mistake."""

import pytest

from edu_diffusion.exercises import decoder, edits

EXERCISES = decoder.EXERCISES + edits.EXERCISES
EVERY_MISTAKE = [(one, mistake) for one in EXERCISES for mistake in one.mistakes]


@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: one.name)
def test_its_solution_is_right_and_there_is_something_to_say(one):
    assert one.check(one.answer).right and one.question and one.hint() and one.solution()
    assert len({mistake.message for mistake in one.mistakes}) == len(one.mistakes)
    assert one.name.startswith(("unclip.", "edits."))


@pytest.mark.parametrize(("one", "mistake"), EVERY_MISTAKE, ids=lambda value: getattr(value, "name", None))
def test_every_mistake_is_recognised(one, mistake):
    reply = one.check(mistake.answer)
    assert not reply.right and reply.text == mistake.message


def test_the_package_gives_what_the_exercises_want():
    """The solutions are the package's own formulas: what a lesson asserts of them must hold."""
    from edu_diffusion.systems import edits as package

    z, now, wanted = (edits._unit(3, 6, seed=seed) for seed in range(3))
    assert package.text_diff(z, now, wanted, 0.3).allclose(edits.text_diff(z, now, wanted, 0.3))
    many = edits._unit(100, 6, seed=3)
    found = package.Components(many)
    assert found.keep(z, 2).allclose(edits.keep(z, found.mean, found.axes, 2), atol=1e-6)
    a, b = (edits._normal(2, 3, 4, 4, seed=seed).tanh() for seed in (4, 5))
    assert package.psnr(a, b).allclose(edits.psnr(a, b))
