"""The uniform distribution on a union of boxes in the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pyro.distributions import constraints
from torch import Tensor

from pyro_dgm.distributions.known_density import KnownDensity
from pyro_dgm.errors import DataError

__all__ = ["UniformOnBoxes"]

Interval = tuple[float, float]


class _InSomeBox(constraints.Constraint):
    """Points of the plane in at least one of the boxes, edges included."""

    event_dim = 1

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        low, high = self.low.to(value.device), self.high.to(value.device)
        point = value.unsqueeze(-2)
        return ((low <= point) & (point <= high)).all(-1).any(-1)


class UniformOnBoxes(KnownDensity):
    r"""Uniform distribution on a union of boxes that share no area.

    .. math:: \log p(x) = -\log A \text{ in the boxes}, \quad -\infty \text{ outside}, \qquad H = \log A

    with :math:`A` the total area. Edges belong to the boxes. Outside, ``log_prob`` is :math:`-\infty`, or an
    error while validation is on, as for ``Uniform``. With one box the support is an interval, which a latent
    site can be mapped to; several boxes are no image of the plane.

    Args:
        boxes: Each box as its two intervals ``((x_low, x_high), (y_low, y_high))``.
        validate_args: Whether ``log_prob`` raises for values outside the boxes.

    Raises:
        DataError: If there are no boxes, if one is empty or not finite, or if two overlap.

    Example:
        >>> square = UniformOnBoxes([((0.0, 2.0), (0.0, 2.0))])
        >>> square.log_prob(torch.ones(2)), square.entropy()
        (tensor(-1.3863), tensor(1.3863))
    """

    def __init__(
        self, boxes: Sequence[tuple[Interval, Interval]], *, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args=validate_args)
        if not boxes:
            raise DataError("UniformOnBoxes needs at least one box ((x_low, x_high), (y_low, y_high)).")
        self.low, self.high = torch.tensor(boxes, dtype=torch.double).unbind(-1)
        self._areas = (self.high - self.low).prod(-1)
        self._check_boxes()

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """The boxes."""
        if len(self.low) == 1:
            return constraints.independent(constraints.interval(self.low[0], self.high[0]), 1)
        return _InSomeBox(self.low, self.high)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` independent points: a box by its area, then a point in it."""
        # multinomial takes no empty draw
        which = torch.multinomial(self._areas, max(n, 1), replacement=True, generator=generator)[:n]
        unit = torch.rand(n, 2, dtype=torch.double, generator=generator)
        return self.low[which] + (self.high - self.low)[which] * unit

    def log_density(self, x: Tensor) -> Tensor:
        """The log-density, in nats, of rows ``(n, 2)``; NaN where a row is NaN."""
        inside = _InSomeBox(self.low, self.high).check(x)
        log_p = x.new_full((len(x),), -math.inf).masked_fill(inside, -self.entropy_in_nats())
        return log_p.masked_fill(x.isnan().any(-1), math.nan)

    def entropy_in_nats(self) -> float:
        """The logarithm of the total area."""
        return math.log(self._areas.sum().item())

    def _check_boxes(self) -> None:
        if not (torch.isfinite(self.low) & torch.isfinite(self.high) & (self.low < self.high)).all():
            raise DataError("each box of UniformOnBoxes needs finite intervals (low, high) with low < high.")
        overlap = torch.minimum(self.high[:, None], self.high) - torch.maximum(self.low[:, None], self.low)
        if (overlap > 0).all(-1).triu(1).any():
            raise DataError("two boxes of UniformOnBoxes overlap: their density would be counted twice.")
