"""Increasing functions of one family for some entries, of another one for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_dgm.transforms.elementwise import Elementwise

__all__ = ["PerRow"]


class PerRow(Elementwise):
    """Two families side by side, each for rows of its own: angles beside real numbers, say.

    Args:
        first: The family of the chosen rows.
        second: The family of the others, with as many parameters.
        chosen: For each row, along the first axis of the values, whether it is of the first family.

    Raises:
        ValueError: If the two have different numbers of parameters.
    """

    def __init__(self, first: Elementwise, second: Elementwise, chosen: Sequence[bool]) -> None:
        if first.num_parameters != second.num_parameters:
            raise ValueError(
                "PerRow needs two families with equal numbers of parameters, but they have "
                f"{first.num_parameters} and {second.num_parameters}."
            )
        self.num_parameters = first.num_parameters
        rows = ([i for i, c in enumerate(chosen) if c], [i for i, c in enumerate(chosen) if not c])
        self.groups = [(f, r) for f, r in zip((first, second), rows, strict=True) if r]
        order = [i for _, r in self.groups for i in r]
        self.back = sorted(range(len(order)), key=order.__getitem__)

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Apply each family to its rows."""
        return self._joined([f.call(x[rows], parameters[:, rows]) for f, rows in self.groups])

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Undo each family on its rows."""
        return self._joined([f.inverse(y[rows], parameters[:, rows]) for f, rows in self.groups])

    def _joined(self, done: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        if len(done) == 1:
            return done[0]
        values, log_slopes = zip(*done, strict=True)
        return torch.cat(values)[self.back], torch.cat(log_slopes)[self.back]
