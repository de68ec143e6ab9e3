"""Importing zuko through the guard leaves the rest of the process alone."""

import subprocess
import sys

CODE = """
import pyro, torch
from pyro_dgm.zuko_guard import import_zuko
before = torch.distributions.Distribution._validate_args
zuko = import_zuko()
assert torch.distributions.Distribution._validate_args is before is True
assert hasattr(zuko, "flows")
"""


def test_validation_stays_on_when_zuko_is_imported():
    subprocess.run([sys.executable, "-c", CODE], check=True)
