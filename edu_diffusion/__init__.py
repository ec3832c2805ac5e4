"""edu_diffusion: the companion package of the course.

One process, one denoiser, one sampling loop, one training loop; everything else is a part put into those four.

- `edu_diffusion.diffusion`: the mathematics (schedules, losses, samplers, guidance, likelihood); knows no network.
- `edu_diffusion.nets`: building blocks and networks; knows no diffusion.
- `edu_diffusion.systems`: one file a system of the course: its networks, its objective, how it generates.
- `edu_diffusion.training`, `data`, `metrics`, `zoo`, `exercises`, `viz`: what their names say.

The sampling loop is `edu_diffusion.diffusion.samplers.sample`.
"""

__version__ = "0.1.0"
