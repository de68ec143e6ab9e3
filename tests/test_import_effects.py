"""Importing the package, all its rooms included, changes nothing outside it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUBPACKAGES = [
    name
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    if name != "pyro_dgm"
]
LAZY = ("torchvision", "arviz", "matplotlib", "sklearn", "zuko", "accelerate", "typer")

CHILD = f"""
import hashlib, importlib, json, os, random, sys, warnings
import numpy, torch, pyro
from pyro.poutine.runtime import _PYRO_PARAM_STORE

def state():
    digest = lambda value: hashlib.sha256(repr(value).encode()).hexdigest()
    return {{
        "validation": torch.distributions.Distribution._validate_args,
        "validation of models": pyro.infer.util.is_validation_enabled(),
        "torch generator": digest(torch.get_rng_state().tolist()),
        "numpy generator": digest(numpy.random.get_state()[1].tolist()),
        "python generator": digest(random.getstate()),
        "warning filters": [str(f) for f in warnings.filters],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "default dtype": str(torch.get_default_dtype()),
        "gradients": [torch.is_grad_enabled(), torch.is_anomaly_enabled()],
        "environment": dict(os.environ),
        "parameters": sorted(_PYRO_PARAM_STORE.keys()),
    }}

before = state()
import pyro_dgm
after_package = state()
light = [name for name in {LAZY!r} if name in sys.modules]
for name in {SUBPACKAGES!r}:
    importlib.import_module(name)
after_rooms = state()
loaded = [name for name in {LAZY!r} if name in sys.modules]
print(json.dumps([before, after_package, after_rooms, light, loaded]))
"""


@pytest.fixture(scope="module")
def report():
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    keys = ("before", "after package", "after rooms", "loaded by package", "loaded by rooms")
    return dict(zip(keys, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("when", ["after package", "after rooms"])
def test_import_leaves_global_state_as_import_pyro_leaves_it(report, when):
    assert report[when] == report["before"]


@pytest.mark.parametrize("what", ["loaded by package", "loaded by rooms"])
def test_import_loads_no_heavy_library(report, what):
    assert report[what] == []
