"""Gradients of a solve by the adjoint equation: memory that does not grow with the number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.transforms.first_order import first_order
from pyro_dgm.transforms.solver import Evaluate, Rates, Solver

__all__ = ["adjoint_integrate"]


def adjoint_integrate(
    solver: Solver,
    prepare: Callable[[], Evaluate],
    rates: Rates | None,
    s: Tensor,
    start: float,
    end: float,
    parameters: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    r"""Carry rows as ``solver.integrate`` does; their gradient solves a second equation backwards.

    .. math::
        \dot a = -a^\top \frac{\partial v}{\partial s} - b^\top \frac{\partial q}{\partial s}, \qquad
        \frac{dJ}{d\theta} = \int_{start}^{end} a^\top \frac{\partial v}{\partial \theta}
        + b^\top \frac{\partial q}{\partial \theta} \, dt

    with the integrands q of ``rates`` and the gradients b of their integrals, together with the path itself
    solved again from its end. Nothing is kept but that end. The gradient is that of the exact solution, so it
    agrees with the solved one up to the solver's error, and there is no second derivative: asking for one
    raises.

    Args:
        solver: How both equations are solved.
        prepare: Gives the evaluation of the velocity, as :class:`~pyro_dgm.nets.Velocity` does.
        rates: The integrands, or None.
        s: The rows at ``start``.
        start: Time to begin at.
        end: Time to end at.
        parameters: What the velocity depends on besides ``s``; those that need a gradient get one.

    Reference:
        Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations, NeurIPS 2018,
        appendix B. https://arxiv.org/abs/1806.07366
    """
    wanted = [p for p in parameters if p.requires_grad]
    problem = (solver, prepare, rates, start, end)
    outputs: tuple[Tensor, Tensor] = _Adjoint.apply(problem, s, *wanted)
    return outputs


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Any, s: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        solver, prepare, rates, start, end = problem
        with torch.no_grad():
            last, integrals = solver.integrate(prepare(), rates, s, start, end)
        ctx.problem = problem
        ctx.save_for_backward(last, *parameters)
        return last, integrals

    @staticmethod
    def backward(ctx: Any, of_last: Tensor, of_integrals: Tensor) -> tuple[Tensor | None, ...]:
        last, *parameters = ctx.saved_tensors
        solver, prepare, rates, start, end = ctx.problem
        sizes = [last.numel(), last.numel(), *(p.numel() for p in parameters)]

        def field(_: float, y: Tensor) -> Tensor:
            s, a = (part.view_as(last) for part in y[: 2 * last.numel()].chunk(2))
            with torch.enable_grad():
                s = s.detach().requires_grad_()
                sweep = prepare()(s)
                weighted = (a * sweep[0]).sum()
                if rates is not None:
                    weighted = weighted + (of_integrals * rates(sweep)).sum()
                gradients = torch.autograd.grad(weighted, (s, *parameters), allow_unused=True)
            rest = [
                torch.zeros_like(p) if g is None else g
                for p, g in zip((s, *parameters), gradients, strict=True)
            ]
            return torch.cat([sweep[0].detach().flatten(), *(-g.flatten() for g in rest)])

        with torch.no_grad():
            y = torch.cat([last.flatten(), of_last.flatten(), last.new_zeros(sum(sizes[2:]))])
            _, of_s, *of_parameters = solver.carry(field, y, end, start).split(sizes)
        shaped = (g.view_as(p) for g, p in zip((of_s, *of_parameters), (last, *parameters), strict=True))
        return None, *first_order(tuple(shaped))
