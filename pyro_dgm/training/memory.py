"""A training step that does not fit into the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.optim import Optimizer

from pyro_dgm.errors import OutOfMemory

__all__ = ["forget", "is_out_of_memory", "ran_out"]

_SIGNS = ("can't allocate memory", "bad_alloc", "out of memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated, on whatever device."""
    if isinstance(error, OutOfMemory):
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def ran_out(
    error: BaseException, step: int, rows: int, accumulate: int | None, undo: Callable[[], str]
) -> OutOfMemory:
    """Undo a step that ran out of memory, and build the error that says so.

    Args:
        error: What was raised.
        step: The step, counted from 0.
        rows: Rows of its batch.
        accumulate: Number of parts that batches are split into; None where they cannot be.
        undo: Puts back what the step has changed, and says what could not be.
    """
    left = undo()
    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    smaller = f"a batch_size below {rows}" if rows > 1 else "a smaller network"
    split = "" if accumulate is None else f", accumulate={2 * accumulate} to compute batches in parts"
    return OutOfMemory(
        f"training ran out of memory at step {step} (counted from 0), with a batch of {rows} rows: {first}. "
        f"The parameters are those before that step.{left} Use {smaller}{split}, or precision='bf16'."
    )


def forget(optimizers: Iterable[Optimizer]) -> str:
    """Empty the running averages of optimisers that were interrupted in an update; returns the sentence."""
    for optimizer in optimizers:
        optimizer.state.clear()
    return " The running averages of the optimiser begin anew."
