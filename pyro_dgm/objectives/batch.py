"""What a training step is given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Batch", "as_batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the data, and which of how many they are.

    Attributes:
        x: The rows, of shape ``(n, *event)``.
        context: What they are conditioned on, of shape ``(n, C)``, or None.
        index: Their positions in the whole data set, of shape ``(n,)``, or None.
        size: Number of rows of the whole data set; None means that these are all.
    """

    x: Tensor
    context: Tensor | None = None
    index: Tensor | None = None
    size: int | None = None


def as_batch(batch: Batch | Tensor) -> Batch:
    """Return a batch as it is, and a plain tensor as the batch of all its rows."""
    return batch if isinstance(batch, Batch) else Batch(batch)
