"""Distributions over some of the entries of a row."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pyro.distributions import Independent, TorchDistribution
from torch import Tensor

from pyro_dgm.errors import ShapeError

__all__ = ["EntrywiseMasked", "observed_entries"]


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
