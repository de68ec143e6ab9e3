"""The planar velocity: a sum of ridges that time opens and closes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_dgm.nets.mlp import MLP
from pyro_dgm.nets.velocity import Evaluate, Sweep, Velocity

__all__ = ["PlanarVelocity"]


class PlanarVelocity(Velocity):
    r"""Many planar moves at once, each with a gate that depends on time and context.

    .. math::
        v(x, t, c) = \sum_{m=1}^M g_m(t, c) \, u_m \tanh(w_m^\top x + b_m), \qquad
        \operatorname{tr} \nabla_x v = \sum_m g_m \, u_m^\top w_m \left( 1 - \tanh^2 \right)

    with gates in (0, 1) from a small network. Unlike the finite planar flow it needs no constraint: every
    such velocity is a bijection. A fresh one is zero.

    Args:
        input_dim: Size ``D`` of x.
        context_dim: Size ``C`` of the context; zero for none.
        width: The number M of moves.
        end_time: The time at the data.

    Shape:
        ``x`` of shape ``(*batch, D)``; velocity likewise.

    Reference:
        Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations, NeurIPS 2018,
        section 4. https://arxiv.org/abs/1806.07366

    Example:
        >>> PlanarVelocity(3, width=16)(0.5, torch.randn(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, input_dim: int, context_dim: int = 0, *, width: int = 64, end_time: float = 1.0
    ) -> None:
        super().__init__(input_dim, context_dim, end_time=end_time)
        self.ridge = nn.Linear(input_dim, width)
        self.gate = MLP(1 + context_dim, width, (16,), activation=nn.Tanh)
        self.u = nn.Parameter(torch.zeros(input_dim, width))
        self.trace_size = width

    def prepare(self) -> Evaluate:
        """Return the evaluation, which leaves ds/dt, s, the ridges' tanh and the gates."""
        size, outward = self.input_dim, self.u.t()

        def evaluate(s: Tensor) -> Sweep:
            tanh = self.ridge(s[:, :size]).tanh()
            gate = self.gate(s[:, size:]).sigmoid()
            velocity = (gate * tanh) @ outward
            time = torch.ones_like(s[:, :1])
            return torch.cat([velocity, time, torch.zeros_like(s[:, size + 1 :])], 1), s, tanh, gate

        return evaluate

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence of dx/dt, ``(rows,)``, from what an evaluation left."""
        tanh, gate = sweep[2:]
        return torch.mv(gate * (1 - tanh.square()), (self.ridge.weight * self.u.t()).sum(1))

    def pull(self, sweep: Sweep, cotangent: Tensor) -> Tensor:
        """Return the transposed Jacobian of dx/dt times a vector for each row, ``(rows, D)``."""
        tanh, gate = sweep[2:]
        return ((cotangent @ self.u) * (gate * (1 - tanh.square()))) @ self.ridge.weight

    def square_jacobian(self, sweep: Sweep) -> Tensor:
        """Return the squared Frobenius norm of the Jacobian of dx/dt, ``(rows,)``."""
        tanh, gate = sweep[2:]
        slope = gate * (1 - tanh.square())
        # |U D W|^2 = d^T (U^T U * W W^T) d: its cost does not grow with D.
        gram = (self.u.t() @ self.u) * (self.ridge.weight @ self.ridge.weight.t())
        return ((slope @ gram) * slope).sum(1)
