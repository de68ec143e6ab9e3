"""Integrals of sums of squares of polynomials."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.transforms.monotone import Monotone

__all__ = ["SumOfSquares", "gauss_legendre"]


class SumOfSquares(Monotone):
    r"""Increasing polynomials on an interval, linear outside of it.

    .. math:: x = c + \int_0^y \Big( \epsilon + \frac{1 - \epsilon}{K} \sum_{k=1}^K p_k(s / B)^2 \Big) ds

    with ``K`` polynomials of degree ``L`` for :math:`|y| \le B`. The tails continue it with the slopes at
    the two ends: a polynomial of degree ``2 L + 1`` over all of the line would leave no layer after it a
    number that it could work with. The integral is by Gauss-Legendre quadrature, which is exact here.

    The slope is bounded, so that a stack of layers stays within single precision on rows that nobody has
    scaled: with the sum :math:`q` of the squares of all raw coefficients, the polynomials have coefficients
    :math:`a_{kj} / \sqrt{1 + q (L + 1) / (K M)}`, and by the inequality of Cauchy and Schwarz no slope
    above :math:`M = e^c`.

    Args:
        num_polynomials: Number ``K`` of polynomials.
        degree: Their degree ``L``; ``K (L + 1) + 1`` parameters.
        bound: The interval is ``[-bound, bound]``.
        min_slope: Least slope :math:`\epsilon`.
        max_log_slope: The bound :math:`c` of the log-slope, in nats; infinite for none.

    Raises:
        ValueError: If a size or a bound is out of its range.

    Reference:
        Jaini, Selby and Yu, Sum-of-Squares Polynomial Flow, ICML 2019. https://arxiv.org/abs/1905.02325
    """

    def __init__(
        self,
        num_polynomials: int = 3,
        degree: int = 4,
        bound: float = 5.0,
        *,
        min_slope: float = 1e-2,
        max_log_slope: float = 4.0,
    ) -> None:
        sizes = num_polynomials >= 1 and degree >= 1 and 0 < bound < math.inf
        if not (sizes and 0 < min_slope < 1 and max_log_slope > math.log(degree + 2)):
            raise ValueError(
                "SumOfSquares needs num_polynomials >= 1, degree >= 1, a finite bound > 0, 0 < min_slope < 1 "
                f"and max_log_slope > log(degree + 2), but got {num_polynomials=}, {degree=}, {bound=}, "
                f"{min_slope=}, {max_log_slope=}."
            )
        self.num_polynomials, self.degree = num_polynomials, degree
        self._rule = gauss_legendre(degree + 1)  # here, since no compiled graph can hold how it is found
        self.bound, self.min_slope, self.max_log_slope = bound, min_slope, max_log_slope
        # What the sum of the squared coefficients weighs against one.
        self._weight = (degree + 1) / num_polynomials * math.exp(-max_log_slope)
        self.num_parameters = num_polynomials * (degree + 1) + 1

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the function."""
        raw = parameters[1:]
        bounded = raw * torch.rsqrt(1 + self._weight * raw.square().sum(0))
        coefficients = bounded.unflatten(0, (self.degree + 1, self.num_polynomials))
        clamped = torch.where(y.abs() < self.bound, y, torch.where(y < 0, -self.bound, self.bound))
        nodes, weights = (t.to(y) for t in self._rule)
        t = clamped / self.bound
        column = (-1, *(1,) * y.dim())
        # One more node at the end of the range: the slope itself.
        points = t * torch.cat((nodes, nodes.new_ones(1))).reshape(column)
        slopes = self._slope(points.unsqueeze(1), coefficients.unsqueeze(1))
        integral = clamped * (weights.reshape(column) * slopes[:-1]).sum(0)
        return parameters[0] + integral + slopes[-1] * (y - clamped), slopes[-1].log()

    def _slope(self, t: Tensor, coefficients: Tensor) -> Tensor:
        value = coefficients[-1]
        for c in coefficients[:-1].flip(0):  # Horner's scheme
            value = value * t + c
        return self.min_slope + (1 - self.min_slope) * value.square().mean(1)

    def identity(self) -> Tensor:
        """Polynomials near one with slopes apart from each other: near the identity.

        With equal polynomials it would be the identity, and they would stay equal.
        """
        coefficients = torch.zeros(self.degree + 1, self.num_polynomials)
        coefficients[0] = 1
        coefficients[1] = torch.linspace(-0.2, 0.2, self.num_polynomials) if self.num_polynomials > 1 else 0
        # Larger by what the bound takes off again.
        coefficients *= (1 - self._weight * coefficients.square().sum()).rsqrt()
        return torch.cat((torch.zeros(1), coefficients.flatten()))


@functools.lru_cache(maxsize=8)
def gauss_legendre(num_nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1], in double precision."""
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
