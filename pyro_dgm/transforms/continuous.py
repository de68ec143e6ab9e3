"""The bijection of a continuous flow: the solve of an ODE, with its log-determinant and costs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Size, Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.transforms.adjoint import adjoint_integrate
from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.probe import Probe
from pyro_dgm.transforms.solver import Evaluate, FixedSteps, Integrands, Rates, Solver, Sweep

__all__ = ["ContinuousTransform", "VelocityLike"]


class VelocityLike(Protocol):
    """What the transform asks of a velocity; :class:`~pyro_dgm.nets.Velocity` has it all.

    Rows are ``s = (x, t, context)``.
    """

    input_dim: int
    """Size of x, the first part of s."""
    base_time: float
    """The time at the base."""
    data_time: float
    """The time at the data."""
    trace_size: int
    """About how many numbers of a row :meth:`trace` works on at once."""

    def prepare(self) -> Evaluate:
        """Return an evaluation from rows s to ``(ds/dt, s, ...)``, for all evaluations of a solve."""
        ...

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence of dx/dt, from what an evaluation left."""
        ...

    def autograd_trace(self, sweep: Sweep) -> Tensor:
        """Return the same by automatic differentiation."""
        ...

    def pull(self, sweep: Sweep, cotangent: Tensor) -> Tensor:
        """Return the transposed Jacobian of dx/dt times a vector for each row."""
        ...

    def square_jacobian(self, sweep: Sweep) -> Tensor:
        """Return the squared Frobenius norm of that Jacobian."""
        ...

    def parameters(self) -> Iterable[Tensor]:
        """What the velocity depends on besides s."""
        ...


class ContinuousTransform(Bijection):
    r"""Moves points along a velocity, from the base at t = 0 to the data at t = T.

    .. math:: \dot x(t) = v(x(t), t), \qquad \log|\det| = \int_0^T \operatorname{tr} \nabla_x v \, dt

    Values alone cost no trace. The density of the discrete map is not exactly that of the integral: report
    likelihoods at a number of steps where doubling it changes nothing, as
    :func:`~pyro_dgm.diagnostics.audit` finds it.

    :meth:`inverse_with_costs` integrates, in the same solve and forwards in time, what training may penalise:

    - ``kinetic`` and ``transport``, two names of :math:`\int \tfrac12 \lVert v \rVert^2 dt`;
    - ``jacobian``: :math:`\int \lVert \nabla_x v \rVert_F^2 dt`; with a probe :math:`\epsilon` its unbiased
      estimate :math:`\int \lVert \epsilon^\top \nabla_x v \rVert^2 dt`.

    With validation on (Pyro's default), finite rows that become infinite or NaN on the way raise
    :class:`~pyro_dgm.errors.SolverFailed`; without it fixed steps give NaN for these rows alone. Rows that
    are not finite to begin with stay so, and change no other row.

    Args:
        velocity: The velocity of rows s = (x, t, context).
        solver: :class:`FixedSteps` or :class:`AdaptiveSteps`.
        context: Conditioning vectors of shape ``(*batch, C)``.
        trace: ``"exact"``, in closed form where the velocity has one; ``"autograd"``; or a :class:`Probe`
            for Hutchinson's unbiased estimate :math:`\epsilon^\top \nabla_x v \, \epsilon`.
        costs: Names of the costs to integrate.
        adjoint: Whether gradients come from the adjoint equation rather than through the steps.

    Shape:
        ``x`` and ``y``: ``(*batch, D)``. Log-determinant and costs: ``(*batch,)``; the former in nats.

    Raises:
        DataError: If ``x`` or ``y`` is in half precision, in which the solve has no accuracy left.
        SolverFailed: If a solve does not reach its end.

    Example:
        >>> from pyro_dgm.nets import MLPVelocity
        >>> t = ContinuousTransform(MLPVelocity(2), FixedSteps(8), costs=("kinetic",))
        >>> x, ladj, costs = t.inverse_with_costs(torch.randn(5, 2))
        >>> x.shape, ladj.shape, sorted(costs)
        (torch.Size([5, 2]), torch.Size([5]), ['kinetic'])
    """

    def __init__(
        self,
        velocity: VelocityLike,
        solver: Solver,
        context: Tensor | None = None,
        *,
        trace: str | Probe = "exact",
        costs: tuple[str, ...] = (),
        adjoint: bool = False,
    ) -> None:
        super().__init__()
        self.velocity, self.solver, self.context = velocity, solver, context
        self.trace, self.costs, self.adjoint = trace, costs, adjoint
        self.ends = (velocity.base_time, velocity.data_time)

    def part(self, share: float) -> ContinuousTransform:
        """Return the solve that stops at this share of the time: its density is that of points on the way."""
        if not 0 < share <= 1:
            raise ValueError(f"part needs a share of the time in (0, 1], but got {share}.")
        start, end = self.ends
        shorter = copy.copy(self)
        shorter.ends = (start, start + share * (end - start))
        return shorter

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Solve from the base to the data, with the trace."""
        y, (ladj,) = self._solve(x, to_data=True, rates=lambda probe: self._rates((), 1.0, probe))
        return y, ladj

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Solve from the data to the base, with the trace."""
        x, (ladj,) = self._solve(y, to_data=False, rates=lambda probe: self._rates((), 1.0, probe))
        return x, ladj

    def inverse_with_costs(self, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Do what :meth:`inverse_and_ladj` does and, in the same solve, integrate the costs of each row.

        Returns:
            The values, the log-determinants, and the costs by name, of the shape of the log-determinants.
        """
        forwards = 1.0 if self.ends[0] > self.ends[1] else -1.0
        x, (ladj, *costs) = self._solve(
            y, to_data=False, rates=lambda probe: self._rates(self.costs, forwards, probe)
        )
        return x, ladj, dict(zip(self.costs, costs, strict=True))

    def path(self, x: Tensor, num: int | None = None) -> Tensor:
        """Return the way of each row from the base to the data, ``(num + 1, *batch, D)``.

        ``num`` intervals of equal length; by default as many as the solver has steps, or 32.
        """
        start, batch = self._start(x, to_data=True)
        if num is None:
            num = self.solver.num_steps if isinstance(self.solver, FixedSteps) else 32
        states = self.solver.path(self.velocity.prepare(), start, *self.ends, num)
        return states[..., : x.shape[-1]].reshape(num + 1, *batch, x.shape[-1])

    def num_evaluations(self, y: Tensor) -> int:
        """Return how often a solve from the data ``y`` to the base evaluates the velocity."""
        evaluate, count = self.velocity.prepare(), 0

        def counted(s: Tensor) -> Sweep:
            nonlocal count
            count += 1
            return evaluate(s)

        with torch.no_grad():
            start, _ = self._start(y, to_data=False)
            self.solver.integrate(counted, None, start, *self.ends[::-1])
        return count

    def _call(self, x: Tensor) -> Tensor:
        return self._solve(x, to_data=True)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self._solve(y, to_data=False)[0]

    def _solve(
        self, x: Tensor, *, to_data: bool, rates: Callable[[Tensor | None], Rates] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        s, batch = self._start(x, to_data=to_data)
        velocity, size = self.velocity, x.shape[-1]
        start, end = self.ends if to_data else self.ends[::-1]
        probe = self.trace.draw(s[:, :size]) if isinstance(self.trace, Probe) and rates else None
        of_sweep = None if rates is None else rates(probe)
        if self.adjoint and torch.is_grad_enabled():
            parameters = list(velocity.parameters())
            last, integrals = adjoint_integrate(
                self.solver, velocity.prepare, of_sweep, s, start, end, parameters
            )
        else:
            evaluate = velocity.prepare()
            last, integrals = self.solver.integrate(evaluate, of_sweep, s, start, end, velocity.trace_size)
        self._check(s, last, start, end)
        totals = tuple(total.reshape(batch) for total in integrals)
        return last[:, :size].reshape(*batch, size), totals

    def _rates(self, costs: tuple[str, ...], forwards: float, probe: Tensor | None) -> Rates:
        """The integrands: the trace and the rates of the costs, whose sign is that of time's direction."""
        velocity = self.velocity

        def rates(sweep: Sweep) -> Tensor:
            pulled = every = None
            if probe is not None:
                every = probe.repeat(len(sweep[0]) // max(len(probe), 1), 1)  # the same in every stage
                pulled = velocity.pull(sweep, every)
                trace = (pulled * every).sum(1)
            else:
                trace = (velocity.autograd_trace if self.trace == "autograd" else velocity.trace)(sweep)
            return torch.stack([trace, *(forwards * self._cost(name, sweep, pulled) for name in costs)])

        def besides(sweep: Sweep) -> Tensor:
            found = [forwards * self._cost(name, sweep, None) for name in costs]
            return torch.stack(found) if found else sweep[0].new_zeros(0, len(sweep[0]))

        return Integrands(rates, besides if self.trace == "exact" and "jacobian" not in costs else None)

    def _cost(self, name: str, sweep: Sweep, pulled: Tensor | None) -> Tensor:
        """The rate of one cost."""
        if name in ("kinetic", "transport"):
            return 0.5 * sweep[0][:, : self.velocity.input_dim].square().sum(1)
        if name == "jacobian":
            return self.velocity.square_jacobian(sweep) if pulled is None else pulled.square().sum(1)
        raise ValueError(f"{type(self).__name__} knows no cost {name!r}.")

    def _start(self, x: Tensor, *, to_data: bool) -> tuple[Tensor, Size]:
        """Return the rows (x, time, context) at which a solve begins, and the batch shape of its result."""
        if x.dtype in (torch.float16, torch.bfloat16):
            raise DataError(
                f"a continuous flow is solved in float32 or float64, but the values are {x.dtype}: in half "
                "precision the errors of the steps add up to a wrong density. Pass values.float(), and keep "
                "the flow itself in float32."
            )
        time = x.new_full((1,), self.ends[0 if to_data else 1])
        columns = [x, time] if self.context is None else [x, time, self.context]
        batch = torch.broadcast_shapes(*(column.shape[:-1] for column in columns))
        s = torch.cat([column.expand(*batch, -1) for column in columns], dim=-1)
        return s.reshape(-1, s.shape[-1]), batch

    def _check(self, s: Tensor, last: Tensor, start: float, end: float) -> None:
        """Raise for finite rows that did not stay so, while validation is on; a compiled graph cannot."""
        if torch.compiler.is_compiling():
            return
        if not torch.distributions.Distribution._validate_args or not isinstance(self.solver, FixedSteps):
            return
        try:
            fine = bool(last.isfinite().all())
        except RuntimeError:  # under vmap no value can be looked at
            return
        if not fine:
            with torch.no_grad():
                error = self.solver.explain(self.velocity.prepare(), s, start, end)
            if error is not None:
                raise error
