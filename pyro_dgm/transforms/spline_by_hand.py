"""Monotone rational-quadratic splines, with their derivatives written out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["SplineByHand"]


class SplineByHand(NamedTuple):
    r"""Splines on ``[-bound, bound]``, the identity outside, in either direction.

    In the bin that holds the value, of corner :math:`(x_0, y_0)`, size :math:`(w, h)`, slope
    :math:`s = h / w` and knot slopes :math:`d_0, d_1`, with :math:`\xi = (x - x_0) / w`,
    :math:`\rho = 1 - \xi` and :math:`c = \xi \rho`,

    .. math:: y = y_0 + h u, \quad u = \frac{s \xi^2 + d_0 c}{D}, \quad D = s + (d_0 + d_1 - 2 s) c, \quad
              \log\frac{dy}{dx} = \log\frac{s^2 Q}{D^2}, \quad Q = d_1 \xi^2 + 2 s c + d_0 \rho^2

    With gradients :math:`g` of the image and :math:`\ell` of the log-slope,

    .. math::
        \bar\xi &= g h \frac{s Q}{D^2} + 2 \ell \left(\frac{d_1 \xi + s (\rho - \xi) - d_0 \rho}{Q}
                   - \frac{(d_0 + d_1 - 2 s)(\rho - \xi)}{D}\right) \\
        \bar s &= \frac{g h}{D} (\xi^2 - u (1 - 2 c))
                  + 2 \ell \left(\frac1s + \frac cQ - \frac{1 - 2c}{D}\right) \\
        \bar d_0 &= \frac cD (g h (1 - u) - 2 \ell) + \frac{\ell \rho^2}{Q}, \qquad
        \bar d_1 = -\frac cD (g h u + 2 \ell) + \frac{\ell \xi^2}{Q}

    and from there to corners and sizes by :math:`\xi = (x - x_0) / w`, :math:`s = h / w`. The inverse is a
    root, whose derivatives are those of the function: with gradients :math:`g` of the root and :math:`\ell`
    of the inverse's log-slope, they are the ones above for :math:`-\bar y` and :math:`-\ell` in the places of
    :math:`g` and :math:`\ell`, where

    .. math:: \bar y = \left(g - \ell \frac{d}{dx} \log\frac{dy}{dx}\right) \Big/ \frac{dy}{dx}

    Args:
        num_bins: Number of bins.
        bound: The splines act on ``[-bound, bound]``.
        min_width: Least width and height of a bin, as a fraction of the interval.
        min_slope: Least slope at a knot.
        raw_slope_of_one: What raw slopes are shifted by.
        back: Whether this is the inverse.
    """

    num_bins: int
    bound: float
    min_width: float
    min_slope: float
    raw_slope_of_one: float
    back: bool

    def values(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Evaluate the splines, or solve the quadratic of the bin that holds the value."""
        inside = value.abs() < self.bound
        at = torch.where(inside, value, 0.0)
        shares, knots = self._shares_and_knots(parameters[: 2 * self.num_bins])
        # As numbers: their sum, and products with them, are several times faster than those of truth values.
        inner = knots[1 if self.back else 0, 1:-1]
        below = torch.ge(at, inner, out=torch.empty_like(inner))
        index = below.sum(0).long()
        ends = torch.stack((index, index + 1))
        corners = knots.gather(1, ends.expand(2, *ends.shape))
        low = corners[:, 0]
        size = corners[:, 1] - low
        slope = size[1] / size[0]
        raw = self._raw_slopes(parameters[2 * self.num_bins :]).gather(0, ends)
        ends_slopes = softplus(raw).add_(self.min_slope)
        bend = ends_slopes.sum(0).sub_(slope, alpha=2)
        if self.back:
            xi = _root(at - low[1], size[1], slope, ends_slopes[0], bend)
            image = torch.addcmul(low[0], xi, size[0])
        else:
            xi = (at - low[0]).div_(size[0])
        rest = 1 - xi
        cross, square = xi * rest, xi * xi
        denominator = torch.addcmul(slope, bend, cross)
        quotient = torch.addcmul(ends_slopes[0] * cross, slope, square).div_(denominator)
        q = torch.addcmul(cross * slope * 2, ends_slopes[1], square).addcmul_(ends_slopes[0] * rest, rest)
        steepness = (slope / denominator).square_().mul_(q)
        log_slope = steepness.log()
        if self.back:
            log_slope = log_slope.neg_()
        else:
            image = torch.addcmul(low[1], size[1], quotient)
        image = torch.where(inside, image, value)
        log_slope.masked_fill_(~inside, 0.0)
        kept = [inside, shares, below, ends, size, raw, ends_slopes, xi, denominator, quotient, q, steepness]
        return image, log_slope, kept

    def gradients(self, kept: Sequence[Tensor], image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Pull gradients back."""
        inside, shares, below, ends, size, raw, (d0, d1), xi, denominator, u, q, steepness = kept
        width, height = size
        s, rest = height / width, 1 - xi
        cross, turn = xi * rest, rest - xi
        g, log = torch.where(inside, image, 0.0), torch.where(inside, ladj, 0.0)
        bend = (d0 + d1).sub_(s, alpha=2)
        # The gradient of the forward log-slope with respect to xi.
        change = torch.addcmul(d1 * xi, s, turn).addcmul_(d0, rest, value=-1).div_(q)
        change.sub_(bend * turn / denominator).mul_(2)
        if self.back:
            to_xi = -width * g
            to_value = torch.addcmul(g, log, change / width, value=-1).div_(steepness)
            g, log = -to_value, -log
        else:
            to_xi = torch.addcmul(log * change, g * width, steepness)
            to_value = to_xi / width
        gh, double = g * height, 2 * log
        per_cross, log_per_q = cross / denominator, log / q
        to_d0 = torch.addcmul(per_cross * torch.addcmul(gh - double, gh, u, value=-1), log_per_q, rest * rest)
        to_d1 = torch.addcmul(log_per_q * xi * xi, per_cross, torch.addcmul(double, gh, u), value=-1)
        odd = 1 - 2 * cross
        to_s = torch.addcmul(xi * xi, u, odd, value=-1).mul_(gh).addcmul_(double, odd, value=-1)
        to_s.div_(denominator).addcmul_(double, cross / q + 1 / s)
        to_width = torch.addcmul(to_xi * xi, to_s, s).div_(width).neg_()
        to_size = torch.stack((to_width, torch.addcmul(to_s / width, g, u)))
        to_corner = torch.stack((to_xi / -width, g))
        parameters = torch.cat(
            (
                self._to_raw_sizes(to_corner, to_size, shares, below, ends[:1]),
                self._to_raw_slopes(torch.stack((to_d0, to_d1)).mul_(torch.sigmoid(raw)), ends),
            )
        )
        return torch.where(inside, to_value, image), parameters

    def _shares_and_knots(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Widths and heights as shares of the interval, and the ``K + 1`` knots on the second axis."""
        shares = torch.softmax(raw.view(2, self.num_bins, *raw.shape[1:]), 1)
        knots = raw.new_empty(2, self.num_bins + 1, *raw.shape[1:])
        knots[:, 0], knots[:, -1] = -self.bound, self.bound
        least = torch.arange(1, self.num_bins, dtype=raw.dtype, device=raw.device)
        least = least.mul_(self.min_width).sub_(0.5).mul_(2 * self.bound).view(-1, *(1,) * (raw.dim() - 1))
        torch.add(least, self._running_sums(shares), alpha=self._scale, out=knots[:, 1:-1])
        return shares, knots

    def _running_sums(self, shares: Tensor) -> Tensor:
        """The sums of the first share, of two, and so on up to all but one.

        As exact as torch's cumsum, which goes entry by entry: a steep inverse turns a digit lost here into
        many.
        """
        if shares.device.type == "mps":  # which has no double precision
            return torch.cumsum(shares[:, :-1], 1)
        sums = shares[:, :-1].to(torch.float64, copy=True)
        for before, after in pairwise(sums.unbind(1)):
            after.add_(before)
        return sums.to(shares.dtype)

    @property
    def _scale(self) -> float:
        return 2 * self.bound * (1 - self.num_bins * self.min_width)

    def _raw_slopes(self, inner: Tensor) -> Tensor:
        """What the slopes at all ``K + 1`` knots are read off; those at the ends are one."""
        one = torch.zeros_like(inner[:1])
        return torch.cat((one, inner, one)).add_(self.raw_slope_of_one)

    def _to_raw_sizes(
        self, corner: Tensor, size: Tensor, shares: Tensor, below: Tensor, index: Tensor
    ) -> Tensor:
        # The corner of a bin moves with all shares before it, the size with its own.
        to_shares = torch.empty_like(shares)
        torch.mul((corner * self._scale).unsqueeze(1), below, out=to_shares[:, :-1])
        to_shares[:, -1] = 0
        to_shares.scatter_(1, index.expand(2, *index.shape), (size * self._scale).unsqueeze(1))
        to_raw = torch.ops.aten._softmax_backward_data(to_shares, shares, 1, shares.dtype)
        return to_raw.flatten(0, 1)  # type: ignore[no-any-return]

    def _to_raw_slopes(self, to_ends: Tensor, ends: Tensor) -> Tensor:
        found = to_ends.new_zeros(self.num_bins + 1, *to_ends.shape[1:])
        return found.scatter_(0, ends, to_ends)[1:-1]


def _root(rise: Tensor, height: Tensor, slope: Tensor, d0: Tensor, bend: Tensor) -> Tensor:
    """Where in the bin a spline has risen by this much."""
    bent = rise * bend
    a = torch.addcmul(bent, height, slope - d0)
    b = (height * d0).sub_(bent)
    c = slope * rise
    root = torch.addcmul(b * b, a, c, value=4).clamp_(min=0).sqrt_()
    return c.mul_(2).div_(root.add_(b))
