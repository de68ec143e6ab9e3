"""A room of its own for a training run: what it changes in the process, it puts back."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK
from pyro.util import get_rng_state, set_rng_state
from torch.distributions import Distribution

__all__ = ["derived_seed", "isolated", "own_random_state", "random_states", "set_random_states"]

_ONE_RUN = threading.RLock()


def derived_seed(*parts: int) -> int:
    """Return a seed that is a pure function of non-negative integers, such as (seed, epoch).

    Example:
        >>> derived_seed(0, 1) == derived_seed(0, 1), derived_seed(0, 1) == derived_seed(1, 0)
        (True, False)
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


@contextmanager
def isolated(seed: int, devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Run a block as a training run should be: seeded, alone, and without a trace in the process.

    Inside, gradients are on, no Pyro handler of the caller is active, Pyro's parameter store is empty, and
    the random states start at ``seed``. At the end, whatever happened, the caller's random states, handlers,
    parameter store and validation settings are as they were.

    Raises:
        RuntimeError: If another thread of this process is inside: Pyro's handlers are shared by all threads.
    """
    with (
        _alone(),
        _outside_handlers(),
        _validation_restored(),
        pyro.get_param_store().scope(),
        own_random_state(seed, devices),
        torch.enable_grad(),
    ):
        yield


@contextmanager
def own_random_state(seed: int, devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Draw from random states that start at ``seed``; those of torch, numpy and Python are put back.

    Args:
        seed: A non-negative integer.
        devices: The devices that are drawn on, besides the CPU. No other is touched or even initialised.
    """
    accelerators = _accelerators(devices)
    before = get_rng_state()
    before_on = [torch.get_device_module(kind).get_rng_state(i) for kind, i in accelerators]
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  what users' models and data sets may draw from
        random.seed(seed)
        for kind, index in accelerators:
            module = torch.get_device_module(kind)
            with module.device(index):
                module.manual_seed(seed)
        yield
    finally:
        set_rng_state(before)
        for (kind, index), state in zip(accelerators, before_on, strict=True):
            torch.get_device_module(kind).set_rng_state(state, index)


def random_states(devices: Iterable[torch.device] = ()) -> dict[str, Any]:
    """Return the states of all generators, of torch, numpy and Python, as tensors and plain numbers."""
    numpys: Any = np.random.get_state()  # noqa: NPY002
    _, words, position, has_gauss, cached = numpys
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [torch.from_numpy(words.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "python": [version, torch.tensor(internal), gauss],
        "accelerators": [torch.get_device_module(k).get_rng_state(i) for k, i in _accelerators(devices)],
    }


def set_random_states(states: dict[str, Any], devices: Iterable[torch.device] = ()) -> None:
    """Set all generators to what :func:`random_states` returned, on accelerators if there are as many."""
    torch.set_rng_state(states["torch"])
    words, *rest = states["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    accelerators = _accelerators(devices)
    if len(accelerators) == len(states["accelerators"]):
        for (kind, index), state in zip(accelerators, states["accelerators"], strict=True):
            torch.get_device_module(kind).set_rng_state(state, index)


def _accelerators(devices: Iterable[torch.device]) -> list[tuple[str, int]]:
    return sorted({(d.type, d.index or 0) for d in devices if d.type in ("cuda", "xpu")})


@contextmanager
def _alone() -> Iterator[None]:
    if not _ONE_RUN.acquire(blocking=False):
        raise RuntimeError(
            "another thread of this process is already inside fit, and Pyro's effect handlers are shared by "
            "all threads. Train one model after the other, or in separate processes."
        )
    try:
        yield
    finally:
        _ONE_RUN.release()


@contextmanager
def _outside_handlers() -> Iterator[None]:
    handlers = list(_PYRO_STACK)
    _PYRO_STACK.clear()
    try:
        yield
    finally:
        _PYRO_STACK[:] = handlers


@contextmanager
def _validation_restored() -> Iterator[None]:
    # Pyro's setting and torch's can differ: `import zuko` switches torch's alone.
    of_torch = Distribution._validate_args
    try:
        with pyro.validation_enabled(True):
            yield
    finally:
        Distribution.set_default_validate_args(of_torch)
