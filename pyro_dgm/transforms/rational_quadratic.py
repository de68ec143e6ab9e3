"""Monotone rational-quadratic splines."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_dgm.transforms.elementwise import Elementwise

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
        widths, heights, slopes = self._split(parameters)
        x_knots, y_knots = self._knots(widths), self._knots(heights)
        inside, at = self._bin(x, x_knots)
        x0, w, y0, h, d0, d1 = self._selected(at, x_knots, y_knots, slopes)
        xi = (torch.where(inside, x, 0.0) - x0) / w
        y, log_slope = _spline(xi, w, y0, h, d0, d1)
        return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Solve the quadratic of the bin that holds the value."""
        widths, heights, slopes = self._split(parameters)
        x_knots, y_knots = self._knots(widths), self._knots(heights)
        inside, at = self._bin(y, y_knots)
        x0, w, y0, h, d0, d1 = self._selected(at, x_knots, y_knots, slopes)
        xi = _spline_root(torch.where(inside, y, 0.0) - y0, w, h, d0, d1)
        log_slope = _spline(xi, w, y0, h, d0, d1)[1]
        return torch.where(inside, x0 + xi * w, y), torch.where(inside, -log_slope, 0.0)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k = self.num_bins
        return parameters[:k], parameters[k : 2 * k], parameters[2 * k :]

    def _knots(self, raw: Tensor) -> Tensor:
        """The ``K + 1`` knots on the first axis, the outer ones exactly at the ends of the interval."""
        share = torch.softmax(raw, 0) * (1 - self.num_bins * self.min_width) + self.min_width
        inner = torch.cumsum(share[:-1], 0) * (2 * self.bound) - self.bound
        end = torch.full_like(inner[:1], self.bound)
        return torch.cat((-end, inner, end))

    def _bin(self, value: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            inside = (value > -self.bound) & (value < self.bound)
            at = (value >= knots[1:-1]).sum(0, keepdim=True)
        return inside, at

    def _selected(
        self, at: Tensor, x_knots: Tensor, y_knots: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        x0, y0 = x_knots.gather(0, at)[0], y_knots.gather(0, at)[0]
        w = x_knots.gather(0, at + 1)[0] - x0
        h = y_knots.gather(0, at + 1)[0] - y0
        # The slopes at the two ends are one by construction and have no parameter.
        last = len(slopes) - 1
        raw0 = torch.where(at == 0, 0.0, slopes.gather(0, (at - 1).clamp(min=0)))[0]
        raw1 = torch.where(at > last, 0.0, slopes.gather(0, at.clamp(max=last)))[0]
        d0 = softplus(raw0 + self.raw_slope_of_one) + self.min_slope
        d1 = softplus(raw1 + self.raw_slope_of_one) + self.min_slope
        return x0, w, y0, h, d0, d1


def _spline(xi: Tensor, w: Tensor, y0: Tensor, h: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    s = h / w
    rest = 1 - xi
    cross = xi * rest
    denominator = s + (d1 + d0 - 2 * s) * cross
    y = y0 + h * (s * xi.square() + d0 * cross) / denominator
    numerator = d1 * xi.square() + 2 * s * cross + d0 * rest.square()
    return y, 2 * torch.log(s / denominator) + torch.log(numerator)


def _spline_root(rise: Tensor, w: Tensor, h: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    s = h / w
    bend = rise * (d1 + d0 - 2 * s)
    a = h * (s - d0) + bend
    b = h * d0 - bend
    c = -s * rise
    discriminant = (b.square() - 4 * a * c).clamp(min=0)
    return 2 * c / (-b - torch.sqrt(discriminant))
