"""What every test runs under: fast mode, one thread, and shapes checked at every call."""

import os

# Set before torch is imported, and inherited by the kernels that nbval starts.
os.environ.setdefault("EDU_DIFFUSION_FAST", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

# Every function of the package whose signature names shapes is checked against them, for as long as the tests run.
install_import_hook("edu_diffusion", "beartype.beartype")
