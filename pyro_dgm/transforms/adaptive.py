"""Adaptive steps: torchdiffeq's dopri5 behind a guard that always ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.transforms.first_order import first_order
from pyro_dgm.transforms.solver import Evaluate, Rates, failure

__all__ = ["AdaptiveSteps"]

_STAGES = 6  # evaluations that one step of dopri5 adds


@dataclass(frozen=True)
class AdaptiveSteps:
    """Steps of Dormand and Prince's method of order 5(4), as long as the tolerances allow.

    All rows of a call share their steps, and the step is as short as the row with the largest error needs:
    each row keeps the tolerance by itself, but its values change within the tolerance with the company it is
    scored in. There are first derivatives; second ones are refused, as those of a solve whose steps depend on
    its input are not those of any one map.

    A solve ends within ``max_steps`` steps or raises :class:`~pyro_dgm.errors.SolverFailed`, which says when,
    after how many evaluations and, where it can be told, for which rows: on NaN and infinite values, when
    values grow without bound, and where the velocity is stiff or jumps so that steps vanish.

    Attributes:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Largest number of steps, rejected ones included.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000

    def integrate(
        self, evaluate: Evaluate, rates: Rates | None, s: Tensor, start: float, end: float, size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Carry rows from ``start`` to ``end``, with the integrals as further columns of the state."""
        width = s.shape[1]

        def velocity(y: Tensor) -> Tensor:
            sweep = evaluate(y[:, :width])
            return sweep[0] if rates is None else torch.cat([sweep[0], rates(sweep).t()], dim=1)

        if not len(s):
            return s, s.new_zeros(0 if rates is None else len(rates(evaluate(s))), 0)
        with torch.no_grad():
            count = 0 if rates is None else len(rates(evaluate(s)))
        y = torch.cat([s, s.new_zeros(len(s), count)], dim=1)
        y = self._solve(lambda _, y: velocity(y), y, torch.tensor([start, end], dtype=torch.double))[-1]
        return y[:, :width], y[:, width:].t()

    def path(self, evaluate: Evaluate, s: Tensor, start: float, end: float, num: int) -> Tensor:
        """Return the rows at ``num + 1`` equally spaced times."""
        times = torch.linspace(start, end, num + 1, dtype=torch.double)
        return self._solve(lambda _, y: evaluate(y)[0], s, times)

    def carry(self, field: Callable[[float, Tensor], Tensor], y: Tensor, start: float, end: float) -> Tensor:
        """Integrate any state."""
        times = torch.tensor([start, end], dtype=torch.double)
        return self._solve(lambda t, y: field(t, y.squeeze(0)).unsqueeze(0), y.unsqueeze(0), times)[-1, 0]

    def _solve(self, field: Callable[[float, Tensor], Tensor], y: Tensor, times: Tensor) -> Tensor:
        from torchdiffeq import odeint

        guard = _Guard(field, self.max_steps)
        if bad := _bad_rows(y):
            raise failure("the rows are not finite to begin with", times[0].item(), 0, bad)
        try:
            options = {"max_num_steps": self.max_steps, "norm": _largest_row}
            states: Tensor = odeint(
                guard, y, times, rtol=self.rtol, atol=self.atol, method="dopri5", options=options
            )
        except AssertionError as error:  # torchdiffeq's way to say so
            short = "underflow" in str(error)
            reason = "steps became too short: stiff or discontinuous, or growing without bound"
            raise guard.failure(reason if short else f"more than {self.max_steps} steps") from None
        return _OnceDifferentiable.apply(states)  # type: ignore[no-any-return]


class _OnceDifferentiable(torch.autograd.Function):
    """The identity, whose gradient refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return states.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return first_order((gradient,))[0]


class _Guard:
    """A velocity that counts its evaluations and looks at its values."""

    def __init__(self, field: Callable[[float, Tensor], Tensor], max_steps: int) -> None:
        self.field, self.limit = field, _STAGES * max_steps + 2
        self.count, self.time = 0, 0.0
        self.last: Tensor | None = None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.time = t.item()
        if self.count >= self.limit:  # torchdiffeq counts by assertions, which -O removes
            raise self.failure(f"more than {self.limit // _STAGES} steps")
        self.count += 1
        velocity = self.field(self.time, y)
        self.last = velocity.detach()
        if bad := _bad_rows(self.last):
            raise failure("the velocity is not finite", self.time, self.count, bad)
        return velocity

    def failure(self, reason: str) -> Exception:
        """The error, with the rows that moved fastest."""
        rows: tuple[int, ...] = ()
        if self.last is not None and len(self.last) > 1:
            speed = self.last.abs().amax(1)
            rows = tuple((speed >= 0.5 * speed.max()).nonzero().flatten().tolist())
        return failure(reason, self.time, self.count, rows)


def _bad_rows(y: Tensor) -> tuple[int, ...]:
    finite = y.isfinite()
    return () if finite.all() else tuple((~finite.all(1)).nonzero().flatten().tolist())


def _largest_row(y: Tensor) -> Tensor:
    """The root mean square of the row in which it is largest."""
    return y.square().mean(1).amax().sqrt()
