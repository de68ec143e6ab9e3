"""Freed memory stays with the process where glibc can be told so."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import torch
from pyro_dgm.heap import keep_freed_memory

def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        several = [torch.ones(3, 250_000) for _ in range(4)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = fetched()
keep_freed_memory()
fetched()
print(first, fetched())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_pages_are_fetched_from_the_system_once_and_not_for_each_tensor():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=env)
    before, after = map(int, done.stdout.split())
    if before < 10_000:
        pytest.skip("the system's pages are so large here that there is nothing to keep")
    assert after < before / 100
