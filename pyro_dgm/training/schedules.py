"""Learning-rate schedules: pure functions from the fraction of training done to a factor."""

from __future__ import annotations

import math
from collections.abc import Callable

from pyro_dgm.errors import UnknownNameError

__all__ = [
    "SCHEDULES",
    "Schedule",
    "as_schedule",
    "constant_then_linear",
    "cosine",
    "one_cycle",
    "warm_up",
    "warm_up_cosine",
]

Schedule = Callable[[float], float]


def cosine(done: float) -> float:
    """Fall from 1 to 0 along half a cosine.

    Example:
        >>> cosine(0.0), round(cosine(0.5), 3), cosine(1.0)
        (1.0, 0.5, 0.0)
    """
    return 0.5 * (1 + math.cos(math.pi * done))


def one_cycle(done: float, *, warmup: float = 0.3, start: float = 0.04, end: float = 1e-4) -> float:
    """Rise from ``start`` to 1 while the fraction ``warmup`` of training passes, then fall to ``end``.

    Reference:
        Smith and Topin, Super-Convergence, 2018. https://arxiv.org/abs/1708.07120

    Example:
        >>> [round(one_cycle(done), 4) for done in (0.0, 0.3, 1.0)]
        [0.04, 1.0, 0.0001]
    """
    if done < warmup:
        return 1 - (1 - start) * cosine(done / warmup)
    return end + (1 - end) * cosine((done - warmup) / (1 - warmup))


def constant_then_linear(done: float, *, start: float = 0.5) -> float:
    """Stay at 1 while the fraction ``start`` of training passes, then fall to 0 along a line.

    What adversarial games settle with: long enough at full rate to find the data, then to rest.

    Example:
        >>> [constant_then_linear(done) for done in (0.2, 0.5, 0.75, 1.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    return min(1.0, (1 - done) / (1 - start))


def warm_up(then: Schedule | None = None, *, share: float = 0.05) -> Schedule:
    """Return a schedule that rises from near 0 along a line, and then is another one.

    Args:
        then: The schedule of what remains of training; constant by default.
        share: The share of training in which the rate rises, in (0, 1).

    Example:
        >>> rising = warm_up(cosine, share=0.2)
        >>> [round(rising(done), 3) for done in (0.0, 0.1, 0.2, 0.6, 1.0)]
        [0.005, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, but is {share}. A twentieth is 0.05.")

    def rising(done: float) -> float:
        if done < share:
            return max(done / share, 0.005)  # a first step of nothing would be wasted
        return 1.0 if then is None else then((done - share) / (1 - share))

    return rising


def warm_up_cosine(done: float) -> float:
    """Rise for a twentieth of training, then fall along half a cosine.

    Example:
        >>> [round(warm_up_cosine(done), 3) for done in (0.025, 0.05, 0.525, 1.0)]
        [0.5, 1.0, 0.5, 0.0]
    """
    return warm_up(cosine)(done)


SCHEDULES: dict[str, Schedule] = {
    "constant-then-linear": constant_then_linear,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "warm-up-cosine": warm_up_cosine,
}


def as_schedule(schedule: str | Schedule | None) -> Schedule | None:
    """Return a schedule by name, and a callable or None as it is.

    Raises:
        UnknownNameError: If no schedule has that name.
        TypeError: If it is neither a name nor callable.
    """
    if schedule is None or (callable(schedule) and not isinstance(schedule, str)):
        return schedule
    if not isinstance(schedule, str):
        raise TypeError(
            f"schedule must be None, one of {sorted(SCHEDULES)}, or a function from the fraction of training "
            f"done, in [0, 1], to a factor of lr, but is a {type(schedule).__name__}."
        )
    if schedule not in SCHEDULES:
        raise UnknownNameError.of("schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule]
