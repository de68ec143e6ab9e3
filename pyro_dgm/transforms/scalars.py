"""Numbers as tensors, kept: on small batches, making them costs as much as what is done with them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["scalar"]


def scalar(number: float, like: Tensor) -> Tensor:
    """Return a number as a tensor without dimensions, of a tensor's dtype, on the CPU; not to be written to.

    Example:
        >>> scalar(2.0, torch.zeros(3))
        tensor(2.)
    """
    if torch._C._len_torch_dispatch_stack():  # what is made now may be no real tensor
        return torch.full((), number, dtype=like.dtype, device="cpu")
    return _kept(number, like.dtype)


@lru_cache(maxsize=1024)
def _kept(number: float, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.full((), number, dtype=dtype, device="cpu")
