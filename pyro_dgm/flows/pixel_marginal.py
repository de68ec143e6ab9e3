"""The marginal histogram of 8-bit pixels, as the outermost layer of an image flow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_dgm.errors import DataError
from pyro_dgm.transforms import Entrywise, PiecewiseLinear

__all__ = ["PixelMarginal"]


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
        share = (counts + 1) / (counts + 1).sum()
        self.num_levels = len(counts)
        self._ranks = [0.0, *torch.cumsum(share, 0)[:-1].tolist(), 1.0]
        self.elementwise = PiecewiseLinear([k / len(counts) for k in range(len(counts) + 1)], min_share=0.0)
        self.register_buffer("log_share", share.log().float()[:, None, None, None])

    def transform(self) -> Entrywise:
        """Return the bijection from ranks to pixels."""
        return Entrywise(self.elementwise, self.log_share)  # type: ignore[arg-type]

    def knots(self, num_bins: int) -> list[float]:
        """Ranks at which levels begin: of the lowest two, and of others that cut the rest in equal shares.

        Args:
            num_bins: Number of bins between the ranks, at most; levels with a large share leave fewer.
        """
        if num_bins < 2:
            raise ValueError(f"a spline of pixels needs num_bins >= 2, but got {num_bins}.")
        first = self._ranks[1]
        wanted = [first + (1 - first) * i / (num_bins - 1) for i in range(1, num_bins - 1)]
        chosen = {0.0, first, 1.0} | {min(self._ranks[1:], key=lambda r, w=w: abs(r - w)) for w in wanted}
        knots = sorted(chosen)
        assert all(a < b for a, b in pairwise(knots))
        return knots

    def lifted(self, ranks: Tensor) -> Tensor:
        """The two features of :meth:`features` as one: zero at the lowest level, between 1/2 and 1 above."""
        first = self._ranks[1]
        return torch.where(ranks > first, 0.5 + 0.5 * (ranks - first) / (1 - first), 0.0)

    def features(self, ranks: Tensor) -> Tensor:
        """Whether each rank is above the lowest level, and how far: twice the channels, for conditioners."""
        first = self._ranks[1]
        above = (ranks > first).to(ranks.dtype)
        return torch.cat((above, torch.relu(ranks - first) / (1 - first)), dim=-3)
