"""Whether numbers are all finite, asked in one pass over the memory."""

from __future__ import annotations

from torch import Tensor

__all__ = ["is_finite"]


def is_finite(tensor: Tensor) -> bool:
    """Whether no entry is NaN or infinite.

    A sum is finite only if all its terms are, and costs a fraction of looking at each entry; where the sum
    of finite entries overflows, each is looked at.
    """
    tensor = tensor.detach()
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
