"""Rows of one's own, split into those to train on and those to test with."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.data.rows import as_rows
from pyro_dgm.errors import DataError, ShapeError

__all__ = ["RowData"]


class RowData:
    """Training and test rows of any event shape, under a name that figures are printed with.

    Args:
        train: Rows that models are trained on: tensor, numpy array, list or DataFrame.
        test: Rows that no model was trained on; or a share such as 0.2 of the given rows, drawn by ``seed``.
        name: What to call the data.
        seed: Seed of the split.

    Attributes:
        train: Training rows ``(n, *event)``, float32.
        test: Test rows ``(m, *event)``.

    Raises:
        DataError: If entries are not finite, or the share leaves fewer than two rows in one of the parts.
        ShapeError: If training and test rows have different shapes.

    Example:
        >>> rows = RowData(torch.randn(100, 3), 0.2, name="noise")
        >>> rows.name, rows.train.shape, rows.test.shape
        ('noise', torch.Size([80, 3]), torch.Size([20, 3]))
    """

    def __init__(self, train: object, test: object = 0.2, *, name: str = "rows", seed: int = 0) -> None:
        self.name = name
        given = as_rows(train, name=f"train of {name}")
        if isinstance(test, float):
            self.train, self.test = _split(given, test, seed)
            return
        self.train, self.test = given, as_rows(test, name=f"test of {name}")
        if self.train.shape[1:] != self.test.shape[1:]:
            raise ShapeError(
                f"test rows need the shape {tuple(self.train.shape[1:])} of the training rows, but have "
                f"{tuple(self.test.shape[1:])}."
            )

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row."""
        return self.train.shape[1:]


def _split(rows: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    size = round(share * len(rows)) if 0 < share < 1 else 0
    if not 2 <= size <= len(rows) - 2:
        raise DataError(
            f"a test share of {share} of {len(rows)} rows does not leave two rows in both parts: give a "
            "share between 0 and 1, or the test rows themselves."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[size:]], rows[order[:size]]
