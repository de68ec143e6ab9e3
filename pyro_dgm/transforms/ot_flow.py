"""The bijection of an OT-Flow: the flow of a potential's gradient, with its costs."""

from __future__ import annotations

from torch import Tensor

from pyro_dgm.transforms.continuous import ContinuousTransform, VelocityLike
from pyro_dgm.transforms.solver import Solver, Sweep

__all__ = ["OTFlowTransform"]


class OTFlowTransform(ContinuousTransform):
    r"""Moves points along the gradient of a potential, from the base at t = 0 to the data at t = 1.

    .. math:: \dot x(t) = \nabla_x \Phi(x, 1 - t), \qquad \log|\det| = \int_0^1 \Delta_x \Phi(x, 1 - t) \, dt

    The potential's own time runs as in the paper, from the data to the base, where the velocity is
    :math:`-\nabla\Phi`; this library's runs the other way. Values alone cost no trace.

    Along the way from the data to the base, :meth:`inverse_with_costs` also integrates what OT-Flow
    penalises, for optimal paths are straight and satisfy the Hamilton-Jacobi-Bellman equation:

    .. math::
        L = \int_0^1 \tfrac12 \lVert \nabla_x \Phi \rVert^2 dt, \qquad
        R = \int_0^1 \left| \tfrac12 \lVert \nabla_x \Phi \rVert^2 - \partial_t \Phi \right| dt.

    Args:
        velocity: The gradient of a potential, as a :class:`~pyro_dgm.nets.PotentialVelocity`.
        solver: How it is solved.
        context: Conditioning vectors of shape ``(*batch, C)``.

    Shape:
        ``x`` and ``y``: ``(*batch, D)``. Log-determinant and costs: ``(*batch,)``; the former in nats.

    Reference:
        Onken, Wu Fung, Li and Ruthotto, OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
        Transport, AAAI 2021. https://arxiv.org/abs/2006.00104

    Example:
        >>> import torch
        >>> from pyro_dgm.nets import OTPotential, PotentialVelocity
        >>> from pyro_dgm.transforms import FixedSteps
        >>> t = OTFlowTransform(PotentialVelocity(OTPotential(2)), FixedSteps(8))
        >>> x, ladj, costs = t.inverse_with_costs(torch.randn(5, 2))
        >>> x.shape, ladj.shape, sorted(costs)
        (torch.Size([5, 2]), torch.Size([5]), ['hjb', 'transport'])
    """

    def __init__(self, velocity: VelocityLike, solver: Solver, context: Tensor | None = None) -> None:
        super().__init__(velocity, solver, context, costs=("transport", "hjb"))

    def _cost(self, name: str, sweep: Sweep, pulled: Tensor | None) -> Tensor:
        if name != "hjb":
            return super()._cost(name, sweep, pulled)
        gradient, size = sweep[2], self.velocity.input_dim
        return (0.5 * gradient[:, :size].square().sum(1) - gradient[:, size]).abs()
