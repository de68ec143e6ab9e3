"""How much of held-out data a generator reaches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.objectives.batch import Batch, as_batch

__all__ = ["HeldOutCoverage"]


class HeldOutCoverage:
    """Share of held-out rows that do not lie in a region which the generator leaves out.

    Around each held-out row lies the ball that holds a share ``mass`` of the others. The row is missed if the
    generator puts less than a tenth of that into the ball, and left out if nine tenths of the rows in its
    ball are missed too. A generator that lacks one of several modes leaves out that mode's rows, and one that
    draws a mode too narrow misses rows around it but leaves out few: which no loss of the game tells.

    Args:
        held_out: Rows that the critic never sees, at least 200; with context for conditional models.
        mass: Share of the held-out rows in a ball: half of the weight of the smallest mode that matters.

    Raises:
        DataError: If there are too few rows.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> coverage = HeldOutCoverage(torch.randn(500, 2))
        >>> coverage(torch.randn(500, 2)), coverage(torch.randn(500, 2).abs()) < 0.7
        (1.0, True)
    """

    LEAST, MOST = 0.1, 0.9

    def __init__(self, held_out: Batch | Tensor, *, mass: float = 0.02) -> None:
        self.batch = as_batch(held_out)
        self.mass = mass
        rows = self.batch.x.flatten(1)
        if len(rows) < 200 or not 0 < mass < 1:
            raise DataError(
                f"coverage needs at least 200 held-out rows and a mass in (0, 1), got {len(rows)} and {mass}."
            )
        neighbours = math.ceil(mass * (len(rows) - 1))
        nearest = torch.cdist(rows, rows).topk(neighbours + 1, dim=1, largest=False)  # with the row itself
        self.radius, self.neighbours = nearest.values[:, -1], nearest.indices

    def __call__(self, generated: Tensor) -> float:
        """Return the share of the held-out rows that the rows ``generated`` do not leave out."""
        distances = torch.cdist(self.batch.x.flatten(1), generated.flatten(1))
        share = (distances <= self.radius[:, None]).double().mean(1)
        missed = (share < self.LEAST * self.mass).double()
        left_out = missed[self.neighbours].mean(1) >= self.MOST
        return 1 - float(left_out.double().mean())
