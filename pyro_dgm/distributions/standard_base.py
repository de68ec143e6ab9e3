"""What the parameter-free bases of the flows share."""

from __future__ import annotations

from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["StandardBase"]

Shape = Size | list[int] | tuple[int, ...]


class StandardBase(TorchDistribution):
    """Vectors or images of independent entries of one fixed distribution, with mean zero.

    Args:
        like: A tensor of the event shape, ``(D,)`` for vectors, that gives size, dtype and device; its values
            are not used.
        batch_shape: Shape of the batch of independent copies.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, *event)`` to ``(*sample, *batch)``, in nats.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True
    variance_of_one: float

    def __init__(self, like: Tensor, batch_shape: Shape = (), *, validate_args: bool | None = None) -> None:
        self._like = like
        super().__init__(Size(batch_shape), like.shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """All real events."""
        rank = self._like.dim()
        return constraints.real_vector if rank == 1 else constraints.independent(constraints.real, rank)

    def draw(self, shape: Size) -> Tensor:
        """Draw entries, in the dtype and on the device of ``like``."""
        raise NotImplementedError(f"{type(self).__name__} must define draw(shape)")

    def log_density(self, value: Tensor) -> Tensor:
        """The log-density of events, summed over the entries, in nats."""
        raise NotImplementedError(f"{type(self).__name__} must define log_density(value)")

    def total(self, entries: Tensor) -> Tensor:
        """The sum over the entries of each event."""
        rank = self._like.dim()
        return entries.sum(-1) if rank == 1 else entries.flatten(-rank).sum(-1)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of draws."""
        return self._like.dtype

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self._like).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """The variance of each entry."""
        one = torch.full_like(self._like, self.variance_of_one)
        return one.expand(self.batch_shape + self.event_shape)

    def expand(self, batch_shape: Shape, _instance: None = None) -> Self:
        """Return a copy of another ``batch_shape``."""
        return type(self)(self._like, Size(batch_shape), validate_args=self._validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples; they depend on no parameter."""
        return self.draw(Size(sample_shape) + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats."""
        # Torch's check cannot reshape an empty batch, and a compiled graph cannot branch on values.
        if self._validate_args and value.numel() and not torch.compiler.is_compiling():
            self._validate_sample(value)
        return self.unchecked_log_prob(value)

    def unchecked_log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats; NaN where an entry is no number."""
        log_prob = self.log_density(value)
        if self.batch_shape and log_prob.shape[-len(self.batch_shape) :] != self.batch_shape:
            return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))
        return log_prob
