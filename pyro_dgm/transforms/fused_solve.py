"""A solve with its integrals as one operation, whose backward pass is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pyro_dgm.transforms.runge_kutta import Tableau, runge_kutta

__all__ = ["FusedEvaluate", "can_fuse", "fused_solve"]

Sweep = Sequence[Tensor]


@runtime_checkable
class FusedEvaluate(Protocol):
    """An evaluation of a velocity and its divergence that knows its own derivative."""

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """What it depends on besides s."""
        ...

    def with_weights(self, weights: Sequence[Tensor]) -> FusedEvaluate:
        """Return the same evaluation with other weights."""
        ...

    def __call__(self, s: Tensor) -> Sweep:
        """Return ds/dt, s, and whatever else serves :meth:`trace`."""
        ...

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence ``(rows,)``, from what an evaluation left."""
        ...

    def record(self, sweep: Sweep) -> Tensor:
        """Return the part of an evaluation, ``(rows, S)``, from which the costs of a path follow."""
        ...

    def of_record(self, record: Tensor) -> Sweep:
        """Return as much of an evaluation as costs look at, from its record."""
        ...

    def keep(self, s: Tensor) -> tuple[Sweep, Tensor, Sequence[Tensor]]:
        """Return an evaluation, its divergence, and what :meth:`pull` needs; without gradients."""
        ...

    def pull(
        self,
        kept: Sequence[Tensor],
        of_velocity: Tensor,
        of_record: Tensor | None,
        of_trace: Tensor,
        gradients: list[Tensor],
    ) -> Tensor:
        """Return the cotangent of s, and put into ``gradients`` what is there plus those of the weights.

        Those of matrices are turned.
        """
        ...


def can_fuse(evaluate: Any, s: Tensor) -> TypeGuard[FusedEvaluate]:
    """Whether :func:`fused_solve` is of use: gradients are wanted, and nothing else traces the tensors."""
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and isinstance(evaluate, FusedEvaluate)
        and (s.requires_grad or any(weight.requires_grad for weight in evaluate.weights))
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled(s.device.type)
        and len(s) > 0
    )


def fused_solve(
    evaluate: FusedEvaluate,
    s: Tensor,
    start: float,
    end: float,
    num_steps: int,
    method: Tableau,
    shares: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Carry rows from ``start`` to ``end`` and integrate the divergence.

    One node of the graph instead of hundreds. With the slopes :math:`k_i = v(s_i)` of the stages
    :math:`s_i = s + h \sum_j a_{ij} k_j`, its backward pass goes through the steps from the last to the
    first,

    .. math::
        \bar k_i = h b_i \bar s' + h \sum_{j > i} a_{ji} \bar s_j + \bar q_i, \qquad
        \bar s_i = \left( \frac{\partial v}{\partial s} \right)^\top \bar k_i
        + h b_i \bar l \, \frac{\partial \operatorname{tr}}{\partial s}, \qquad
        \bar s = \bar s' + \sum_i \bar s_i,

    with the cotangents :math:`\bar l` of the integral and :math:`\bar q_i` of what is recorded of each stage,
    for costs that are integrated elsewhere. It is the gradient of the discrete map, as that of automatic
    differentiation; derivatives of higher order are those of the plain formula.

    Args:
        evaluate: The evaluation, with its derivative.
        s: The rows at ``start``.
        start: Time to begin at.
        end: Time to end at.
        num_steps: Number of steps.
        method: Coefficients of the steps.
        shares: The share of the time that each step takes, in the order of the solve.

    Returns:
        The rows at ``end``, the integral of the divergence ``(rows,)``, and the records of all stages, stage
        by stage.
    """
    problem = (evaluate, start, end, num_steps, method, shares)
    outputs: tuple[Tensor, Tensor, Tensor] = _FusedSolve.apply(problem, s, *evaluate.weights)
    return outputs


def _formula(problem: Any, s: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    evaluate, *span = problem
    evaluate = evaluate.with_weights(weights)
    records: list[Tensor] = []

    def field(_: float, s: Tensor) -> tuple[Tensor, Tensor]:
        sweep = evaluate(s)
        records.append(evaluate.record(sweep))
        return sweep[0], evaluate.trace(sweep)

    last, total = s, s.new_zeros(len(s))
    for state, stages in runge_kutta(field, s, *span):
        last = state
        for weight, trace in stages:
            total = torch.add(total, trace, alpha=weight)
    return last, total, torch.cat(records)


class _FusedSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Any, s: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        evaluate, *span = problem
        evaluate = evaluate.with_weights(weights)
        records: list[Tensor] = []
        kept: list[tuple[float, Sequence[Tensor]]] = []
        last, total = s, s.new_zeros(len(s))

        def field(_: float, s: Tensor) -> tuple[Tensor, tuple[Tensor, Sequence[Tensor]]]:
            sweep, trace, of_stage = evaluate.keep(s)
            records.append(evaluate.record(sweep))
            return sweep[0], (trace, of_stage)

        for state, stages in runge_kutta(field, s, *span):
            last = state
            for weight, (trace, of_stage) in stages:
                total.add_(trace, alpha=weight)
                kept.append((weight, of_stage))
        ctx.problem, ctx.kept = problem, kept
        ctx.save_for_backward(s, *weights)
        ctx.set_materialize_grads(False)
        return last, total, torch.cat(records)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this one is wanted: that of the formula
            return None, *_differentiable(ctx, inputs, cotangents)
        s, *weights = inputs
        of_last, of_total, of_records = cotangents
        # Of the turned weights: most of these are wide, and products with a narrow result are slow.
        turned = [weight.new_zeros(weight.shape[::-1]) for weight in weights]
        of_s = torch.zeros_like(s) if of_last is None else of_last
        of_trace = s.new_zeros(len(s)) if of_total is None else of_total
        none: Sequence[Tensor | None] = [None] * len(ctx.kept)
        own = none if of_records is None else of_records.split(len(s))
        evaluate, start, end, num_steps, method, shares = ctx.problem
        evaluate = evaluate.with_weights(weights)
        for i in reversed(range(num_steps)):
            step = (end - start) * (1 / num_steps if shares is None else shares[i])
            these = slice(i * len(method.nodes), (i + 1) * len(method.nodes))
            stages = [(*kept, record) for kept, record in zip(ctx.kept[these], own[these], strict=True)]
            of_s = _through_a_step(evaluate, stages, step, method, of_s, of_trace, turned)
        return None, of_s, *(gradient.t() for gradient in turned)


def _through_a_step(
    evaluate: FusedEvaluate,
    stages: Sequence[tuple[float, Sequence[Tensor], Tensor | None]],
    step: float,
    method: Tableau,
    of_end: Tensor,
    of_total: Tensor,
    gradients: list[Tensor],
) -> Tensor:
    """The cotangent of the rows before a step."""
    slopes = [torch.mul(of_end, step * weight) for weight in method.weights]
    of_start = of_end
    for i in reversed(range(len(slopes))):
        weight, kept, of_record = stages[i]
        of_stage = evaluate.pull(kept, slopes[i], of_record, weight * of_total, gradients)
        of_start = of_start + of_stage
        for j, factor in enumerate(method.matrix[i]):
            if factor:
                slopes[j] = torch.add(slopes[j], of_stage, alpha=step * factor)
    return of_start


def _differentiable(
    ctx: Any, inputs: Sequence[Tensor], cotangents: Sequence[Tensor | None]
) -> list[Tensor | None]:
    # Aliases, so that what one input owes to another by way of the graph is not counted here.
    aliases = [t.view_as(t) for t in inputs]
    wanted = [t for t, needed in zip(aliases, ctx.needs_input_grad[1:], strict=True) if needed]
    outputs = _formula(ctx.problem, aliases[0], aliases[1:])
    pairs = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if c is not None]
    ys, cs = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(ys, wanted, cs, create_graph=True, allow_unused=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[1:]]
