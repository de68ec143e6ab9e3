"""The package as it is laid out on disk, declared in pyproject.toml and pinned in constraints.txt."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
PYTHONS = ("3.11.9", "3.12.9", "3.13.2")
MACHINES = {
    "linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "mac": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
}


def folders_with_code(top: str, prefix: str) -> set[str]:
    files = (ROOT / top).rglob("*.py")
    return {".".join([*prefix.split("."), *f.parent.relative_to(ROOT / top).parts]) for f in files}


def pins(python: str, machine: str) -> dict[str, str]:
    """The versions that constraints.txt fixes on one Python; a name pinned twice there is an error."""
    minor = python.rpartition(".")[0]
    environment = {"python_version": minor, "python_full_version": python, **MACHINES[machine]}
    found: dict[str, str] = {}
    for pin in CONSTRAINTS:
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice on {python}"
            found[canonicalize_name(pin.name)] = str(pin.specifier)
    return found


def test_every_package_folder_is_declared():
    on_disk = (
        folders_with_code("pyro_dgm", "pyro_dgm")
        | folders_with_code("models", "pyro_dgm.models")
        | folders_with_code("guides", "pyro_dgm.guides")
    )
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk


def test_every_package_folder_has_an_init():
    for folder in ("pyro_dgm", "models", "guides", "benchmarks"):
        bare = {f.parent for f in (ROOT / folder).rglob("*.py") if not (f.parent / "__init__.py").exists()}
        assert not bare, f"without __init__.py: {sorted(map(str, bare))}"


@pytest.mark.parametrize("name", ["models", "guides"])
def test_links_inside_the_package_point_at_the_folders_beside_it(name):
    link = ROOT / "pyro_dgm" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


@pytest.mark.parametrize("name", ["models", "guides"])
def test_short_name_refuses_to_be_imported(name):
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ImportError: this folder is the package 'pyro_dgm.{name}'" in done.stderr
    assert f"from pyro_dgm import {name}" in done.stderr


def test_constraints_hold_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.+]+( ; .+)?", line), line
        assert "/" not in line


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_to_an_allowed_version(python, machine):
    pinned = pins(python, machine)
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    for requirement in map(Requirement, wanted):
        if canonicalize_name(requirement.name) == canonicalize_name(PROJECT["project"]["name"]):
            continue  # an extra that asks for the project's other extras
        version = pinned[canonicalize_name(requirement.name)].removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_the_six_that_everything_stands_on_are_hard_dependencies():
    hard = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    assert {"pyro-ppl", "torch", "torchvision", "zuko", "numpy", "arviz"} <= hard
