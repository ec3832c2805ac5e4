"""The exercises of lessons 19 and 20: each accepts its solution and names every listed mistake."""

from edu_diffusion.exercises import edits


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
