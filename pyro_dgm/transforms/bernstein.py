"""Monotone Bernstein polynomials."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_dgm.transforms.monotone import Monotone

__all__ = ["Bernstein"]


class Bernstein(Monotone):
    r"""Increasing polynomials on an interval in the Bernstein basis, linear outside of it.

    .. math:: x = \sum_{i=0}^M \theta_i \binom{M}{i} u^i (1 - u)^{M-i}, \qquad u = \frac{y + B}{2 B}

    Coefficients that increase make the polynomial increase. The tails continue it with the slopes at the two
    ends, so that function and slope are continuous.

    Args:
        degree: Degree ``M``; ``M + 1`` parameters.
        bound: The interval is ``[-bound, bound]``.
        min_slope: Least slope of the coefficients' polygon.

    Reference:
        Sick, Hothorn and Duerr, Deep transformation models, ICPR 2020. https://arxiv.org/abs/2004.00464
        Ramasinghe, Fernando, Khan and Barnes, Robust normalizing flows using Bernstein-type polynomials, BMVC
        2022. https://arxiv.org/abs/2102.03509
    """

    def __init__(self, degree: int = 16, bound: float = 5.0, *, min_slope: float = 1e-2) -> None:
        if degree < 2 or bound <= 0 or not 0 < min_slope < 1:
            raise ValueError(
                f"Bernstein needs degree >= 2, bound > 0 and 0 < min_slope < 1, but got {degree=}, {bound=}, "
                f"{min_slope=}."
            )
        self.degree, self.bound, self.min_slope = degree, bound, min_slope
        self.num_parameters = degree + 1
        self.raw_slope_of_one = math.log(math.expm1(1 - min_slope))

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the function."""
        # Slopes of the polygon through the coefficients; all one and no shift: the identity.
        slopes = softplus(parameters[1:] + self.raw_slope_of_one) + self.min_slope
        steps = slopes * (2 * self.bound / self.degree)
        start = parameters[0] - self.bound
        theta = torch.cat((start.unsqueeze(0), start + torch.cumsum(steps, 0)))
        inside = (y > -self.bound) & (y < self.bound)
        u = (torch.where(inside, y, 0.0) + self.bound) / (2 * self.bound)
        value, slope = (self._basis(u, self.degree) * theta).sum(0), self._slope(u, slopes)
        below = y <= -self.bound
        end_value = torch.where(below, theta[0], theta[-1])
        end_slope = torch.where(below, slopes[0], slopes[-1])
        beyond = end_value + end_slope * (y - torch.where(below, -self.bound, self.bound))
        return torch.where(inside, value, beyond), torch.where(inside, slope, end_slope).log()

    def _slope(self, u: Tensor, slopes: Tensor) -> Tensor:
        return (self._basis(u, self.degree - 1) * slopes).sum(0)

    @staticmethod
    def _basis(u: Tensor, degree: int) -> Tensor:
        """The basis polynomials on the first axis, at points strictly between zero and one."""
        i = torch.arange(degree + 1, dtype=u.dtype, device=u.device).reshape(-1, *(1,) * u.dim())
        log_binomial = math.lgamma(degree + 1) - torch.lgamma(i + 1) - torch.lgamma(degree - i + 1)
        return (log_binomial + i * u.log() + (degree - i) * torch.log1p(-u)).exp()
