"""Distributions over some of the entries of a row."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from pyro.distributions import Independent, TorchDistribution
from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, ShapeError

__all__ = ["EntrywiseMasked", "observed_entries", "without_missing"]


@runtime_checkable
class EntrywiseMasked(Protocol):
    """A distribution of rows that can leave out entries by itself."""

    def mask_entries(self, mask: Tensor) -> TorchDistribution:
        """Return the distribution of the entries where ``mask``, of the event's shape, is true."""


def observed_entries(distribution: TorchDistribution, mask: Tensor) -> TorchDistribution:
    """Return the distribution of the observed entries of a row whose entries are independent.

    Its log-density at a whole row is that of the entries where ``mask`` is true, whatever stands in the
    others: the others are integrated out, which for independent entries means left out.

    Args:
        distribution: Of batch shape ``(*sample, n)`` and independent entries: made by ``to_event``.
        mask: Boolean, of shape ``(n, *event)``.

    Raises:
        ShapeError: If the mask has another shape than a row, or the entries are not independent.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> normal = dist.Normal(torch.zeros(1, 2), 1.0).to_event(1)
        >>> observed_entries(normal, torch.tensor([[True, False]])).log_prob(torch.tensor([[0.0, 99.0]]))
        tensor([-0.9189])
    """
    rank = len(distribution.event_shape)
    if mask.shape[mask.dim() - rank :] != distribution.event_shape or mask.dim() < rank:
        raise ShapeError(
            "a mask needs one truth value for each entry of rows of shape "
            f"{tuple(distribution.event_shape)}, but has shape {tuple(mask.shape)}. Give it the shape of x."
        )
    if isinstance(distribution, EntrywiseMasked):
        columns: TorchDistribution = distribution.mask_entries(mask)
        return columns
    if not isinstance(distribution, Independent) or distribution.reinterpreted_batch_ndims < rank:
        raise ShapeError(
            f"only a likelihood of independent entries can leave out missing ones, such as "
            f"Normal(...).to_event({rank}), but this is a {type(distribution).__name__}."
        )
    entries = distribution.base_dist.mask(mask)
    left: TorchDistribution = entries.to_event(rank)
    return left


def without_missing(x: Tensor, mask: Any) -> Tensor:
    """Return the rows with zero in place of what is missing, so that whatever stood there has no effect.

    Args:
        x: Rows of shape ``(n, *event)``; where the mask is false any value, NaN too.
        mask: Boolean, of the same shape: true where an entry is observed. None, and all are.

    Raises:
        ArgumentTypeError: If the mask is no tensor of truth values.
        ShapeError: If it has another shape than the rows.

    Example:
        >>> x = torch.tensor([[1.0, torch.nan]])
        >>> without_missing(x, x.isfinite())
        tensor([[1., 0.]])
    """
    if mask is None:
        return x
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = f"{mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ArgumentTypeError(
            f"a mask is a tensor of truth values, true where an entry is observed, but this one is of {got}: "
            "say mask.bool(), or x.isfinite()."
        )
    if mask.shape != x.shape:
        raise ShapeError(
            f"a mask needs one truth value for each entry of x, shape {tuple(x.shape)}, but has shape "
            f"{tuple(mask.shape)}. Say mask.expand_as(x) if all rows miss the same entries."
        )
    return x.where(mask, x.new_zeros(()))
