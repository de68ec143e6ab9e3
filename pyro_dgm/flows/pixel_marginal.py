"""The marginal histogram of 8-bit pixels, as the outermost layer of an image flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_dgm.errors import DataError
from pyro_dgm.transforms import Entrywise, PiecewiseLinear
from pyro_dgm.transforms.piecewise_linear import bin_of

__all__ = ["PixelMarginal"]

_LEAST_SHARE = 1e-4  # of a bin: rarer levels share one with their neighbours


class PixelMarginal(nn.Module):
    r"""Carries the unit interval to itself so that a uniform entry becomes a pixel with a given histogram.

    Level ``k`` of ``L`` is the interval :math:`[k/L, (k+1)/L)` of dequantised pixels. Seen from the data, a
    pixel becomes its rank among all pixels, which spreads the few values that most pixels have. It has no
    parameters: the histogram is that of the training images, with one count more at every level.

    Args:
        histogram: How often each level occurs, from the lowest to the highest.

    Raises:
        DataError: If there are not two levels, or a count is negative.
    """

    def __init__(self, histogram: Sequence[float] | Tensor) -> None:
        super().__init__()
        counts = torch.as_tensor(histogram, dtype=torch.double).flatten()
        if len(counts) < 2 or not (counts >= 0).all():
            raise DataError(
                f"a histogram of pixels needs a count of at least zero for each of two or more levels, but "
                f"has {len(counts)} counts, the least of which is {counts.min() if len(counts) else None}."
            )
        log_share = (counts + 1).log().sub((counts + 1).sum().log()).float()
        self.num_levels = len(counts)
        self._ranks = [0.0, *torch.cumsum(torch.softmax(log_share.double(), 0), 0)[:-1].tolist(), 1.0]
        self.elementwise = PiecewiseLinear([k / len(counts) for k in range(len(counts) + 1)], min_share=0.0)
        self.register_buffer("log_share", log_share[:, None, None, None])

    def transform(self) -> Entrywise:
        """Return the bijection from ranks to pixels."""
        return Entrywise(self.elementwise, self.log_share, interval=(0.0, 1.0))  # type: ignore[arg-type]

    def knots(self, num_bins: int) -> list[float]:
        """Ranks at which levels begin: the second one, and others that cut what lies above in equal shares.

        Args:
            num_bins: Number of bins between the ranks, at most; large and tiny shares leave fewer.
        """
        if num_bins < 2:
            raise ValueError(f"a spline of pixels needs num_bins >= 2, but got {num_bins}.")
        first = self._ranks[1]
        wanted = [first + (1 - first) * i / (num_bins - 1) for i in range(1, num_bins - 1)]
        knots = [0.0]
        for rank in sorted({first} | {self._nearest(rank) for rank in wanted}):
            if knots[-1] + _LEAST_SHARE <= rank <= 1 - _LEAST_SHARE:
                knots.append(rank)
        return [*knots, 1.0]

    def features(self, ranks: Tensor) -> Tensor:
        """What conditioners read: whether each level is above the lowest, and how far; twice the channels.

        They are functions of the level alone, not of the place within it: they carry no gradient.
        """
        start = self._starts(ranks)
        return torch.cat(((start > 0).to(ranks.dtype), self._height(start)), dim=-3)

    def lifted(self, ranks: Tensor) -> Tensor:
        """The two of :meth:`features` as one: zero at the lowest level, between 1/2 and 1 above."""
        start = self._starts(ranks)
        lifted: Tensor = 0.5 * (start > 0) + 0.5 * self._height(start)
        return lifted

    def _starts(self, ranks: Tensor) -> Tensor:
        """The rank at which the level of each rank begins."""
        known = ranks.new_tensor(self._ranks)
        return known[bin_of(ranks, known)]

    def _height(self, start: Tensor) -> Tensor:
        first = self._ranks[1]
        height: Tensor = torch.relu(start - first) / (1 - first)
        return height

    def _nearest(self, rank: float) -> float:
        nearest: float = min(self._ranks[1:], key=lambda known: abs(known - rank))
        return nearest
