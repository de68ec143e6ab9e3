"""The bijection of an OT-Flow: the flow of a potential's gradient, with its costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Size, Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.runge_kutta import RK4, Tableau, runge_kutta

__all__ = ["OTFlowTransform"]

Sweep = tuple[Tensor, ...]
Stages = list[tuple[float, Sweep]]

# The log-determinant and costs of so many stages are computed together that a few MB are worked on at once:
# enough to make the overhead of each operation small, few enough to stay in the processor's cache.
_NUMBERS_AT_ONCE = 2**19


class Potential(Protocol):
    """What the transform asks of a potential, such as :class:`~pyro_dgm.nets.OTPotential`."""

    input_dim: int
    """Size of x, the first part of s."""
    trace_size: int
    """About how many numbers of a row :meth:`trace` works on at once."""

    def prepare(self) -> Callable[[Tensor], Sweep]:
        """Return an evaluation from rows s to the gradient, first of a tuple that serves :meth:`trace`."""
        ...

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the Laplacian with respect to x, from what an evaluation left."""
        ...


class OTFlowTransform(Bijection):
    r"""Moves points along the gradient of a potential, from the base at t = 0 to the data at t = 1.

    .. math:: \dot x(t) = \nabla_x \Phi(x, 1 - t), \qquad \log|\det| = \int_0^1 \Delta_x \Phi(x, 1 - t) \, dt

    The potential's own time runs as in the paper, from the data to the base, where the velocity is
    :math:`-\nabla\Phi`; this library's runs the other way. Both directions are solved with ``num_steps``
    steps of RK4 and an exact trace; values alone cost no trace. Steps are fixed, so that no row changes
    another one's values. With too few of them the log-determinant is not that of the discrete map, and
    likelihoods look better than they are: report at a number of steps where doubling it changes nothing.

    Along the way from the data to the base, :meth:`inverse_with_costs` also integrates what OT-Flow
    penalises, for optimal paths are straight and satisfy the Hamilton-Jacobi-Bellman equation:

    .. math::
        L = \int_0^1 \tfrac12 \lVert \nabla_x \Phi \rVert^2 dt, \qquad
        R = \int_0^1 \left| \tfrac12 \lVert \nabla_x \Phi \rVert^2 - \partial_t \Phi \right| dt.

    Args:
        potential: The potential of s = (x, t, context).
        num_steps: Number of RK4 steps.
        context: Conditioning vectors of shape ``(*batch, C)``.

    Shape:
        ``x`` and ``y``: ``(*batch, D)``. Log-determinant and costs: ``(*batch,)``; the former in nats.

    Raises:
        DataError: If ``x`` or ``y`` is in half precision, in which the solve has no accuracy left.

    Reference:
        Onken, Wu Fung, Li and Ruthotto, OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
        Transport, AAAI 2021. https://arxiv.org/abs/2006.00104

    Example:
        >>> from pyro_dgm.nets import OTPotential
        >>> t = OTFlowTransform(OTPotential(2), num_steps=8)
        >>> x, ladj, costs = t.inverse_with_costs(torch.randn(5, 2))
        >>> x.shape, ladj.shape, sorted(costs)
        (torch.Size([5, 2]), torch.Size([5]), ['hjb', 'transport'])
    """

    def __init__(self, potential: Potential, num_steps: int, context: Tensor | None = None) -> None:
        super().__init__()
        self.potential, self.num_steps, self.context = potential, num_steps, context
        self.method: Tableau = RK4

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Solve from the base to the data, with the exact trace."""
        y, (ladj,) = self._integrate(x, to_data=True, costs=False)
        return y, ladj

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Solve from the data to the base, with the exact trace."""
        x, (ladj,) = self._integrate(y, to_data=False, costs=False)
        return x, ladj

    def inverse_with_costs(self, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Do what :meth:`inverse_and_ladj` does and, in the same solve, integrate the costs of each row.

        Returns:
            The values, the log-determinants, and a dictionary of ``transport``, the L above, and ``hjb``,
            the residual R, both of the shape of the log-determinants.
        """
        x, (ladj, transport, hjb) = self._integrate(y, to_data=False, costs=True)
        return x, ladj, {"transport": transport, "hjb": hjb}

    def path(self, x: Tensor) -> Tensor:
        """Return the way of each row from the base to the data, ``(num_steps + 1, *batch, D)``."""
        start, batch = self._start(x, to_data=True)
        states = torch.stack([start, *(s for s, _ in self._solve(start, to_data=True, keep=False))])
        return states[..., : x.shape[-1]].reshape(len(states), *batch, x.shape[-1])

    def _call(self, x: Tensor) -> Tensor:
        return self._move(x, to_data=True)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._move(y, to_data=False)

    def _move(self, x: Tensor, *, to_data: bool) -> Tensor:
        start, batch = self._start(x, to_data=to_data)
        *_, (s, _) = self._solve(start, to_data=to_data, keep=False)
        return s[:, : x.shape[-1]].reshape(*batch, x.shape[-1])

    def _integrate(self, x: Tensor, *, to_data: bool, costs: bool) -> tuple[Tensor, list[Tensor]]:
        start, batch = self._start(x, to_data=to_data)
        totals: list[Tensor] = []
        waiting: Stages = []
        for s, stages in self._solve(start, to_data=to_data, keep=True):
            waiting += stages
            if len(waiting) * len(s) * self.potential.trace_size >= _NUMBERS_AT_ONCE:
                totals.append(self._quadrature(waiting, costs=costs))
                waiting = []
        if waiting:
            totals.append(self._quadrature(waiting, costs=costs))
        integrals = [total.reshape(batch) for total in sum(totals[1:], totals[0])]
        return s[:, : x.shape[-1]].reshape(*batch, x.shape[-1]), integrals

    def _start(self, x: Tensor, *, to_data: bool) -> tuple[Tensor, Size]:
        """Return the rows (x, time, context) at which a solve begins, and the batch shape of its result."""
        if x.dtype in (torch.float16, torch.bfloat16):
            raise DataError(
                f"an OT-Flow is solved in float32 or float64, but the values are {x.dtype}: in half "
                "precision the errors of the steps add up to a wrong density. Pass values.float(), and keep "
                "the flow itself in float32."
            )
        time = x.new_full((1,), float(to_data))
        columns = [x, time] if self.context is None else [x, time, self.context]
        batch = torch.broadcast_shapes(*(column.shape[:-1] for column in columns))
        s = torch.cat([column.expand(*batch, -1) for column in columns], dim=-1)
        return s.reshape(-1, s.shape[-1]), batch

    def _solve(self, s: Tensor, *, to_data: bool, keep: bool) -> Iterator[tuple[Tensor, Stages]]:
        # In the potential's time, which is 1 at the base: s' = (-grad Phi, 1, 0).
        evaluate, size = self.potential.prepare(), self.potential.input_dim
        column = torch.arange(s.shape[1], device=s.device)
        moves, drift = -(column < size).to(s), (column == size).to(s)

        def field(time: float, s: Tensor) -> tuple[Tensor, Sweep]:
            sweep = evaluate(s)
            return torch.addcmul(drift, moves, sweep[0]), sweep if keep else ()

        start, end = (1.0, 0.0) if to_data else (0.0, 1.0)
        return runge_kutta(field, s, start, end, self.num_steps, self.method)

    def _quadrature(self, stages: Stages, *, costs: bool) -> Tensor:
        """Integrate over some stages at once: the log-determinant and, if asked for, the costs."""
        weights, sweeps = zip(*stages, strict=True)
        sweep = tuple(torch.cat(part) for part in zip(*sweeps, strict=True))
        rates = [-self.potential.trace(sweep)]
        if costs:
            gradient, size = sweep[0], self.potential.input_dim
            kinetic = 0.5 * gradient[:, :size].square().sum(1)
            rates += [kinetic, (kinetic - gradient[:, size]).abs()]
        per_stage = torch.stack(rates).unflatten(1, (len(weights), -1))
        return torch.matmul(per_stage.new_tensor(weights), per_stage)
