"""The plate ``data`` that every model and guide shares."""

from __future__ import annotations

import pyro
import torch
from torch import Tensor

from pyro_dgm.errors import DataError

__all__ = ["data_plate"]


def data_plate(n: int, size: int | None = None, index: Tensor | None = None) -> pyro.plate:
    """The plate ``data`` over ``n`` given rows out of ``size`` (all of them by default).

    The rows are always named, so that no plate draws indices of its own: that would consume random numbers
    and make the noise depend on the batch layout.

    Args:
        n: Number of rows of this batch.
        size: Number of rows of the whole data set. Log-densities inside the plate are scaled by ``size / n``.
        index: Which rows these are, of shape ``(n,)``; the first ``n`` by default.

    Raises:
        DataError: If there are no rows, more rows than ``size``, or not one index per row.
    """
    size = n if size is None else size
    if n < 1:
        raise DataError("a batch needs at least one row, but it has none.")
    if n > size:
        raise DataError(
            f"the batch has {n} rows but the data set only size={size}: pass the size of all rows."
        )
    if index is not None and index.shape != (n,):
        raise DataError(f"index needs shape ({n},), one entry a row, but has shape {tuple(index.shape)}.")
    rows = torch.arange(n) if index is None else index
    return pyro.plate("data", size, subsample=rows)
