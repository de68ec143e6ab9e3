"""Increasing functions that are closed form one way and solved the other way."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.root import increasing_root

__all__ = ["Monotone"]


class Monotone(Elementwise):
    """A family of increasing functions of the whole line onto itself, closed form from data to latent.

    A subclass writes :meth:`inverse`, the function and the logarithm of its slope. :meth:`call` solves for
    the data in a bracket that expands until it holds the root; the result is exact to rounding and has exact
    first and second derivatives.
    """

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Solve for the data; the logarithms are those of the slopes from latent to data."""
        finite = x.isfinite()
        target = torch.where(finite, x, 0.0)

        def function(y: Tensor) -> tuple[Tensor, Tensor]:
            value, log_slope = self.inverse(y, parameters)
            return value - target, log_slope.clamp(min=-80).exp()  # above zero in every precision

        start = target.detach()
        root = increasing_root(function, start - 1, start + 1, expand=True)
        log_slope = self.inverse(root, parameters)[1]
        # An infinite row must not make the bracket of the others expand for ever.
        return torch.where(finite, root, x), -log_slope
