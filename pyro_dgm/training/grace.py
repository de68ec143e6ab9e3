"""A watch that ends a process whose step does not end after SIGTERM, whatever the main thread is in."""

from __future__ import annotations

import os
import signal
import socket
import threading

__all__ = ["GRACE_SECONDS", "Grace"]

GRACE_SECONDS = 8.0


class Grace:
    """Ends the process with 143 some time after SIGTERM, unless :meth:`reached` is called before.

    Python runs signal handlers between two instructions of the main thread. A thread that waits inside a
    library, for another process or a lock, comes to no next instruction: what a handler does, or begins,
    never happens. The interpreter itself, however, writes the number of each signal into a pipe at once, and
    a thread of its own reads it here. A process that holds the interpreter's lock forever is beyond help.

    Opened in the main thread.

    Args:
        seconds: How long to wait for the end of the step.
    """

    _open: Grace | None = None
    _forks_are_watched = False

    def __init__(self, seconds: float = GRACE_SECONDS) -> None:
        self._seconds, self._reached = seconds, threading.Event()
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="pyro_dgm grace", daemon=True)
        self._thread.start()
        self._around, Grace._open = Grace._open, self
        if not Grace._forks_are_watched and hasattr(os, "register_at_fork"):
            Grace._forks_are_watched = True
            os.register_at_fork(after_in_child=_leave_to_the_parent)

    def reached(self) -> None:
        """Say that the end of the step has been reached: what comes now may take its time."""
        self._reached.set()

    def close(self) -> None:
        """Watch no more."""
        Grace._open = self._around
        signal.set_wakeup_fd(self._before)
        self._reached.set()
        self._write.close()
        self._thread.join()
        self._read.close()

    def _watch(self) -> None:
        while number := self._read.recv(1):
            if self._before >= 0:  # an event loop wants to know, too
                os.write(self._before, number)
            if number[0] == signal.SIGTERM and not self._reached.wait(self._seconds):
                os._exit(143)


def _leave_to_the_parent() -> None:
    """In a process that was forked inside the block, write nothing into the parent's pipe."""
    if Grace._open is not None:
        Grace._open = None
        signal.set_wakeup_fd(-1)
