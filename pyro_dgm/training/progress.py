"""The progress bar."""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["Progress"]


class Progress:
    """A bar on the terminal or in a notebook that is redrawn a few times a second, whatever a step takes.

    Where the output is a file, it writes a line every ten seconds.

    Args:
        total: Number of steps, or None if it is not known.
        shown: Whether to show anything.
    """

    def __init__(self, total: int | None, shown: bool) -> None:
        self._bar: Any = None
        self._next, self._interval = 0.0, 0.2 if sys.stderr is not None and sys.stderr.isatty() else 10.0
        if shown:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a notebook without widgets gets the plain bar
                from tqdm.auto import tqdm
            # Drawing is throttled here, by the clock that the loop has read anyway.
            self._bar = tqdm(
                total=total, unit="step", desc="fit", mininterval=0, miniters=0, dynamic_ncols=True
            )

    def update(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Say that ``step`` steps are done after so many seconds."""
        if self._bar is not None and seconds >= self._next:
            self._next = seconds + self._interval
            self._draw(step, values)

    def close(self, step: int, values: dict[str, float]) -> None:
        """Draw the last state and leave it there."""
        if self._bar is not None:
            self._draw(step, values)
            self._bar.close()

    def _draw(self, step: int, values: dict[str, float]) -> None:
        # A likelihood without penalties is the loss once more.
        shown = {value: name for name, value in reversed(values.items()) if name not in ("lr", "grad_norm")}
        texts = [f"{name}={value:.4g}" for value, name in reversed(shown.items())]
        self._bar.set_postfix_str(", ".join(texts[:3]), refresh=False)
        self._bar.update(step - self._bar.n)
