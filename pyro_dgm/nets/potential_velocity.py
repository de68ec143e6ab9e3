"""The gradient of a potential as the velocity of a continuous flow."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.nets.potential import OTPotential
from pyro_dgm.nets.potential_layers import PotentialLayers
from pyro_dgm.nets.velocity import Evaluate, Sweep, Velocity

__all__ = ["PotentialVelocity"]


class PotentialVelocity(Velocity):
    r"""The velocity :math:`v(x, t, c) = \nabla_x \Phi(x, T - t, c)` of a potential.

    The potential's own time runs from the data to the base, as in OT-Flow, and rows s carry that time. The
    divergence is the Laplacian, in closed form; the Jacobian is symmetric.

    Args:
        potential: The potential.
        end_time: The time T at the data.

    Example:
        >>> PotentialVelocity(OTPotential(2))(0.5, torch.randn(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, potential: OTPotential, *, end_time: float = 1.0) -> None:
        super().__init__(potential.input_dim, potential.context_dim, end_time=end_time)
        self.potential = potential
        self.base_time, self.data_time = self.data_time, self.base_time
        self.trace_size = potential.trace_size

    def prepare(self) -> Evaluate:
        """Return the evaluation, which leaves ds/dt, s and what the potential's evaluation leaves."""
        if len(self.potential.layers) == 1:
            return PotentialLayers.of(self.potential)
        evaluate, size = self.potential.prepare(), self.input_dim
        b = self.potential.b
        column = torch.arange(len(b), device=b.device)
        moves, drift = -(column < size).to(b), (column == size).to(b)

        def velocity(s: Tensor) -> Sweep:
            sweep = evaluate(s)
            return torch.addcmul(drift, moves, sweep[0]), s, *sweep

        return velocity

    def trace(self, sweep: Sweep) -> Tensor:
        """Return minus the Laplacian, the divergence of the velocity in the potential's time."""
        return -self.potential.trace(sweep[3:])
