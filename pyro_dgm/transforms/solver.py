"""How a continuous transform gets from one end of its path to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, overload

import torch
from torch import Tensor

from pyro_dgm.errors import SolverFailed
from pyro_dgm.transforms.fused_solve import FusedEvaluate, can_fuse, fused_solve
from pyro_dgm.transforms.runge_kutta import RK4, Tableau, runge_kutta

__all__ = ["FixedSteps", "Integrands", "Solver"]

Record = TypeVar("Record")
Sweep = Sequence[Tensor]
Evaluate = Callable[[Tensor], Sweep]
Rates = Callable[[Sweep], Tensor]

# Integrands of so many stages are computed together that a few MB are worked on at once: enough to make the
# overhead of each operation small, few enough to stay in the processor's cache.
_NUMBERS_AT_ONCE = 2**19


_ZERO = torch.zeros(1)


@dataclass(frozen=True)
class Integrands:
    """The divergence, and after it costs.

    Attributes:
        every: Maps what an evaluation left to all of them, ``(k, rows)``.
        besides: Maps ds/dt, and what else an evaluation that can be fused records, to the costs alone; None
            where they need more than that, or where the divergence is not the closed form.
    """

    every: Rates
    besides: Rates | None = None

    def __call__(self, sweep: Sweep) -> Tensor:
        """Return all integrands."""
        return self.every(sweep)


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
    """So many steps of an explicit Runge-Kutta method, equal ones by default.

    No row changes another one's values, the cost is known beforehand, and derivatives of every order are
    those of the discrete map. Too few steps show in no error: compare with twice as many.

    Attributes:
        num_steps: Number of steps.
        method: Its coefficients.
        shares: The share of the time that each step takes, from the earliest to the latest.
    """

    num_steps: int
    method: Tableau = RK4
    shares: tuple[float, ...] | None = None

    @classmethod
    def random(cls, num_steps: int, method: Tableau = RK4) -> FixedSteps:
        """Return steps with their ends drawn at random, each within half a step of where it would be.

        Example:
            >>> steps = FixedSteps.random(4)
            >>> round(sum(steps.shares), 4), max(steps.shares) < 0.5
            (1.0, True)
        """
        inner = (torch.arange(1, num_steps) + torch.rand(num_steps - 1) - 0.5) / num_steps
        return cls(num_steps, method, tuple(torch.cat([_ZERO, inner, 1 + _ZERO]).diff().tolist()))

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the velocity in one solve."""
        return self.num_steps * len(self.method.nodes)

    def integrate(
        self, evaluate: Evaluate, rates: Rates | None, s: Tensor, start: float, end: float, size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Carry rows from ``start`` to ``end`` and integrate ``rates``, of many stages at a time."""
        if isinstance(rates, Integrands) and rates.besides is not None and can_fuse(evaluate, s):
            return self._fused(evaluate, rates.besides, s, start, end)

        def field(time: float, s: Tensor) -> tuple[Tensor, Sweep]:
            sweep = evaluate(s)
            return sweep[0], sweep if rates is not None else ()

        totals: list[Tensor] = []
        waiting: list[tuple[float, Sweep]] = []
        last = s
        for last, stages in self._steps(field, s, start, end):
            if rates is None:
                continue
            waiting += stages
            if len(waiting) * len(last) * size >= _NUMBERS_AT_ONCE:
                totals.append(_quadrature(waiting, rates))
                waiting = []
        if waiting and rates is not None:
            totals.append(_quadrature(waiting, rates))
        return last, sum(totals[1:], totals[0]) if totals else last.new_zeros(0, len(last))

    def _fused(
        self, evaluate: FusedEvaluate, besides: Rates, s: Tensor, start: float, end: float
    ) -> tuple[Tensor, Tensor]:
        """Do the same by one operation, but for the integrals of costs."""
        shares = self._shares(start, end)
        last, total, records = fused_solve(evaluate, s, start, end, self.num_steps, self.method, shares)
        costs = besides(evaluate.of_record(records))
        if not len(costs):
            return last, total.unsqueeze(0)
        steps = [share * (end - start) for share in shares or [1 / self.num_steps] * self.num_steps]
        weights = s.new_tensor([step * weight for step in steps for weight in self.method.weights])
        return last, torch.cat([total.unsqueeze(0), weights @ costs.unflatten(1, (len(weights), -1))])

    def path(self, evaluate: Evaluate, s: Tensor, start: float, end: float, num: int) -> Tensor:
        """Return the rows at ``num + 1`` equally spaced times, by equal steps, as many as intervals need."""
        per_interval = -(-self.num_steps // num)
        steps = runge_kutta(
            lambda _, s: (evaluate(s)[0], None), s, start, end, per_interval * num, self.method
        )
        states = [s, *(state for state, _ in steps)]
        return torch.stack(states[::per_interval])

    def carry(self, field: Callable[[float, Tensor], Tensor], y: Tensor, start: float, end: float) -> Tensor:
        """Integrate any state."""
        last = y
        for state, _ in self._steps(lambda t, y: (field(t, y), None), y, start, end):
            last = state
        return last

    def explain(self, evaluate: Evaluate, s: Tensor, start: float, end: float) -> SolverFailed | None:
        """Find the step in which finite rows stopped being finite; None if there is none."""
        fine = s.isfinite().all(1)
        count, t = 0, start

        def field(time: float, s: Tensor) -> tuple[Tensor, None]:
            nonlocal count, t
            count, t = count + 1, time
            return evaluate(s)[0], None

        for state, _ in self._steps(field, s, start, end):
            rows = tuple((fine & ~state.isfinite().all(1)).nonzero().flatten().tolist())
            if rows:
                return failure("the state stopped being finite", t, count, rows)
        return None

    def _steps(
        self, field: Callable[[float, Tensor], tuple[Tensor, Record]], y: Tensor, start: float, end: float
    ) -> Iterator[tuple[Tensor, list[tuple[float, Record]]]]:
        shares = self._shares(start, end)
        return runge_kutta(field, y, start, end, self.num_steps, self.method, shares)

    def _shares(self, start: float, end: float) -> tuple[float, ...] | None:
        """Those of the steps in the order of the solve."""
        return self.shares if self.shares is None or start < end else self.shares[::-1]


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
