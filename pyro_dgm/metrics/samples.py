"""Two samples as a metric takes them: finite rows of one shape, flat and in double precision."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.data.rows import as_rows
from pyro_dgm.errors import DataError, ShapeError

__all__ = ["two_samples"]


def two_samples(
    a: object, b: object, *, name: str, least: int = 2, names: tuple[str, str] = ("a", "b")
) -> tuple[Tensor, Tensor]:
    """Return both samples as rows ``(n, D)`` and ``(m, D)`` in double precision, on the device of the first.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        name: What asks for them, in messages.
        least: Number of rows that each must have.
        names: What to call the samples in messages.

    Raises:
        DataError: If an entry is not finite or a sample has too few rows.
        ShapeError: If the rows of the two samples have different shapes.
    """
    rows_a = as_rows(a, dtype=torch.double, name=names[0])
    rows_b = as_rows(b, dtype=torch.double, name=names[1])
    if rows_a.shape[1:] != rows_b.shape[1:]:
        raise ShapeError(
            f"the two samples need rows of one shape, but {names[0]} has {tuple(rows_a.shape[1:])} and "
            f"{names[1]} has {tuple(rows_b.shape[1:])}."
        )
    if min(len(rows_a), len(rows_b)) < least:
        raise DataError(
            f"{name} needs at least {least} rows in each sample, got {len(rows_a)} and {len(rows_b)}."
        )
    return rows_a.flatten(1), rows_b.flatten(1).to(rows_a.device)
