"""Piecewise linear functions: densities that are histograms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.transforms.elementwise import Elementwise

__all__ = ["PiecewiseLinear", "bin_of"]


class PiecewiseLinear(Elementwise):
    r"""Increasing, piecewise linear functions of an interval onto itself, the identity outside of it.

    The knots :math:`t_0 < \dots < t_K` on the data side are fixed; the shares of the bins in the interval on
    the base side are the softmax of the parameters. A uniform base on the interval then has the histogram
    with these bins as its density,

    .. math:: \log\left|\frac{dx}{dy}\right| = \log p_k - \log\frac{t_{k+1} - t_k}{t_K - t_0}
              \quad\text{for}\quad t_k \le y < t_{k+1}

    The density jumps at knots, as that of dequantised data does between two levels: with knots at levels
    nothing is lost there. The logarithms of the bins' widths, which are the parameters of :meth:`identity`,
    make the function the identity.

    Args:
        knots: The ``K + 1`` knots, in increasing order.
        min_share: Least share of a bin, which bounds the slopes.

    Raises:
        DataError: If there are not two knots in increasing order, or ``min_share`` is as wide as a bin.

    Reference:
        Müller, McWilliams, Rousselle, Gross and Novák, Neural Importance Sampling, ACM Transactions on
        Graphics 2019, section 4.1. https://arxiv.org/abs/1808.03856

    Example:
        >>> function = PiecewiseLinear([0.0, 0.5, 1.0])
        >>> function.call(torch.tensor(0.75), torch.tensor([0.75, 0.25]).log())[0]  # 3/4 of it in [0, 1/2]
        tensor(0.5000)
    """

    def __init__(self, knots: Sequence[float], *, min_share: float = 1e-6) -> None:
        self.knots = tuple(float(t) for t in knots)
        widths = [b - a for a, b in pairwise(self.knots)]
        if not widths or not 0 <= min_share * (self.knots[-1] - self.knots[0]) < min(widths):
            raise DataError(
                f"PiecewiseLinear needs at least two knots in increasing order, and a min_share that is less "
                f"than each bin's, but got {len(self.knots)} knots and min_share={min_share}."
            )
        self.min_share, self.num_parameters = min_share, len(widths)
        self._end = self.knots[0], self.knots[-1]

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Map the base side's bins, of the shares' widths, to those between the knots."""
        share, x_knots = self._shares(parameters)
        y_knots = x.new_tensor(self.knots)
        inside = self._inside(x)
        with torch.no_grad():
            at = (x >= x_knots[1:-1]).sum(0, keepdim=True)
        p, x0 = _pick(share, at), _pick(x_knots, at)
        y0, width = y_knots[at[0]], y_knots.diff()[at[0]]
        slope = width / (p * self._length)
        y = y0 + (torch.where(inside, x, x0) - x0) * slope
        return torch.where(inside, y.clamp(*self._end), x), torch.where(inside, slope.log(), 0.0)

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The cumulative histogram."""
        share, x_knots = self._shares(parameters)
        y_knots = y.new_tensor(self.knots)
        inside = self._inside(y)
        at = bin_of(y, y_knots).unsqueeze(0)
        p, x0 = _pick(share, at), _pick(x_knots, at)
        y0, width = y_knots[at[0]], y_knots.diff()[at[0]]
        slope = p * self._length / width
        x = x0 + (torch.where(inside, y, y0) - y0) * slope
        return torch.where(inside, x.clamp(*self._end), y), torch.where(inside, slope.log(), 0.0)

    def identity(self) -> Tensor:
        """The logarithms of the bins' widths, but for the least share."""
        share = torch.tensor(self.knots, dtype=torch.double).diff() / self._length
        free = (share - self.min_share) / (1 - self.num_parameters * self.min_share)
        return free.log().to(torch.get_default_dtype())

    @property
    def _length(self) -> float:
        return self._end[1] - self._end[0]

    def _inside(self, value: Tensor) -> Tensor:
        return (value >= self._end[0]) & (value <= self._end[1])

    def _shares(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The shares ``(K, ...)`` and, on the base side, the ``K + 1`` knots."""
        free = 1 - self.num_parameters * self.min_share
        share = torch.softmax(parameters, 0) * free + self.min_share
        inner = torch.cumsum(share[:-1], 0) * self._length + self._end[0]
        low = torch.full_like(share[:1], self._end[0])
        return share, torch.cat((low, inner, torch.full_like(low, self._end[1])))


def bin_of(value: Tensor, knots: Tensor) -> Tensor:
    """The bin between the ``K + 1`` knots of each value, from 0 to ``K - 1``; the outer ones have no ends."""
    # A clone, since under vmap contiguous() may leave a slice as it is, of which bucketize warns.
    values = value.detach().clone(memory_format=torch.contiguous_format)
    return torch.bucketize(values, knots[1:-1], right=True)


def _pick(table: Tensor, at: Tensor) -> Tensor:
    """The entries of each column of ``table`` at ``at``, whose first dimension is one."""
    return table.expand(-1, *at.shape[1:]).gather(0, at)[0]
