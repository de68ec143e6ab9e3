"""Rows of independent binary entries, scored in three passes over the logits."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from pyro_dgm.distributions.row_log_mass import entry_log_mass, row_log_mass
from pyro_dgm.distributions.standard_base import Shape
from pyro_dgm.errors import DataError

__all__ = ["BinaryRows"]


class BinaryRows(TorchDistribution):
    r"""Independent Bernoulli entries as one event.

    .. math:: \log p(x) = \sum_i x_i a_i + \log \sigma(-a_i)

    What ``Bernoulli(logits=a).to_event(k)`` computes, several times faster on a CPU: no loss per entry is
    written down.

    Args:
        logits: The logits :math:`a`, of shape ``(*batch, *event)``.
        event_dim: Rank of a row.
        grey: Whether values between 0 and 1 are let in; minus a cross-entropy is then no log-density.
        mask: Which entries count, of a shape that broadcasts with the logits; all by default.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Example:
        >>> BinaryRows(torch.zeros(2, 3), 1).log_prob(torch.ones(2, 3))  # -3 log 2
        tensor([-2.0794, -2.0794])
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        event_dim: int,
        *,
        grey: bool = False,
        mask: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.logits, self.grey, self._entries = logits, grey, mask
        first = logits.dim() - event_dim
        super().__init__(logits.shape[:first], logits.shape[first:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Any:
        """Rows of zeros and ones, or of grey values in [0, 1]."""
        entry = constraints.unit_interval if self.grey else constraints.boolean
        return constraints.independent(entry, len(self.event_shape))

    def _like(self, logits: Tensor, mask: Tensor | None) -> BinaryRows:
        check = self._validate_args
        return BinaryRows(logits, len(self.event_shape), grey=self.grey, mask=mask, validate_args=check)

    def expand(self, batch_shape: Shape, _instance: None = None) -> BinaryRows:
        """Return a copy of another ``batch_shape``."""
        return self._like(self.logits.expand(Size(batch_shape) + self.event_shape), self._entries)

    def mask_entries(self, mask: Tensor) -> BinaryRows:
        """Return the distribution of the entries where ``mask`` is true."""
        return self._like(self.logits, mask)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-mass of rows, in nats."""
        if self._validate_args:
            self._check_range(value)
            self._validate_sample(value)
        rank = len(self.event_shape)
        if rank and self._entries is None:
            return row_log_mass(self.logits.flatten(-rank), value.flatten(-rank))
        by_entry = entry_log_mass(self.logits, value)
        if self._entries is not None:
            by_entry = by_entry.where(self._entries, by_entry.new_zeros(()))
        return by_entry.flatten(-rank).sum(-1) if rank else by_entry

    def _check_range(self, value: Tensor) -> None:
        """Say what pixels of 8 bits, the usual mistake, look like."""
        if not value.numel() or (value.min() >= 0 and value.max() <= 1):
            return
        low, high = value.min().item(), value.max().item()
        raise DataError(
            f"the rows are outside the support of a Bernoulli likelihood: entries must be 0 or 1, but lie "
            f"between {low:g} and {high:g}. Divide images of 8 bits by 255 and binarise them (the data sets "
            f"take binarize=), or choose DiscretizedLogisticMixture or ContinuousBernoulli for grey pixels."
        )

    @property
    def mean(self) -> Tensor:
        """The probabilities of ones."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """The variance of each entry."""
        return self.mean * (1 - self.mean)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw rows of zeros and ones."""
        with torch.no_grad():
            shape = Size(sample_shape) + self.batch_shape + self.event_shape
            return torch.bernoulli(self.mean.expand(shape))
