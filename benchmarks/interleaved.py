"""Timing pieces of work against each other, in turn, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["interleaved", "ratio_line"]


def interleaved(
    work: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    repeats: int = 40,
    seconds: float | None = None,
) -> dict[str, list[float]]:
    """Run each piece of ``work`` ``repeats`` times in every round, and return its CPU seconds per run.

    Args:
        work: What to time, by name. Each is called once before, uncounted.
        rounds: Number of rounds; one figure per round and piece. The order differs from round to round.
        repeats: Calls per round and piece.
        seconds: CPU seconds per round and piece, instead of one number of calls for all of them.

    Returns:
        For each name its CPU seconds per call, one for each round.
    """
    for call in work.values():
        call()
    calls = dict.fromkeys(work, repeats)
    if seconds is not None:
        calls = {name: math.ceil(seconds / _seconds_of(call, 3)) for name, call in work.items()}
    taken: dict[str, list[float]] = {name: [] for name in work}
    order, shuffle = list(work), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            taken[name].append(_seconds_of(work[name], calls[name]))
    return taken


def _seconds_of(call: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def ratio_line(seconds: dict[str, list[float]], name: str, reference: str, bar: float) -> tuple[str, float]:
    """Return one line that compares two pieces by the median of their ratio over the rounds, and it."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]
    ratio = statistics.median(ratios)
    verdict = "met" if ratio <= bar else "MISSED"
    line = (
        f"{name} / {reference}: {ratio:.3f} (quartiles {statistics.quantiles(ratios)[0]:.3f} to "
        f"{statistics.quantiles(ratios)[2]:.3f}), bar {bar:.2f}: {verdict}"
    )
    return line, ratio
