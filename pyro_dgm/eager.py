"""Whether tensors are what they seem: the condition for backward passes that are written by hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["is_batched", "is_eager"]


def is_eager(x: Tensor) -> bool:
    """Whether a tensor on the CPU is computed with as the code says, operation by operation.

    Not so under ``torch.compile``, tracing, the transforms of ``torch.func``, autocast, or for dual numbers:
    there the formula itself is given to torch, which derives it.
    """
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
        and torch._C._get_tracing_state() is None
    )


def is_batched(*grads: Tensor) -> bool:
    """Whether gradients stand for many at once, as in ``autograd.grad(..., is_grads_batched=True)``."""
    functorch = torch._C._functorch
    return any(functorch.is_batchedtensor(g) or functorch.is_legacy_batchedtensor(g) for g in grads)
