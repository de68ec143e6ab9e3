"""Ctrl-C and SIGTERM as requests: the step is finished and saved before the run ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["GRACE_SECONDS", "Asked", "asked_to_stop", "leave_if_terminated"]

GRACE_SECONDS = 8.0
Asked = Callable[[], str | None]


@contextmanager
def asked_to_stop(heed: bool) -> Iterator[Asked]:
    """Turn SIGINT and SIGTERM into an answer, ``"interrupted"`` or ``"terminated"``, for the time of a block.

    A second Ctrl-C is a ``KeyboardInterrupt``. After SIGTERM a step that takes longer than
    :data:`GRACE_SECONDS` is not waited for: the process ends with 143, and its last checkpoint is whole.

    Args:
        heed: Whether to. Signals reach the main thread alone, so that elsewhere nothing changes.
    """
    if not heed or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reasons: list[str] = []
    timers: list[threading.Timer] = []

    def interrupt(number: int, frame: Any) -> None:
        if reasons:
            raise KeyboardInterrupt
        reasons.append("interrupted")

    def terminate(number: int, frame: Any) -> None:
        if "terminated" not in reasons:
            reasons.insert(0, "terminated")
            timers.append(threading.Timer(GRACE_SECONDS, os._exit, (143,)))
            timers[0].daemon = True
            timers[0].start()

    def answer() -> str | None:
        if reasons and timers:
            timers[0].cancel()  # the end of the step has been reached
        return reasons[0] if reasons else None

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield answer
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
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
