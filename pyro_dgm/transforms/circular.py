"""Splines on the circle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.transforms.rational_quadratic import RationalQuadratic

__all__ = ["CircularRationalQuadratic", "wrapped"]


class CircularRationalQuadratic(RationalQuadratic):
    r"""Rational-quadratic splines of angles, followed by a rotation: maps of the circle onto itself.

    The spline maps :math:`[-\pi, \pi]` onto itself with one slope at both ends, so that function and slope
    are continuous across the seam, as at any other knot. The rotation moves the point that the spline
    leaves where it is.

    Args:
        num_bins: Number of bins ``K``; ``3 K + 1`` parameters.
        min_width: Least width and height of a bin, as a fraction of the circle.
        min_slope: Least slope at a knot.

    Shape:
        Angles in radians, results in :math:`[-\pi, \pi]`; arguments beyond are taken modulo a full turn.

    Reference:
        Rezende et al., Normalizing Flows on Tori and Spheres, ICML 2020, section 2.1.
        https://arxiv.org/abs/2002.02428
    """

    def __init__(self, num_bins: int = 8, *, min_width: float = 1e-3, min_slope: float = 1e-3) -> None:
        super().__init__(num_bins, math.pi, min_width=min_width, min_slope=min_slope)
        self.num_parameters = 3 * num_bins + 1

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the splines, then rotate."""
        y, log_slope = self._evaluated(wrapped(x), parameters[:-1])
        return wrapped(y + parameters[-1]), log_slope

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate back, then solve the quadratic of the bin that holds the angle."""
        x, log_slope = self._solved(wrapped(y - parameters[-1]), parameters[:-1])
        return wrapped(x), log_slope

    def _sizes_and_slopes(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        sizes, slopes = parameters.split((2 * self.num_bins, self.num_bins))
        return sizes, torch.cat((slopes, slopes[:1]))


def wrapped(angle: Tensor) -> Tensor:
    r"""The same angles in :math:`[-\pi, \pi]`.

    Example:
        >>> wrapped(torch.tensor([0.5, 0.5 + 2 * math.pi, 0.5 - 6 * math.pi]))
        tensor([0.5000, 0.5000, 0.5000])
    """
    turns = torch.floor((angle.detach() + math.pi) / (2 * math.pi))
    return (angle - 2 * math.pi * turns).clamp(-math.pi, math.pi)
