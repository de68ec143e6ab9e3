"""What happened in a training run, step by step."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_dgm.errors import OutputError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["History"]


class History:
    """A table with one row for each recorded step, and how the run ended.

    Steps count from 0. The values of a row are those that the step met before its update, except for
    ``validation_*``, which were measured after it.

    Attributes:
        stopped: Why the run ended: ``"done"``, ``"max_time"``, ``"interrupted"``, ``"early stopping"``, or
            what a callback said; ``"running"`` before that.
        num_steps: Number of updates that were made.
        seconds: Wall-clock duration of the run.
        cpu_seconds: The same in processor time of the whole process.
        best_step: Number of updates after which the validation loss was lowest, or None.
        best_loss: That validation loss, or None.

    Example:
        >>> history = History()
        >>> history.record(0, {"loss": 2.0}); history.record(1, {"loss": 1.0, "penalty": 0.5})
        >>> history.losses, history["penalty"]
        (array([2., 1.]), array([nan, 0.5]))
    """

    def __init__(self) -> None:
        self.stopped = "running"
        self.num_steps = 0
        self.seconds = self.cpu_seconds = 0.0
        self.best_step: int | None = None
        self.best_loss: float | None = None
        self._steps = array("q")
        self._columns: dict[str, array[float]] = {}

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Enter values into the row of ``step``: the last row, or a new one below it."""
        columns = self._columns
        if not self._steps or self._steps[-1] != step:
            self._steps.append(step)
            for column in columns.values():
                column.append(math.nan)
        for name, value in values.items():
            if name not in columns:
                columns[name] = array("d", [math.nan]) * len(self._steps)
            columns[name][-1] = value

    @property
    def columns(self) -> list[str]:
        """Names of the recorded quantities."""
        return list(self._columns)

    @property
    def last_row(self) -> dict[str, float]:
        """What is in the last row so far."""
        return {name: column[-1] for name, column in self._columns.items() if not math.isnan(column[-1])}

    @property
    def steps(self) -> NDArray[np.int64]:
        """The recorded steps, counted from 0."""
        return np.array(self._steps, dtype=np.int64)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The training loss at each recorded step: the column ``loss``, or the first one without it."""
        return self["loss" if "loss" in self._columns else next(iter(self._columns), "loss")]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        if name not in self._columns:
            raise UnknownNameError.of("column", name, self._columns)
        return np.array(self._columns[name], dtype=np.float64)

    def __len__(self) -> int:
        return len(self._steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the record for a checkpoint: columns as tensors, and the numbers beside them."""
        columns = {n: torch.tensor(list(c), dtype=torch.float64) for n, c in self._columns.items()}
        return {
            "steps": torch.tensor(list(self._steps), dtype=torch.int64),
            "columns": columns,
            "best": (self.best_step, self.best_loss),
            "seconds": (self.seconds, self.cpu_seconds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the record of a :meth:`state_dict`."""
        self._steps = array("q", state["steps"].tolist())
        self._columns = {name: array("d", column.tolist()) for name, column in state["columns"].items()}
        self.best_step, self.best_loss = state["best"]
        self.seconds, self.cpu_seconds = state["seconds"]
        self.num_steps = 0 if not len(self) else self._steps[-1] + 1

    def to_dict(self) -> dict[str, list[float]]:
        """Return the table as lists of numbers, by column."""
        return {"step": list(self._steps), **{name: list(column) for name, column in self._columns.items()}}

    def to_frame(self) -> Any:
        """Return the table as a pandas data frame, indexed by step.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from error

        return pandas.DataFrame(self.to_dict()).set_index("step")

    def to_csv(self, path: str | Path) -> None:
        """Write the table as comma-separated values; what was not measured at a step is left empty.

        Raises:
            OutputError: If the file cannot be written.
        """
        table = self.to_dict()
        try:
            with Path(path).open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(table)
                for row in zip(*table.values(), strict=True):
                    writer.writerow(["" if value != value else value for value in row])
        except OSError as error:
            raise OutputError(f"cannot write the history to {path}: {error.strerror}.") from error

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the training loss, and the validation loss if there is one, over the steps."""
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots()
        for name in ("loss", "validation_loss") if "loss" in self._columns else self.columns[:2]:
            if name in self._columns:
                measured = ~np.isnan(self[name])
                marker = "o-" if name == "validation_loss" else "-"
                ax.plot(self.steps[measured], self[name][measured], marker, label=name, markersize=3)
        ax.set_xlabel("step")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        end = ""
        if len(self) and self._columns:
            end = f", {'loss' if 'loss' in self._columns else self.columns[0]} {self.losses[-1]:.5g}"
        best = f", best validation loss {self.best_loss:.5g}" if self.best_loss is not None else ""
        return f"<History: {self.stopped} after {self.num_steps} steps in {self.seconds:.1f} s{end}{best}>"

    def _repr_html_(self) -> str:
        from pyro_dgm.training.history_html import history_html

        return history_html(self)
