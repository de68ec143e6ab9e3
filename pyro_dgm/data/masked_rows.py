"""Rows some of whose entries are missing."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.data.rows import as_rows
from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.objectives.batch import Batch

__all__ = ["MaskedRows"]


class MaskedRows:
    """Rows with missing entries, to train a model on that can leave them out: ``fit(vae, MaskedRows(x))``.

    A batch then carries a mask, which the model and its guide get as ``mask=``: a
    :class:`~pyro_dgm.models.VAE` is trained on a bound of the density of what is observed. That is the right
    likelihood where an entry's being missing does not depend on its value.

    Args:
        x: Rows ``(n, *event)``: tensor, numpy array, list or DataFrame. NaN is a missing entry.
        mask: Truth values of the shape of ``x``, true where an entry is observed; what stands elsewhere does
            not count. By default all that is not NaN is observed.
        context: What the rows are conditioned on, ``(n, C)``, complete; or None.
        dtype: The floating dtype to keep them in; batches are of the model's.

    Attributes:
        x: The rows, of ``dtype``, with zero in place of what is missing.
        mask: True where an entry is observed.

    Raises:
        ArgumentTypeError: If the mask does not hold truth values.
        DataError: If an observed entry is infinite or NaN, or there are no rows, or none has an observed
            entry.
        ShapeError: If mask or contexts do not fit the rows.

    Reference:
        Mattei and Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets, ICML
        2019. https://arxiv.org/abs/1812.02633

    Example:
        >>> rows = MaskedRows([[1.0, float("nan")], [0.5, 2.0]])
        >>> rows.mask.tolist(), rows.share_missing
        ([[True, False], [True, True]], 0.25)
    """

    def __init__(
        self,
        x: object,
        mask: object = None,
        context: object = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        given = as_rows(x, dtype=torch.float64, nan="keep").to(dtype)
        self.mask = ~given.isnan() if mask is None else torch.as_tensor(mask)
        self.x = as_rows(without_missing(given, self.mask), dtype=dtype)
        if not self.mask.any():
            raise DataError(f"none of the {given.numel()} entries is observed: nothing can be learned.")
        self.context = None if context is None else as_rows(context, dtype=dtype, name="context")
        if self.context is not None and len(self.context) != len(self.x):
            raise ShapeError(
                f"each row needs its context: there are {len(self.x)} rows, and {len(self.context)} contexts."
            )

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.x)

    @property
    def share_missing(self) -> float:
        """The share of all entries that is missing."""
        return 1 - self.mask.double().mean().item()

    def rows(self, index: Tensor) -> Batch:
        """The rows of these numbers, with their masks and contexts."""
        index = index.to(self.x.device)
        context = None if self.context is None else self.context[index]
        return Batch(self.x[index], context, mask=self.mask[index])
