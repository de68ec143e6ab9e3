"""Monotone rational-quadratic splines."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_dgm.transforms.by_hand import ByHand
from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.spline_by_hand import SplineByHand

__all__ = ["RationalQuadratic"]


class RationalQuadratic(Elementwise):
    r"""Increasing splines on an interval, the identity outside of it.

    Between two knots the function is a quotient of quadratics with the values and slopes given at both:
    with :math:`\xi = (x - x_k) / w_k`, bin slope :math:`s_k = h_k / w_k` and knot slopes :math:`d_k`,

    .. math:: y = y_k + \frac{h_k (s_k \xi^2 + d_k \xi (1 - \xi))}
                             {s_k + (d_{k+1} + d_k - 2 s_k) \xi (1 - \xi)}

    The slope at both ends is one, so that function and slope are continuous with the linear tails. Only the
    bin that holds the value is evaluated; the search for it carries no gradient. The inverse is the root of
    a quadratic, in the form without cancellation.

    Args:
        num_bins: Number of bins ``K``; ``3 K - 1`` parameters.
        bound: The interval is ``[-bound, bound]``. Mass of the base outside stays outside: 5 standard
            deviations leave nothing behind that matters, 3 cost 0.0027 nats an entry.
        min_width: Least width and height of a bin, as a fraction of the interval.
        min_slope: Least slope at a knot.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios, Neural Spline Flows, NeurIPS 2019.
        https://arxiv.org/abs/1906.04032
    """

    def __init__(
        self, num_bins: int = 8, bound: float = 5.0, *, min_width: float = 1e-3, min_slope: float = 1e-3
    ) -> None:
        if num_bins < 2 or num_bins * min_width >= 1 or bound <= 0:
            raise ValueError(
                f"a spline needs num_bins >= 2, bound > 0 and num_bins * min_width < 1, but got num_bins="
                f"{num_bins}, bound={bound}, min_width={min_width}."
            )
        self.num_bins, self.bound, self.min_width, self.min_slope = num_bins, bound, min_width, min_slope
        self.num_parameters = 3 * num_bins - 1
        # softplus of this is 1 - min_slope: zeros give slope one, and with equal bins the identity.
        self.raw_slope_of_one = math.log(math.expm1(1 - min_slope))

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the splines."""
        inside = x.abs() < self.bound
        y, log_slope = self._evaluated(torch.where(inside, x, 0.0), parameters)
        return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Solve the quadratic of the bin that holds the value."""
        inside = y.abs() < self.bound
        x, log_slope = self._solved(torch.where(inside, y, 0.0), parameters)
        return torch.where(inside, x, y), torch.where(inside, log_slope, 0.0)

    def by_hand(self, *, back: bool) -> ByHand | None:
        """Both directions."""
        if type(self) is not RationalQuadratic:
            return None
        return SplineByHand(
            self.num_bins, self.bound, self.min_width, self.min_slope, self.raw_slope_of_one, back
        )

    def _evaluated(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The splines at values within the interval, with their log-slopes."""
        at, (x0, y0), (w, h), (d0, d1) = self._bin(x, parameters, side=0)
        return _spline((at - x0) / w, y0, h, h / w, d0, d1)

    def _solved(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Their inverses at values within the interval, with those of the inverses."""
        at, (x0, y0), (w, h), (d0, d1) = self._bin(y, parameters, side=1)
        s = h / w
        xi = _spline_root(at - y0, h, s, d0, d1)
        return torch.addcmul(x0, xi, w), -_spline(xi, y0, h, s, d0, d1)[1]

    def _bin(self, value: Tensor, parameters: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The values, and of the bins that hold them the lower corners, the sizes and the two slopes."""
        sizes, slopes = self._sizes_and_slopes(parameters)
        knots = self._knots(sizes.view(2, self.num_bins, *value.shape))  # of widths and of heights
        with torch.no_grad():
            at = (value >= knots[side, 1:-1]).sum(0)
            both_ends = torch.stack((at, at + 1))
        lower, upper = knots.gather(1, both_ends.expand(2, *both_ends.shape)).unbind(1)
        raw = slopes.gather(0, both_ends)
        return value, lower, upper - lower, softplus(raw + self.raw_slope_of_one) + self.min_slope

    def _sizes_and_slopes(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """What the ``2 K`` sizes and the slopes at all ``K + 1`` knots are read off."""
        sizes, slopes = parameters.split((2 * self.num_bins, self.num_bins - 1))
        # The slopes at the two ends are one by construction and have no parameter.
        one = torch.zeros_like(slopes[:1])
        return sizes, torch.cat((one, slopes, one))

    def _knots(self, raw: Tensor) -> Tensor:
        """The ``K + 1`` knots on the second axis, the outer ones exactly at the ends of the interval."""
        filled = torch.cumsum(torch.softmax(raw, 1), 1)[:, :-1] * (1 - self.num_bins * self.min_width)
        least = torch.arange(1, self.num_bins, dtype=raw.dtype, device=raw.device) * self.min_width - 0.5
        inner = (filled + least.view(-1, *(1,) * (raw.dim() - 2))) * (2 * self.bound)
        end = torch.full_like(inner[:, :1], self.bound)
        return torch.cat((-end, inner, end), 1)


def _spline(xi: Tensor, y0: Tensor, h: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    rest = 1 - xi
    square, cross = xi.square(), xi * rest
    scale = s / (s + (d1 + d0 - 2 * s) * cross)
    d0_cross = d0 * cross
    y = y0 + h * scale * (square + d0_cross / s)
    return y, torch.log((d1 * square + 2 * s * cross + d0 * rest.square()) * scale.square())


def _spline_root(rise: Tensor, h: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    bend = rise * (d1 + d0 - 2 * s)
    a = h * (s - d0) + bend
    b = h * d0 - bend
    c = s * rise  # minus the constant of the quadratic
    discriminant = (b.square() + 4 * a * c).clamp(min=0)
    return 2 * c / (b + torch.sqrt(discriminant))
