"""The base of flows over angles and real numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from pyro_dgm.distributions.standard_base import Shape, StandardBase
from pyro_dgm.transforms import OntoSupport

__all__ = ["StandardTorus"]

_LOG_2_PI = math.log(2 * math.pi)


class StandardTorus(StandardBase):
    r"""Independent entries: angles uniform on :math:`[-\pi, \pi]`, and standard normal numbers.

    Args:
        circular: A tensor ``(D,)`` with one for each angle and zero for each real number, in the dtype and
            on the device of draws.
        batch_shape: Shape of the batch of independent copies.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, D)`` to ``(*sample, *batch)``, in nats.

    Example:
        >>> StandardTorus(torch.ones(2)).log_prob(torch.zeros(2))  # -2 log(2 pi)
        tensor(-3.6758)
    """

    def __init__(
        self, circular: Tensor, batch_shape: Shape = (), *, validate_args: bool | None = None
    ) -> None:
        self.angles = circular > 0
        super().__init__(circular, batch_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Angles within half a turn, and all real numbers."""
        return torus(self.angles.tolist())

    @property
    def variance(self) -> Tensor:
        """The variance of each entry."""
        of_each = torch.where(self.angles, math.pi**2 / 3, 1.0).to(self._like)
        return of_each.expand(self.batch_shape + self.event_shape)

    def draw(self, shape: Size) -> Tensor:
        """Draw angles and numbers."""
        dtype, device = self._like.dtype, self._like.device
        angle = (2 * torch.rand(shape, dtype=dtype, device=device) - 1) * math.pi
        return torch.where(self.angles, angle, torch.randn(shape, dtype=dtype, device=device))

    def log_density(self, value: Tensor) -> Tensor:
        """The log-density of events, in nats."""
        of_each = torch.where(self.angles, -_LOG_2_PI, -0.5 * (value.square() + _LOG_2_PI))
        return self.total(of_each)


def torus(angles: list[bool]) -> Any:
    """The constraint of events whose marked entries are angles in radians, and the others real numbers."""
    angle = constraints.interval(-math.pi, math.pi)
    parts = [angle if is_angle else constraints.real for is_angle in angles]
    return OntoSupport(constraints.stack(parts, dim=-1), len(parts)).codomain
