"""What a training step is given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, ShapeError

__all__ = ["Batch", "as_batch", "as_whole_batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the data, and which of how many they are.

    Attributes:
        x: The rows, of shape ``(n, *event)``.
        context: What they are conditioned on, of shape ``(n, C)``, or None.
        index: Their positions in the whole data set, of shape ``(n,)``, or None.
        size: Number of rows of the whole data set; None means that these are all.
        mask: Truth values of the shape of ``x``, false where an entry is missing; None, and none is.
    """

    x: Tensor
    context: Tensor | None = None
    index: Tensor | None = None
    size: int | None = None
    mask: Tensor | None = None


def as_batch(batch: Batch | Tensor) -> Batch:
    """Return a batch as it is, and a plain tensor as the batch of all its rows."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, Tensor):
        raise ArgumentTypeError(
            f"an objective takes a Batch or a tensor of rows, but got a {type(batch).__name__}. Say "
            "Batch(data.as_rows(x)); fit takes arrays and lists as they are."
        )
    if not batch.dim() or not len(batch):
        raise ShapeError(
            f"a batch needs at least one row, (n, *event), but its shape is {tuple(batch.shape)}."
        )
    return Batch(batch)


def as_whole_batch(batch: Batch | Tensor, objective: str) -> Batch:
    """As :func:`as_batch`, for an objective that cannot leave out entries.

    Raises:
        ArgumentTypeError: If the batch has a mask.
    """
    batch = as_batch(batch)
    if batch.mask is not None:
        raise ArgumentTypeError(
            f"{objective} compares whole rows and cannot leave out missing entries. Train a VAE, whose bound "
            "can, and fill in the rows by models.impute first; or keep the complete rows alone."
        )
    return batch
