"""The standard normal base of the flows."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor

from pyro_dgm.distributions.standard_base import StandardBase

__all__ = ["StandardNormal"]

_LOG_2_PI = math.log(2 * math.pi)


class StandardNormal(StandardBase):
    """N(0, I) over vectors or images, with a density of two operations instead of eight.

    Args:
        like: A tensor of the event shape, ``(D,)`` for vectors, that gives size, dtype and device; its values
            are not used.
        batch_shape: Shape of the batch of independent copies.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, *event)`` to ``(*sample, *batch)``, in nats.

    Example:
        >>> StandardNormal(torch.zeros(2)).log_prob(torch.zeros(2))  # -log(2 pi)
        tensor(-1.8379)
    """

    variance_of_one = 1.0

    def draw(self, shape: Size) -> Tensor:
        """Draw standard normal entries."""
        return torch.randn(shape, dtype=self._like.dtype, device=self._like.device)

    def log_density(self, value: Tensor) -> Tensor:
        """The log-density of events, in nats."""
        return torch.rsub(self.total(value.square()), -0.5 * self._like.numel() * _LOG_2_PI, alpha=0.5)
