"""Batches that somebody else makes: a DataLoader, or a target that can be sampled without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, dataloader

from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.isolation import derived_seed, own_random_state

__all__ = ["Fresh", "Loaded", "as_batch_like", "worker_error"]

_LOADER_FILE = dataloader.__file__


def as_batch_like(item: Any, like: Tensor) -> Batch:
    """Read an item as a batch, of the dtype and on the device of ``like``.

    An item is a tensor, a :class:`~pyro_dgm.objectives.Batch`, or a sequence of tensors: rows and what
    belongs to them. A second tensor of floating dtype is the context; labels, which are integers, are left
    aside.

    Raises:
        TypeError: If it is none of these.
        ShapeError: If it has no rows, or not one context for each.
    """
    if isinstance(item, Batch):
        x, context, index, size, mask = item.x, item.context, item.index, item.size, item.mask
    else:
        (x, context), index, size, mask = _pair(item), None, None, None
    if x.dim() < 1 or len(x) < 1:
        raise ShapeError(f"a batch needs at least one row, but its shape is {tuple(x.shape)}.")
    if context is not None:
        if len(context) != len(x):
            raise ShapeError(f"a batch of {len(x)} rows needs as many contexts, but got {len(context)}.")
        context = context.to(like.device, like.dtype)
    if mask is not None:
        x, mask = without_missing(x, mask), mask.to(like.device)
    return Batch(x.to(like.device, like.dtype), context, index, size, mask)


def _pair(item: Any) -> tuple[Tensor, Tensor | None]:
    if isinstance(item, Tensor):
        return item, None
    if not isinstance(item, tuple | list) or not item or not isinstance(item[0], Tensor):
        raise TypeError(
            f"a batch must be a tensor, a pair (rows, context) or a Batch, but the data gave a "
            f"{type(item).__name__}. Give the DataLoader a collate_fn that returns one of these."
        )
    context = item[1] if len(item) > 1 else None
    return item[0], context if isinstance(context, Tensor) and context.is_floating_point() else None


class Loaded:
    """The batches of a torch ``DataLoader``, which is started anew when it ends.

    The order of an epoch is a function of seed and epoch, so that a run can be taken up anywhere in it.

    Args:
        loader: The loader, with its own batch size and order.
        seed: Seed of the order.
        like: A tensor that gives the dtype and the device of the batches.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, like: Tensor) -> None:
        self.loader, self.seed, self.like = loader, seed, like
        self.steps_per_epoch = _length(loader)
        self.size = _length(loader.dataset)
        self._batches: Iterator[Any] = iter(())
        self._epoch, self._position = -1, 0

    def batch(self, step: int) -> Batch:
        """The next batch; steps must be asked for in their order."""
        if step == 0:
            self._epoch, self._batches = -1, iter(())
        item = next(self._batches, None)
        if item is None:
            item = self._start(self._epoch + 1)
        if item is None:
            raise DataError("the DataLoader is empty: it gave no batch. Give it at least one row.")
        self._position += 1
        batch = as_batch_like(item, self.like)
        if step == 0:
            _check_finite(batch)
        return batch if isinstance(item, Batch) else replace(batch, size=self.size)

    def _start(self, epoch: int) -> Any:
        """Begin an epoch and return its first item. Samplers draw their seed then, from the global state."""
        self._epoch, self._position = epoch, 0
        with own_random_state(derived_seed(self.seed, 2, epoch)):
            self._batches = iter(self.loader)
            return next(self._batches, None)

    def abandon(self) -> None:
        """End the workers after a failure; torch would raise the death of one again later."""
        stop = getattr(self._batches, "_shutdown_workers", None)
        self._batches = iter(())
        if stop is not None:
            with suppress(RuntimeError):  # the death itself, once more
                stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go to a position, by reading and leaving aside what comes before it."""
        if state["epoch"] >= 0:
            self._start(int(state["epoch"]))
            self._position = int(state["position"])
            for _ in range(self._position - 1):
                next(self._batches, None)

    def fingerprint(self) -> str:
        """What is known of the data without reading them all."""
        return f"{type(self.loader.dataset).__name__} of {self.size} rows, {self.steps_per_epoch} batches"


class Fresh:
    """New rows at every step, from an object whose ``sample(n)`` draws them.

    Args:
        sample: Gives ``n`` rows, or a pair of rows and context.
        batch_size: Rows of each batch.
        like: A tensor that gives the dtype and the device of the batches.
    """

    def __init__(self, sample: Callable[[int], Any], batch_size: int, like: Tensor) -> None:
        self.sample, self.batch_size, self.like = sample, batch_size, like
        self.steps_per_epoch: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: rows are drawn from the global random state."""
        return {}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Do nothing."""

    def fingerprint(self) -> str:
        """What is known of the data: batches of fresh rows."""
        return f"fresh rows, {self.batch_size} a batch"

    def batch(self, step: int) -> Batch:
        """A new batch, drawn from the global random state."""
        batch = self.drawn(self.batch_size)
        if step == 0:
            _check_finite(batch)
        return batch

    @torch.no_grad()
    def drawn(self, num: int) -> Batch:
        """So many new rows."""
        return as_batch_like(self.sample(num), self.like)


def worker_error(error: BaseException, step: int) -> DataError | None:
    """What an error means if a worker process of a loader is gone, or cannot use the accelerator.

    Torch notices a worker's death by a signal, and so raises it wherever the training happens to be; or the
    connection to the worker breaks first, while it hands over a batch.

    Args:
        error: What was raised.
        step: The step, counted from 0.
    """
    message = str(error)
    broken = isinstance(error, ConnectionError | EOFError) and _in_loader(error)
    if broken or (message.startswith("DataLoader worker") and ("exited" in message or "killed" in message)):
        return DataError(
            f"a worker process of the DataLoader died at step {step} (counted from 0): {message} A crash in "
            "the data set, or too little memory, ends it so: use num_workers=0 to see the error itself, or "
            "fewer workers and smaller batches."
        )
    if "re-initialize" in message and "fork" in message:
        return DataError(
            "the data set uses the accelerator in forked workers of the DataLoader, which cannot be. Give "
            "it multiprocessing_context='spawn', or keep its rows on the CPU: fit moves each batch."
        )
    return None


def _in_loader(error: BaseException) -> bool:
    """Whether an error was raised below torch's DataLoader."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _LOADER_FILE:
            return True
        trace = trace.tb_next
    return False


def _check_finite(batch: Batch) -> None:
    for name, values in (("data", batch.x), ("context", batch.context)):
        if values is not None and not values.isfinite().all():
            row = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
            raise DataError(f"the first batch of {name} is not finite in row {row}: {values[row].tolist()}.")


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None
