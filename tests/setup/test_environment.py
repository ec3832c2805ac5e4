"""The three lists of packages agree: pyproject's ranges, constraints.txt's pins, environment.yml for conda."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
SPECS = [line for line in CONDA if isinstance(line, str)]


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject asks for, its own extras left out."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    found = [Requirement(line) for line in lines]
    return [r for r in found if canonicalize_name(r.name) != PROJECT["name"]]


def pins() -> dict[str, str]:
    """constraints.txt as name -> version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("line", SPECS)
def test_conda_can_read_every_line(line):
    assert MatchSpec(line, strict=True).name is not None


def test_conda_asks_for_what_the_package_and_the_lab_need():
    conda = {spec.name.normalized: str(spec.version or "") for spec in map(MatchSpec, SPECS)}
    wanted = {CONDA_NAMES.get(r.name, r.name): str(r.specifier) for r in requirements("lab")}
    python = conda.pop("python")
    assert set(python.split(",")) == set(PROJECT["requires-python"].split(","))
    assert conda.pop("pip") == ""
    assert conda == wanted


def test_conda_installs_the_package_itself():
    assert {"pip": ["-e ."]} in CONDA


def test_every_requirement_is_pinned_inside_its_range():
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        version = pins().get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} has no pin: run `make pins`"
        assert Version(version) in requirement.specifier, f"{requirement} is pinned to {version}"


def test_pins_hold_anywhere():
    for name, version in pins().items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert Version(version).local is None, f"{name}: a local version is found on one machine only"
    assert pins()["torch"] == "2.13.0"
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_readme_names_the_pinned_torch():
    assert set(re.findall(r"torch==([\d.]+)", (ROOT / "README.md").read_text())) == {pins()["torch"]}


def test_no_lock_file_of_another_tool():
    assert not (ROOT / "uv.lock").exists()


def test_every_pin_takes_the_oldest_python_we_promise():
    """Debian's own Python, say, is 3.11.2: a pin that asks for 3.11.5 would stop the first command."""
    pinned = [each for each in distributions() if pins().get(each.name.lower().replace("_", "-")) == each.version]
    asked = {each.name: each.metadata.get("Requires-Python") for each in pinned}
    refused = {name: asks for name, asks in asked.items() if asks and "3.11.1" not in SpecifierSet(asks)}
    assert refused == {}
