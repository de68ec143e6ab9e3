"""Integrals of positive neural networks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.transforms.monotone import Monotone
from pyro_dgm.transforms.sum_of_squares import gauss_legendre

__all__ = ["MonotoneIntegral"]


class MonotoneIntegral(Monotone):
    r"""An increasing function as the integral of a free network made positive.

    .. math:: x = c + \int_0^y e^{s(t, h)} \, dt, \qquad s = m \tanh(r(t, h) / m)

    with a network ``r`` of a number and of signals ``h`` that differ from entry to entry. The slopes lie
    between :math:`e^{\pm m}`. The integral is by Gauss-Legendre quadrature; the log-slope is that of the
    exact integral, so that log-determinants are as exact as the quadrature, which converges geometrically for
    a smooth network.

    Args:
        network: Maps ``(1 + S, M)``, the number above the signals, to ``(1, M)``; smooth.
        num_signals: Number ``S`` of signals; ``S + 1`` parameters.
        num_nodes: Nodes of the quadrature.
        max_log_slope: The bound ``m``, in nats.

    Reference:
        Wehenkel and Louppe, Unconstrained Monotonic Neural Networks, NeurIPS 2019.
        https://arxiv.org/abs/1908.05164
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        num_signals: int,
        *,
        num_nodes: int = 32,
        max_log_slope: float = 4.0,
    ) -> None:
        if num_signals < 1 or num_nodes < 2 or max_log_slope <= 0:
            raise ValueError(
                "MonotoneIntegral needs num_signals >= 1, num_nodes >= 2 and max_log_slope > 0, but got "
                f"{num_signals=}, {num_nodes=}, {max_log_slope=}."
            )
        self.network, self.num_parameters = network, num_signals + 1
        self.num_nodes, self.max_log_slope = num_nodes, max_log_slope
        self._rule = gauss_legendre(num_nodes)  # here, since no compiled graph can hold how it is found

    def of(self, network: Callable[[Tensor], Tensor]) -> MonotoneIntegral:
        """The same family of another network."""
        other = copy.copy(self)
        other.network = network
        return other

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the function."""
        nodes, weights = (t.to(y) for t in self._rule)
        column = (-1, *(1,) * y.dim())
        # One more node at the end of the range: the slope itself.
        t = (y * torch.cat((nodes, nodes.new_ones(1))).reshape(column)).unsqueeze(0)
        signals = parameters[1:].unsqueeze(1).expand(-1, self.num_nodes + 1, *y.shape)
        raw = self.network(torch.cat((t, signals)).flatten(1)).reshape(self.num_nodes + 1, *y.shape)
        log_slopes = self.max_log_slope * torch.tanh(raw / self.max_log_slope)
        integral = y * (weights.reshape(column) * log_slopes[:-1].exp()).sum(0)
        return parameters[0] + integral, log_slopes[-1]
