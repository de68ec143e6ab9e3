"""Distributions whose density and entropy are known."""

from __future__ import annotations

import copy
from abc import abstractmethod

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.types import _size

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError

__all__ = ["KnownDensity"]

_ROWS_AT_ONCE = 8192  # a row costs up to a kilobyte or two of temporaries


class KnownDensity(TorchDistribution):
    """Base of the distributions, most of them on the plane, that serve as targets with a known answer.

    A subclass writes :meth:`draw`, :meth:`log_density` and :meth:`entropy_in_nats`, all of them in double
    precision and without batches; this class gives them the manners of a Pyro distribution. Densities are
    computed in double precision and blockwise in memory whatever the dtype of the value, and come back in
    that dtype; they can be differentiated. Samples have torch's default dtype and lie on the CPU.

    Args:
        dim: Size ``D`` of a point.
        validate_args: Whether ``log_prob`` raises for values outside the support, as everywhere in torch.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support: constraints.Constraint = constraints.real_vector
    has_rsample = False

    def __init__(self, dim: int = 2, *, validate_args: bool | None = None) -> None:
        super().__init__(torch.Size(), torch.Size([dim]), validate_args=validate_args)

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` independent points, of shape ``(n, D)``, in double precision."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """The log-density, in nats, of double precision rows ``(n, D)``: a tensor ``(n,)``."""

    @abstractmethod
    def entropy_in_nats(self) -> float:
        """The differential entropy of one point."""

    def expand(self, batch_shape: _size, _instance: None = None) -> KnownDensity:
        """Return the same distribution with another batch shape."""
        new = copy.copy(self)
        new._batch_shape = torch.empty(self.batch_shape).expand(batch_shape).shape
        return new

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw points of shape ``(*sample_shape, *batch_shape, D)`` with the global random state."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.draw(shape[:-1].numel()).to(torch.get_default_dtype()).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The exact log-density, in nats.

        Shape:
            ``value``: ``(*batch, D)``. Returns ``(*batch,)``, broadcast with ``batch_shape``.

        Raises:
            ShapeError: If these are no points of D numbers.
            DataError: If one is not finite, or outside of the support, where arguments are validated.
        """
        if not isinstance(value, Tensor) or value.is_complex():
            raise ArgumentTypeError(
                f"{type(self).__name__} scores a tensor of real points, not a {type(value).__name__}. Say "
                "torch.as_tensor(points)."
            )
        size = self.event_shape[0]
        if not value.dim() or value.shape[-1] != size:
            raise ShapeError(
                f"{type(self).__name__} scores points of shape (*batch, {size}), not {tuple(value.shape)}."
            )
        if self._validate_args and value.numel():
            self._check_support(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        # The square of a coordinate beyond the clamp would overflow; its log-density rounds to -inf anyway.
        rows = value.double().reshape(-1, *self.event_shape).clamp(-1e100, 1e100)
        log_density = torch.cat([self.log_density(block) for block in rows.split(_ROWS_AT_ONCE)])
        dtype = value.dtype if value.is_floating_point() else torch.get_default_dtype()
        return log_density.reshape(value.shape[:-1]).to(dtype).expand(shape)

    def _check_support(self, value: Tensor) -> None:
        inside = self.support.check(value)
        if not inside.all():
            first = tuple((~inside).nonzero()[0].tolist())
            raise DataError(
                f"{int((~inside).sum())} of {inside.numel()} points are not within the support of "
                f"{type(self).__name__}; the first is at index {first}: {value[first].tolist()}."
            )

    def entropy(self) -> Tensor:
        """The differential entropy in nats, of shape ``batch_shape``."""
        return torch.full(self.batch_shape, self.entropy_in_nats())
