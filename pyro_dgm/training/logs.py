"""Logs that grow while a model trains: a table on the disk, and TensorBoard."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

from pyro_dgm.errors import OutputError
from pyro_dgm.training.budget import positive_int
from pyro_dgm.training.callbacks import Callback, FitState

__all__ = ["CSVLog", "TensorBoardLog"]


class CSVLog(Callback):
    """Writes what each so many-th step measured as a line of a file, so that it can be watched.

    A resumed run goes on below the lines of the steps before its checkpoint; those after it, which are made
    again, are removed. Only the first of many processes writes.

    Args:
        path: The file.
        every: Number of steps between lines.

    Raises:
        OutputError: At the start, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path, self.every = Path(path), positive_int("every", every)
        self._names: list[str] = []

    def on_start(self, state: FitState) -> None:
        """Keep the lines of the steps before this one."""
        if not state.first:
            return
        try:
            lines = self._lines() if self.path.exists() else []
            kept = [line for line in lines[1:] if line and line[0].isdigit() and int(line[0]) <= state.step]
            self._names = lines[0] if kept else []
            self._write([self._names, *kept] if kept else [], "w")
        except OSError as error:
            raise OutputError(f"cannot write the log {self.path}: {error.strerror}.") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise OutputError(
                f"{self.path} is no log of this kind ({error}). Choose another file."
            ) from error

    def on_step(self, state: FitState) -> None:
        """Write a line; a validation of this step is in it."""
        if not state.first:
            return
        values = {**state.values, **state.history.last_row}
        new = [name for name in values if name not in self._names]
        if new:
            self._widen(["step", *self._names[1:], *new])
        row = [values.get(name, math.nan) for name in self._names[1:]]
        self._write([[str(state.step), *("" if math.isnan(v) else repr(v) for v in row)]], "a")

    def _widen(self, names: list[str]) -> None:
        """Give the table more columns; lines that are there already have nothing in them."""
        lines = self._lines()[1:]
        self._names = names
        self._write([names, *(line + [""] * (len(names) - len(line)) for line in lines)], "w")

    def _lines(self) -> list[list[str]]:
        text = self.path.read_text(encoding="utf-8")
        if "\0" in text:
            raise csv.Error("it holds a zero byte")
        return list(csv.reader(text.splitlines()))

    def _write(self, lines: list[list[str]], mode: str) -> None:
        with self.path.open(mode, newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)


class TensorBoardLog(Callback):
    """Writes what each so many-th step measured for TensorBoard; needs the extra ``tensorboard``.

    Args:
        folder: Folder of the event files.
        every: Number of steps between points.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 10) -> None:
        self.folder, self.every = Path(folder), positive_int("every", every)
        self._writer: Any = None

    def on_start(self, state: FitState) -> None:
        """Open the files; points of steps that are made again replace those before a break."""
        if not state.first:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError('TensorBoardLog needs: pip install "pyro-dgm[tensorboard]"') from error
        self._writer = SummaryWriter(str(self.folder), purge_step=state.step or None)

    def on_step(self, state: FitState) -> None:
        """Write a point for each value."""
        for name, value in {**state.values, **state.history.last_row}.items():
            if self._writer is not None:
                self._writer.add_scalar(name, value, state.step)

    def on_end(self, state: FitState) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
