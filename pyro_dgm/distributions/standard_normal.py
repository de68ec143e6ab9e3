"""The standard normal base of the flows."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["StandardNormal"]

Shape = Size | list[int] | tuple[int, ...]

_LOG_2_PI = math.log(2 * math.pi)


class StandardNormal(TorchDistribution):
    """N(0, I) over vectors, with a density of two operations instead of eight.

    Args:
        like: A tensor of shape ``(D,)`` that gives size, dtype and device; its values are not used.
        batch_shape: Shape of the batch of independent copies.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, D)`` to ``(*sample, *batch)``, in nats.

    Example:
        >>> StandardNormal(torch.zeros(2)).log_prob(torch.zeros(2))  # -log(2 pi)
        tensor(-1.8379)
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, like: Tensor, batch_shape: Shape = (), *, validate_args: bool | None = None) -> None:
        self._like = like
        super().__init__(Size(batch_shape), like.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self._like).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """One."""
        return torch.ones_like(self._like).expand(self.batch_shape + self.event_shape)

    def expand(self, batch_shape: Shape, _instance: None = None) -> StandardNormal:
        """Return a copy of another ``batch_shape``."""
        return StandardNormal(self._like, Size(batch_shape), validate_args=self._validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples; they depend on no parameter."""
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return torch.randn(shape, dtype=self._like.dtype, device=self._like.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats."""
        if self._validate_args and value.numel():  # torch's check cannot reshape an empty batch
            self._validate_sample(value)
        log_prob = -0.5 * (value.square().sum(-1) + value.shape[-1] * _LOG_2_PI)
        if self.batch_shape and log_prob.shape[-len(self.batch_shape) :] != self.batch_shape:
            return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))
        return log_prob
