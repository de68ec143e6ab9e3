"""Continuous normalizing flows along a neural velocity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_dgm.arguments import positive_int, positive_number
from pyro_dgm.errors import UnknownNameError
from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import (
    ConcatSquashVelocity,
    MLPVelocity,
    OTPotential,
    PlanarVelocity,
    PotentialVelocity,
    Velocity,
)
from pyro_dgm.transforms import (
    EULER,
    MIDPOINT,
    RK4,
    AdaptiveSteps,
    ContinuousTransform,
    FixedSteps,
    Probe,
    Solver,
)

__all__ = ["CNF"]

_METHODS = {"rk4": RK4, "midpoint": MIDPOINT, "euler": EULER}
_TRACES = ("exact", "autograd", "rademacher", "gaussian")
_FIELDS = ("mlp", "concatsquash", "planar", "potential")
Field = Literal["mlp", "concatsquash", "planar", "potential"] | Callable[[int, int], Velocity]


class CNF(Flow):
    r"""A continuous normalizing flow: points move along the solution of a neural ODE.

    .. math::
        \dot x = v_\theta(x, t, c), \qquad \log p(x(T)) = \log p_Z(x(0)) - \int_0^T \operatorname{tr}
        \nabla_x v_\theta \, dt

    Velocities are free of constraints, and each of the named ones has its trace in closed form. Gradients
    are by default those of the discrete map (discretise, then optimise), of first and second order.

    In training mode a solve takes ``nt_train`` steps, in evaluation mode (after ``flow.eval()``)
    ``nt_eval``. Likelihoods that are reported belong to the latter, and
    :func:`~pyro_dgm.diagnostics.audit` says whether they are enough.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        field: The velocity: ``"mlp"``, ``"concatsquash"`` (FFJORD's layers), ``"planar"``, ``"potential"``
            (a gradient), or a function from ``(input_dim, context_dim)`` to a
            :class:`~pyro_dgm.nets.Velocity`, which brings its own sizes and end time.
        hidden_dims: Widths of the hidden layers: at least one for ``"mlp"``, two for ``"concatsquash"``, one
            for ``"planar"``; as many equal ones as the potential has layers. By default ``(64, 64)``, or
            ``(64,)`` for ``"planar"``.
        end_time: The time T.
        trace: In training mode, ``"exact"`` (closed form where there is one), ``"autograd"`` (exact, by D
            backward passes), or Hutchinson's estimate with a ``"rademacher"`` or ``"gaussian"`` probe, drawn
            when the flow is called and kept by that distribution. Evaluation mode takes the exact trace.
        solver: ``"rk4"``, ``"midpoint"``, ``"euler"``, or ``"dopri5"`` with adaptive steps, which has no
            second derivatives.
        nt_train: Number of fixed steps in training mode.
        nt_eval: Number of fixed steps in evaluation mode, at least ``nt_train``.
        random_steps: Whether the ends of fixed steps are drawn anew in training mode, whenever the flow is
            called: the loss then rewards nothing that depends on where they are.
        tolerance: Relative and absolute tolerance of ``"dopri5"``.
        max_steps: Largest number of steps of ``"dopri5"``, at least 1.
        gradient: ``"backprop"`` through the steps, or ``"adjoint"``: memory that does not grow with the
            steps, accurate to the solver's error, without second derivatives.
        kinetic_weight: Weight of the kinetic energy in the training loss; zero leaves it out.
        jacobian_weight: Weight of the Jacobian's squared Frobenius norm; zero leaves it out.
        support: Where the data lie, as for every :class:`Flow`; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations, NeurIPS 2018.
        https://arxiv.org/abs/1806.07366. The penalties: Finlay, Jacobsen, Nurbekyan and Oberman, How to
        Train Your Neural ODE, ICML 2020. https://arxiv.org/abs/2002.02798

    Example:
        >>> import torch
        >>> flow = CNF(2, hidden_dims=(16, 16)).eval()
        >>> flow().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        field: Field = "mlp",
        hidden_dims: Sequence[int] | None = None,
        end_time: float = 1.0,
        trace: str = "exact",
        solver: str = "rk4",
        nt_train: int = 8,
        nt_eval: int = 16,
        random_steps: bool = False,
        tolerance: float = 1e-5,
        max_steps: int = 1000,
        gradient: str = "backprop",
        kinetic_weight: float = 0.0,
        jacobian_weight: float = 0.0,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        _one_of("trace", trace, _TRACES)
        _one_of("solver", solver, (*_METHODS, "dopri5"))
        _one_of("gradient", gradient, ("backprop", "adjoint"))
        if not 1 <= nt_train <= nt_eval:
            raise ValueError(
                f"{type(self).__name__} needs 1 <= nt_train <= nt_eval, but got {nt_train=} and {nt_eval=}: "
                "likelihoods are reported with at least the accuracy of training."
            )
        weights = {"kinetic": kinetic_weight, "jacobian": jacobian_weight}
        if min(weights.values()) < 0:
            raise ValueError(f"{type(self).__name__} needs weights that are not negative, but got {weights}.")
        self.penalties = {key: weight for key, weight in weights.items() if weight}
        self.trace, self.solver, self.gradient = trace, solver, gradient
        self.nt_train, self.nt_eval, self.random_steps = nt_train, nt_eval, random_steps
        self.tolerance = positive_number("tolerance", tolerance)
        self.max_steps = positive_int("max_steps", max_steps)
        self.velocity = _velocity(field, self.latent_dim, context_dim, hidden_dims, end_time)

    def unconstrained(self, context: Tensor | None = None) -> ContinuousTransform:
        """Return the solve from latent to data, given a ``context`` of shape ``(*batch, C)``.

        In training mode with a stochastic trace it holds a fresh probe.
        """
        trace: str | Probe = self.trace
        if trace in ("rademacher", "gaussian"):
            trace = Probe(trace) if self.training else "exact"
        return ContinuousTransform(
            self.velocity,
            self._solver(),
            context,
            trace=trace,
            costs=tuple(self.penalties),
            adjoint=self.gradient == "adjoint",
        )

    def _solver(self) -> Solver:
        if self.solver == "dopri5":
            return AdaptiveSteps(self.tolerance, self.tolerance, self.max_steps)
        method = _METHODS[self.solver]
        if self.training and self.random_steps:
            return FixedSteps.random(self.nt_train, method)
        return FixedSteps(self.nt_train if self.training else self.nt_eval, method)


def _velocity(
    field: Field, input_dim: int, context_dim: int, hidden_dims: Sequence[int] | None, end_time: float
) -> Velocity:
    if callable(field):
        return field(input_dim, context_dim)
    _one_of("field", field, _FIELDS)
    default = (64,) if field == "planar" else (64, 64)
    widths = default if hidden_dims is None else tuple(hidden_dims)
    if field == "mlp":
        return MLPVelocity(input_dim, context_dim, hidden_dims=widths, end_time=end_time)
    if field == "concatsquash":
        return ConcatSquashVelocity(input_dim, context_dim, hidden_dims=widths, end_time=end_time)
    if len(set(widths)) != 1 or (field == "planar" and len(widths) != 1):
        raise ValueError(f"the field {field!r} has one width, but got hidden_dims={widths}.")
    if field == "planar":
        return PlanarVelocity(input_dim, context_dim, width=widths[0], end_time=end_time)
    potential = OTPotential(input_dim, context_dim, width=widths[0], depth=len(widths))
    return PotentialVelocity(potential, end_time=end_time)


def _one_of(kind: str, got: str, valid: Sequence[str]) -> None:
    if got not in valid:
        raise UnknownNameError.of(kind, got, valid)
