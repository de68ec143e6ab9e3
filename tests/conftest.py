"""What every test starts from: one seed, an empty parameter store, validation on, one thread, no display."""

import os

# Before torch and matplotlib are imported, so that xdist's workers do not fight over the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import random
from collections.abc import Iterator

import numpy as np
import pyro
import pytest
import torch
from pyro.poutine.runtime import _PYRO_STACK

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_start() -> Iterator[None]:
    """Seed every generator, clear Pyro's parameter store and validate; leave no handler behind."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  Pyro, scikit-learn and arviz draw from the global state
    torch.manual_seed(0)
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        yield
    left = list(_PYRO_STACK)
    _PYRO_STACK.clear()
    assert not left, f"the test left Pyro effect handlers on the stack: {left}"
    assert torch.get_num_threads() == 1, "the test changed the number of threads; set it back"
    assert torch.get_default_dtype() == torch.float32, "the test changed the default dtype; set it back"
