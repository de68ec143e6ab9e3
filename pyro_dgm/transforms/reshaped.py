"""Bijections of vectors and of single entries, applied to images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.squeeze import IMAGE

__all__ = ["Entrywise", "Flattened"]


class Flattened(Bijection):
    """A bijection of vectors, applied to images as vectors of all their entries.

    Args:
        part: The bijection of vectors ``(*batch, C * H * W)``.
        shape: The shape ``(C, H, W)`` of an image.

    Shape:
        ``x`` and ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``, in nats.
    """

    domain = IMAGE
    codomain = IMAGE

    def __init__(self, part: Bijection, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.part, self.shape = part, shape

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the part."""
        y, ladj = self.part.call_and_ladj(x.flatten(-3))
        return y.unflatten(-1, self.shape), ladj

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the part."""
        x, ladj = self.part.inverse_and_ladj(y.flatten(-3))
        return x.unflatten(-1, self.shape), ladj


class Entrywise(Bijection):
    """Increasing functions of each entry of an image, whose parameters depend on nothing else.

    Args:
        elementwise: The family of functions, with ``P`` parameters.
        parameters: Which of them: of shape ``(P, C, H, W)``, or with ones for what entries share.
        interval: The interval that the functions map onto itself, if events are to lie there; by default all
            of the real line.

    Shape:
        ``x`` and ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``, in nats.
    """

    def __init__(
        self, elementwise: Elementwise, parameters: Tensor, *, interval: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.elementwise, self.parameters, self.interval = elementwise, parameters, interval

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """Images of real numbers, or of ones in the interval."""
        if self.interval is None:
            return IMAGE
        return constraints.independent(constraints.interval(*self.interval), 3)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The same as the domain."""
        return self.domain

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the functions."""
        return self._apply(x, self.elementwise.call)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo them."""
        return self._apply(y, self.elementwise.inverse)

    def _apply(
        self, x: Tensor, function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        ones = (1,) * max(0, x.dim() - 3)
        parameters = self.parameters.view(len(self.parameters), *ones, *self.parameters.shape[1:])
        y, log_slope = function(x, parameters)
        return y, torch.broadcast_to(log_slope, y.shape).flatten(-3).sum(-1)
