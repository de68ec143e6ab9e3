"""Explicit Runge-Kutta methods with fixed steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["EULER", "MIDPOINT", "RK4", "Tableau", "runge_kutta"]

Record = TypeVar("Record")


class Tableau(NamedTuple):
    """The coefficients of an explicit method: one row of ``matrix`` and one node and weight per stage."""

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


RK4 = Tableau(
    nodes=(0.0, 1 / 2, 1 / 2, 1.0),
    matrix=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
"""The classical method of order four."""

MIDPOINT = Tableau(nodes=(0.0, 1 / 2), matrix=((), (1 / 2,)), weights=(0.0, 1.0))
"""The midpoint method, of order two."""

EULER = Tableau(nodes=(0.0,), matrix=((),), weights=(1.0,))
"""Euler's method, of order one."""


def runge_kutta(
    field: Callable[[float, Tensor], tuple[Tensor, Record]],
    y: Tensor,
    start: float,
    end: float,
    num_steps: int,
    method: Tableau = RK4,
    shares: Sequence[float] | None = None,
) -> Iterator[tuple[Tensor, list[tuple[float, Record]]]]:
    r"""Integrate :math:`\dot y = v(t, y)` in so many steps, yielding after each of them.

    Quantities that are integrated along the path without acting on it, as log-determinants and costs, need
    no place in the state: ``field`` leaves a record at each of its evaluations, and

    .. math:: \int q \, dt \approx \sum_j w_j q(t_j, y_j)

    over all stages, with the signed weights that come with the records, is exactly what the method would
    give for them as further components. They can so be computed for many stages at once, or not at all.

    Every row is integrated by itself, since steps are fixed: no row changes another one's values.

    Args:
        field: Maps time and state to the velocity and a record of any kind.
        y: The state at ``start``.
        start: Time at which ``y`` is given.
        end: Time to integrate to; before ``start`` to go backwards.
        num_steps: Number of steps.
        method: The coefficients; by default the classical RK4.
        shares: The share of the time that each step takes; by default they are equal.

    Yields:
        After each step the state, and the pairs of weight and record of its stages.

    Example:
        >>> *_, (y, _) = runge_kutta(lambda t, y: (-y, None), torch.ones(1), 0.0, 1.0, num_steps=8)
        >>> round(y.item(), 4)  # exp(-1)
        0.3679
    """
    if num_steps < 1:
        raise ValueError(f"runge_kutta needs num_steps >= 1, but got {num_steps}.")
    t = start
    for share in shares or [1 / num_steps] * num_steps:
        step = share * (end - start)
        weights = [step * weight for weight in method.weights]
        slopes: list[Tensor] = []
        records: list[Record] = []
        for node, row in zip(method.nodes, method.matrix, strict=True):
            slope, record = field(t + node * step, _advance(y, slopes, [step * a for a in row]))
            slopes.append(slope)
            records.append(record)
        y, t = _advance(y, slopes, weights), t + step
        yield y, list(zip(weights, records, strict=True))


def _advance(y: Tensor, slopes: list[Tensor], factors: list[float]) -> Tensor:
    for slope, factor in zip(slopes, factors, strict=True):
        if factor:
            y = torch.add(y, slope, alpha=factor)
    return y
