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
    for _ in range(20):
        several = [torch.ones(750_000) for _ in range(12)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fetched()
first = fetched()
keep_freed_memory()
fetched()
print(first, fetched())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_pages_are_fetched_from_the_system_once_and_not_for_each_tensor():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    found = []
    for _ in range(6):  # where the heap lies, which differs from process to process, decides
        done = subprocess.run(
            [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=env
        )
        found.append([int(count) for count in done.stdout.split()])
    if all(before < 10_000 for before, _ in found):
        pytest.skip("here glibc keeps the memory by itself")
    assert all(after < 100 for _, after in found)
