"""The log-mass of rows of independent binary entries, with few logarithms."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import logsigmoid

__all__ = ["entry_log_mass", "row_log_mass"]

# 2**-112 is above the smallest normal number of single precision, 2**-126.
_GROUP = 112


def entry_log_mass(logits: Tensor, value: Tensor) -> Tensor:
    """The log-mass of each entry, in nats."""
    return logits * value + logsigmoid(-logits)


def row_log_mass(logits: Tensor, value: Tensor) -> Tensor:
    r"""Sum the log-mass of binary entries over the last dimension, with a logarithm for each hundred entries.

    .. math:: \sum_i x_i a_i - \max(a_i, 0) + \log \prod_i \sigma(|a_i|)

    A factor is at least 1/2, so that the product of a hundred is far from underflow. It is one node of the
    graph, with derivatives of every order. Rows whose size has no divisor in reach, half precision and
    transforms of functions take the sum over :func:`entry_log_mass`.

    Args:
        logits: The logits :math:`a`, of shape ``(*batch, n)``.
        value: The entries :math:`x`, of a shape that broadcasts with it.

    Returns:
        Of shape ``(*batch,)``, in nats.

    Example:
        >>> row_log_mass(torch.zeros(2, 8), torch.ones(8))  # -8 log 2
        tensor([-5.5452, -5.5452])
    """
    group = _divisor(logits.shape[-1])
    if group < 8 or not _is_plain(logits, value):
        return entry_log_mass(logits, value).sum(-1)
    if not torch.is_grad_enabled():
        return _grouped(logits, value, group)
    return _RowLogMass.apply(logits, value, group)  # type: ignore[no-any-return]


class _RowLogMass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, group: int) -> Tensor:
        ctx.save_for_backward(logits, value)
        return _grouped(logits, value, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (logits, value), g = ctx.saved_tensors, grads[0].unsqueeze(-1)
        to_logits = to_value = None
        if ctx.needs_input_grad[0]:
            to_logits = ((value - logits.sigmoid()) * g).sum_to_size(logits.shape)
        if ctx.needs_input_grad[1]:
            to_value = (logits * g).sum_to_size(value.shape)
        return to_logits, to_value, None


def _grouped(logits: Tensor, value: Tensor, group: int) -> Tensor:
    # One piece of memory for all: at large sizes fresh memory costs as much as the operations.
    owned = logits.relu().neg_()
    fits = torch.broadcast_shapes(logits.shape, value.shape) == logits.shape
    linear = (owned.addcmul_(logits, value) if fits else torch.addcmul(owned, logits, value)).sum(-1)
    factors = torch.abs(logits, out=owned).sigmoid_().unflatten(-1, (-1, group))
    log_mass: Tensor = linear + factors.prod(-1).log_().sum(-1)
    return log_mass


@cache
def _divisor(size: int) -> int:
    """The largest divisor up to ``_GROUP``; one if there is no entry."""
    return max(d for d in range(1, _GROUP + 1) if size % d == 0) if size else 1


def _is_plain(logits: Tensor, value: Tensor) -> bool:
    return (
        logits.dtype == value.dtype
        and logits.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )
