"""FFJORD's velocity: layers whose gates and shifts are functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_dgm.nets.velocity import Evaluate, Sweep, Velocity

__all__ = ["ConcatSquashVelocity"]


class ConcatSquashVelocity(Velocity):
    r"""A tanh network of x whose layers time opens and shifts.

    .. math::
        u_i = \tanh\left( g_i \circ (W_i u_{i-1} + b_i) + H_i (t, c) \right), \quad
        g_i = \operatorname{sigmoid}(\alpha_i t + \beta_i), \quad u_0 = x, \quad
        v = W_L u_{L-1} + b_L + H_L (t, c).

    In FFJORD's code the last layer has a gate too. Without it, which the gates before make up for, the
    divergence of a network with two hidden layers is closed form as in
    :class:`~pyro_dgm.nets.MLPVelocity`, with the slopes :math:`d_i = g_i (1 - u_i^2)`. A fresh network is
    zero.

    Args:
        input_dim: Size ``D`` of x.
        context_dim: Size ``C`` of the context, which enters the shifts; zero for none.
        hidden_dims: Widths of the two hidden layers.
        end_time: The time at the data.

    Shape:
        ``x`` of shape ``(*batch, D)``; velocity likewise.

    Reference:
        Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, FFJORD: Free-form Continuous Dynamics for
        Scalable Reversible Generative Models, ICLR 2019. https://arxiv.org/abs/1810.01367

    Example:
        >>> ConcatSquashVelocity(3, hidden_dims=(16, 16))(0.5, torch.randn(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        end_time: float = 1.0,
    ) -> None:
        super().__init__(input_dim, context_dim, end_time=end_time)
        if len(hidden_dims) != 2 or min(hidden_dims) < 1:
            raise ValueError(f"ConcatSquashVelocity needs two hidden layers, but got {hidden_dims=}.")
        sizes = [input_dim, *hidden_dims, input_dim]
        layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.layers: Sequence[nn.Linear] = layers  # type: ignore[assignment]
        self.gates = nn.Linear(1, sum(hidden_dims))
        self.shifts = nn.Linear(1 + context_dim, sum(sizes[1:]), bias=False)
        for weight in (self.layers[-1].weight, self.layers[-1].bias, self.shifts.weight[-input_dim:]):
            nn.init.zeros_(weight)
        self.trace_size = max(hidden_dims)

    def prepare(self) -> Evaluate:
        """Return the evaluation, which leaves ds/dt, s and the hidden units, in (0, 1), with their gates."""
        # tanh a = 2 sigmoid(2 a) - 1, as in MLPVelocity.
        first, second, last = self.layers
        extra, size = 1 + self.context_dim, self.input_dim
        drift = last.bias.new_zeros(extra)
        drift[0] = 1
        out = torch.cat([2 * last.weight, last.weight.new_zeros(extra, last.in_features)]).t()
        of_out = torch.cat([last.bias - last.weight.sum(1), drift])
        shift = 2 * self.shifts.weight.t()
        moves = torch.cat([shift[:, -size:] / 2, shift.new_zeros(extra, extra)], 1)
        shift = shift[:, :-size]
        ways = (2 * first.weight.t(), 4 * second.weight.t(), out)
        biases = (2 * first.bias, 2 * (second.bias - second.weight.sum(1)), of_out)
        widths = [first.out_features, second.out_features]

        def evaluate(s: Tensor) -> Sweep:
            outer = s[:, size:]
            gates = self.gates(outer[:, :1]).sigmoid().split(widths, 1)
            shifts = (outer @ shift).split(widths, 1)
            one = torch.addcmul(shifts[0], gates[0], torch.addmm(biases[0], s[:, :size], ways[0])).sigmoid()
            two = torch.addcmul(shifts[1], gates[1], torch.addmm(biases[1], one, ways[1])).sigmoid()
            rates = torch.addmm(torch.addmm(biases[2], outer, moves), two, ways[2])
            return rates, s, one, two, *gates

        return evaluate

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence of dx/dt, ``(rows,)``, from what an evaluation left."""
        (first, second, last), (d1, d2) = (layer.weight for layer in self.layers), _slopes(sweep)
        return ((d1 @ (second.t() * (first @ last))) * d2).sum(1)

    def pull(self, sweep: Sweep, cotangent: Tensor) -> Tensor:
        """Return the transposed Jacobian of dx/dt times a vector for each row, ``(rows, D)``."""
        (first, second, last), (d1, d2) = (layer.weight for layer in self.layers), _slopes(sweep)
        return (((cotangent @ last) * d2) @ second * d1) @ first

    def square_jacobian(self, sweep: Sweep) -> Tensor:
        """Return the squared Frobenius norm of the Jacobian of dx/dt, ``(rows,)``."""
        (first, second, last), (d1, d2) = (layer.weight for layer in self.layers), _slopes(sweep)
        jacobian = ((last * d2.unsqueeze(1)) @ second * d1.unsqueeze(1)) @ first
        return jacobian.square().sum((1, 2))


def _slopes(sweep: Sweep) -> tuple[Tensor, Tensor]:
    one, two, open_one, open_two = sweep[2:]
    return 4 * one * (1 - one) * open_one, 4 * two * (1 - two) * open_two
