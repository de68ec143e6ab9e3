"""Ctrl-C and SIGTERM as requests: the step is finished and saved before the run ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyro_dgm.training.grace import Grace

__all__ = ["Asked", "asked_to_stop", "leave_if_terminated"]

Asked = Callable[[], str | None]


@contextmanager
def asked_to_stop(heed: bool) -> Iterator[Asked]:
    """Turn SIGINT and SIGTERM into an answer, ``"interrupted"`` or ``"terminated"``, for the time of a block.

    A second Ctrl-C is a ``KeyboardInterrupt``. After SIGTERM a step that takes longer than
    :data:`~pyro_dgm.training.grace.GRACE_SECONDS` is not waited for: the process ends with 143, and its last
    checkpoint is whole. In processes that were forked inside the block signals do what they did before it.

    Args:
        heed: Whether to. Signals reach the main thread alone, so that elsewhere nothing changes.
    """
    if not heed or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reasons: list[str] = []
    here = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        if os.getpid() != here:
            _as_before(number)
        elif reasons:
            raise KeyboardInterrupt
        else:
            reasons.append("interrupted")

    def terminate(number: int, frame: Any) -> None:
        if os.getpid() != here:
            _as_before(number)
        elif "terminated" not in reasons:
            reasons.insert(0, "terminated")

    def _as_before(number: int) -> None:
        _set(number, before[number])
        signal.raise_signal(number)

    def answer() -> str | None:
        if reasons:
            grace.reached()
        return reasons[0] if reasons else None

    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    grace = Grace()
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield answer
    finally:
        grace.close()
        for number, handler in before.items():
            _set(number, handler)


def _set(number: int, handler: Any) -> None:
    signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave_if_terminated(stopped: str) -> None:
    """After everything is saved, do what SIGTERM asked for: the caller's own handler, or exit with 143."""
    if stopped != "terminated":
        return
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        signal.raise_signal(signal.SIGTERM)
    else:
        raise SystemExit(143)
