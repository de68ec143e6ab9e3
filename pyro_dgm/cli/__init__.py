"""The command line ``pyro-dgm``."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: done. 1: a model failed to train, or an audit failed. 2: something in what was given, one line on
    stderr says what. 130: stopped by Ctrl-C, with what was learned so far saved.

    Args:
        argv: Arguments; those of the process by default.
    """
    _speak_plainly()
    # Where the home folder is read-only, Matplotlib makes do with another folder for its cache, and says so.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from pyro_dgm.cli.app import run

    return run(sys.argv[1:] if argv is None else list(argv))


def _speak_plainly() -> None:
    """Let no character that the terminal cannot show end the program."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
