"""Where batches come from: one door for rows, images, loaders and endless data."""

from __future__ import annotations

from os import PathLike
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pyro_dgm.data.masked_rows import MaskedRows
from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.shuffled import Shuffled
from pyro_dgm.training.streams import Fresh, Loaded

__all__ = ["Source", "as_source", "as_tensors"]


class Source(Protocol):
    """Gives the batch of each step.

    Attributes:
        steps_per_epoch: Number of batches in which every row comes once; None for data without end.
    """

    steps_per_epoch: int | None

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on from here, besides the step."""

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go to the batch of a step."""

    def fingerprint(self) -> str:
        """What tells these data from others."""


def as_source(data: Any, batch_size: int, seed: int, like: Tensor) -> Source:
    """Turn what a user may call data into a source of batches.

    Args:
        data: Rows (tensor, numpy array, list, DataFrame), a pair ``(rows, context)``, rows with missing
            entries (:class:`~pyro_dgm.data.MaskedRows`), images with ``train`` and ``batch(index)``, a torch
            ``Dataset`` or ``DataLoader``, a distribution, or any object whose
            ``sample(n)`` gives fresh rows.
        batch_size: Rows of each batch; a loader has its own.
        seed: Seed of the order of the rows.
        like: A tensor that gives the dtype and the device of the batches.

    Raises:
        DataError: If there are no rows, or some that are not finite.
        ShapeError: If rows and contexts are not equally many.
        TypeError: If the data are none of these.
    """
    if isinstance(data, DataLoader):
        return Loaded(data, seed, like)
    if isinstance(data, MaskedRows):
        content = [t for t in (data.x, data.mask, data.context) if t is not None]
        return Shuffled(data.rows, len(data), batch_size, seed, like, content)
    if isinstance(data, TensorDataset) and len(data.tensors) <= 2:
        first, *rest = data.tensors
        data = (first, rest[0]) if rest and rest[0].is_floating_point() else first
    if isinstance(data, IterableDataset):
        return Loaded(DataLoader(data, batch_size=batch_size), seed, like)
    if isinstance(data, Dataset):
        return Shuffled.of_dataset(data, batch_size, seed, like)
    if callable(getattr(data, "batch", None)) and isinstance(getattr(data, "train", None), Tensor):
        as_tensors(data.train, like)  # checks that they are finite
        return Shuffled(data.batch, len(data.train), batch_size, seed, like, (data.train,))
    if isinstance(data, Distribution):
        return Fresh(lambda n: data.sample(torch.Size([n])), batch_size, like)
    if callable(getattr(data, "sample", None)) and not hasattr(data, "to_numpy"):
        return Fresh(data.sample, batch_size, like)
    if isinstance(data, str | PathLike):
        raise ArgumentTypeError(
            f"data is a {type(data).__name__}, {str(data)!r}: read the file first, by numpy.load(path, "
            "allow_pickle=False) or pandas.read_csv(path), or a data set by pyro_dgm.data.load(name)."
        )
    if data is None or isinstance(data, bytes | dict | set) or callable(data):
        raise ArgumentTypeError(
            f"cannot train on a {type(data).__name__}: data must be rows (a tensor, numpy array, list or "
            "DataFrame), a pair (rows, context), a torch Dataset or DataLoader, images such as "
            "pyro_dgm.data.digits(), or an object whose sample(n) gives fresh rows."
        )
    rows, context = as_tensors(data, like)
    return Shuffled.of_rows(rows, context, batch_size, seed, like)


def as_tensors(data: Any, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return rows, and their context if ``data`` is a pair, as finite tensors of the dtype of ``like``.

    Raises:
        DataError: If there are no rows, or some that are not finite.
        ShapeError: If rows and contexts are not equally many.
    """
    from pyro_dgm.data import as_rows

    if not (isinstance(data, tuple) and len(data) == 2):
        return as_rows(data, dtype=like.dtype), None
    rows = as_rows(data[0], dtype=like.dtype)
    if data[1] is None:
        return rows, None
    context = as_rows(data[1], dtype=like.dtype, name="context")
    if len(rows) != len(context):
        raise ShapeError(
            f"a pair (rows, context) needs one context for each row, but there are {len(rows)} rows and "
            f"{len(context)} contexts."
        )
    return rows, context
