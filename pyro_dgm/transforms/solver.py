"""How a continuous transform gets from one end of its path to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import torch
from torch import Tensor

from pyro_dgm.errors import SolverFailed
from pyro_dgm.transforms.runge_kutta import RK4, Tableau, runge_kutta

__all__ = ["FixedSteps", "Solver"]

Sweep = Sequence[Tensor]
Evaluate = Callable[[Tensor], Sweep]
Rates = Callable[[Sweep], Tensor]

# Integrands of so many stages are computed together that a few MB are worked on at once: enough to make the
# overhead of each operation small, few enough to stay in the processor's cache.
_NUMBERS_AT_ONCE = 2**19


class Solver(Protocol):
    """What a transform asks of a solver."""

    def integrate(
        self, evaluate: Evaluate, rates: Rates | None, s: Tensor, start: float, end: float, size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Carry rows ``s`` from time ``start`` to ``end``, integrating ``rates`` along the way.

        Args:
            evaluate: Maps rows to the time derivative, first of a tuple that ``rates`` is given.
            rates: Maps what an evaluation left to integrands ``(k, rows)``; None for none.
            s: The rows at ``start``, ``(rows, S)``; among their columns is the time.
            start: Time to begin at.
            end: Time to end at, before ``start`` to go backwards.
            size: About how many numbers of a row ``rates`` works on at once.

        Returns:
            The rows at ``end`` and the integrals ``(k, rows)``.
        """
        ...

    def path(self, evaluate: Evaluate, s: Tensor, start: float, end: float, num: int) -> Tensor:
        """Return the rows at ``num + 1`` equally spaced times from ``start`` to ``end``."""
        ...

    def carry(self, field: Callable[[float, Tensor], Tensor], y: Tensor, start: float, end: float) -> Tensor:
        """Integrate any state: ``field`` maps time and state to the derivative."""
        ...


@dataclass(frozen=True)
class FixedSteps:
    """So many equal steps of an explicit Runge-Kutta method.

    No row changes another one's values, the cost is known beforehand, and derivatives of every order are
    those of the discrete map. Too few steps show in no error: compare with twice as many.

    Attributes:
        num_steps: Number of steps.
        method: Its coefficients.
    """

    num_steps: int
    method: Tableau = RK4

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the velocity in one solve."""
        return self.num_steps * len(self.method.nodes)

    def integrate(
        self, evaluate: Evaluate, rates: Rates | None, s: Tensor, start: float, end: float, size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Carry rows from ``start`` to ``end`` and integrate ``rates``, of many stages at a time."""

        def field(time: float, s: Tensor) -> tuple[Tensor, Sweep]:
            sweep = evaluate(s)
            return sweep[0], sweep if rates is not None else ()

        totals: list[Tensor] = []
        waiting: list[tuple[float, Sweep]] = []
        last = s
        for last, stages in runge_kutta(field, s, start, end, self.num_steps, self.method):
            if rates is None:
                continue
            waiting += stages
            if len(waiting) * len(last) * size >= _NUMBERS_AT_ONCE:
                totals.append(_quadrature(waiting, rates))
                waiting = []
        if waiting and rates is not None:
            totals.append(_quadrature(waiting, rates))
        return last, sum(totals[1:], totals[0]) if totals else last.new_zeros(0, len(last))

    def path(self, evaluate: Evaluate, s: Tensor, start: float, end: float, num: int) -> Tensor:
        """Return the rows at ``num + 1`` times; every interval takes the share of the steps that it needs."""
        per_interval = -(-self.num_steps // num)
        steps = runge_kutta(
            lambda _, s: (evaluate(s)[0], None), s, start, end, per_interval * num, self.method
        )
        states = [s, *(state for state, _ in steps)]
        return torch.stack(states[::per_interval])

    def carry(self, field: Callable[[float, Tensor], Tensor], y: Tensor, start: float, end: float) -> Tensor:
        """Integrate any state."""
        last = y
        steps = runge_kutta(lambda t, y: (field(t, y), None), y, start, end, self.num_steps, self.method)
        for state, _ in steps:
            last = state
        return last

    def explain(self, evaluate: Evaluate, s: Tensor, start: float, end: float) -> SolverFailed | None:
        """Find the step in which finite rows stopped being finite; None if there is none."""
        fine = s.isfinite().all(1)
        steps = runge_kutta(lambda _, s: (evaluate(s)[0], None), s, start, end, self.num_steps, self.method)
        for i, (state, _) in enumerate(steps):
            rows = tuple((fine & ~state.isfinite().all(1)).nonzero().flatten().tolist())
            if rows:
                t = start + (i + 1) * (end - start) / self.num_steps
                nfe = (i + 1) * len(self.method.nodes)
                return failure("the state stopped being finite", t, nfe, rows)
        return None


def failure(reason: str, t: float, nfe: int, rows: tuple[int, ...] = ()) -> SolverFailed:
    """The error of a solve that stopped, with what to do about it."""
    shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
    which = f", because of rows {shown}" if rows else ""
    return SolverFailed(
        f"the solve stopped at t = {t:.4g} after {nfe} evaluations of the velocity{which}: {reason}. Look at "
        "these rows for outliers; let the velocity grow more slowly (a smaller learning rate, a penalty on "
        "the kinetic energy); or allow more steps.",
        reason=reason,
        t=t,
        nfe=nfe,
        rows=rows,
    )


class _Joined(Sequence[Tensor]):
    """The sweeps of several stages as one, joined part by part when a part is asked for."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self.parts = list(zip(*sweeps, strict=True))

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, index: int | slice) -> Tensor | tuple[Tensor, ...]:
        if isinstance(index, slice):
            return tuple(torch.cat(part) for part in self.parts[index])
        return torch.cat(self.parts[index])


def _quadrature(stages: list[tuple[float, Sweep]], rates: Rates) -> Tensor:
    """Integrate over some stages at once."""
    weights, sweeps = zip(*stages, strict=True)
    per_stage = rates(_Joined(sweeps))
    per_stage = per_stage.unflatten(1, (len(weights), -1))
    return torch.matmul(per_stage.new_tensor(weights), per_stage)
