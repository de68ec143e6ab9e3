"""Coupling layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.transforms.columns import ColumnBijection
from pyro_dgm.transforms.elementwise import Elementwise

__all__ = ["Coupling"]

Conditioner = Callable[[Tensor, Tensor | None], Tensor]


class Coupling(ColumnBijection):
    r"""Changes one part of a vector entry by entry, with functions that the other part chooses.

    .. math:: y_a = x_a, \qquad y_b = f(x_b; \theta(x_a))

    The log-determinant is the sum of the log-slopes over the entries of the *changed* part alone. Both
    directions cost one pass of the conditioner.

    Args:
        conditioner: Maps the kept part ``(D_a, N)`` and the context ``(C, N)``, or None, to parameters
            ``(P * D_b, N)``: all entries' first parameter, then all second ones, and so on.
        elementwise: The family of functions :math:`f`, with ``P`` parameters.
        split: Size of the upper part.
        change_upper: Whether the upper part is the one that is changed; the lower one by default.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.2.
        https://arxiv.org/abs/1605.08803
    """

    def __init__(
        self, conditioner: Conditioner, elementwise: Elementwise, split: int, *, change_upper: bool = False
    ) -> None:
        self.conditioner, self.elementwise = conditioner, elementwise
        self.split, self.change_upper = split, change_upper

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Change one part."""
        return self._change(x, context, self.elementwise.call)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Change it back."""
        return self._change(y, context, self.elementwise.inverse)

    def _change(
        self, x: Tensor, context: Tensor | None, function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        upper, lower = x[: self.split], x[self.split :]
        kept, changed = (lower, upper) if self.change_upper else (upper, lower)
        parameters = self.conditioner(kept, context)
        changed, log_slope = function(
            changed, parameters.view(self.elementwise.num_parameters, *changed.shape)
        )
        ladj = log_slope.sum(0) if len(log_slope) > 1 else log_slope[0]
        return torch.cat((changed, kept) if self.change_upper else (kept, changed)), ladj
