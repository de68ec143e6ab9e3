"""The observed sites of a simulator, laid side by side as the vector that a posterior is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Size, Tensor

from pyro_dgm.errors import DataError, ShapeError

__all__ = ["ObservedVector"]


class ObservedVector:
    """The layout of data as one vector.

    Args:
        shapes: Shape of one value of each observed site, in their order in the vector.

    Example:
        >>> layout = ObservedVector({"x": Size([2]), "y": Size([])})
        >>> layout.pack({"x": torch.zeros(5, 2), "y": torch.ones(5)}).shape
        torch.Size([5, 3])
    """

    def __init__(self, shapes: Mapping[str, Size]) -> None:
        self.shapes = dict(shapes)

    @property
    def dim(self) -> int:
        """Size ``C`` of the vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    def pack(self, data: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Lay data out: ``(C,)`` of one data set, or ``(n, C)`` of many.

        Args:
            data: The value of the observed site, or values by name where there are several; with one more
                dimension on the left they are many data sets.

        Raises:
            ShapeError: If a value has not the shape that the simulator gives it.
            DataError: If an observed site is missing, or a value not finite.
        """
        named = data if isinstance(data, Mapping) else dict.fromkeys(list(self.shapes)[:1], data)
        missing = [name for name in self.shapes if name not in named]
        if missing:
            raise DataError(f"data are missing for the observed site {missing[0]!r}: give them by name.")
        return torch.cat([self._row(name, torch.as_tensor(named[name])) for name in self.shapes], -1)

    def _row(self, name: str, value: Tensor) -> Tensor:
        shape = self.shapes[name]
        lead = value.shape[: value.dim() - len(shape)]
        if len(lead) > 1 or value.shape[len(lead) :] != shape:
            raise ShapeError(
                f"data at {name!r} need shape {tuple(shape)}, or (n, *{tuple(shape)}) for many data "
                f"sets, but have {tuple(value.shape)}."
            )
        if not value.isfinite().all():
            raise DataError(f"the data at {name!r} are not finite.")
        return value.reshape(*lead, -1)
