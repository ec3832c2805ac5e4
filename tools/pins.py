"""Write constraints.txt from the packages that this environment holds (`make pins`).

A pin has no local suffix, so that `torch==2.13.0` takes a CPU build where one is at hand and the ordinary build
elsewhere. CUDA's own packages are left to torch, which names the versions that it needs.
"""

import re
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
LEFT_OUT = re.compile(r"pip|setuptools|wheel|edu-diffusion|(nvidia|cuda|triton).*")
HEAD = """\
# The exact versions that `make lab` and `make test` install. Written by `make pins`.
# Not for a GPU runtime that brings its own torch: there, install with pyproject's loose ranges alone.
"""


def canonical(name: str) -> str:
    """A distribution's name as the package index spells it: small letters, hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> list[str]:
    """`name==version` of every installed distribution, in order, without local suffixes."""
    found = {canonical(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    return [f"{name}=={version}" for name, version in sorted(found.items()) if not LEFT_OUT.fullmatch(name)]


if __name__ == "__main__":
    CONSTRAINTS.write_text(HEAD + "\n".join(pins()) + "\n")
    print(f"{CONSTRAINTS.name}: {len(pins())} pins")
