"""The typed errors of the library.

Each says what was expected, what came and what to do, and is also a subclass of the builtin error that
Python users would catch there (``ValueError``, ``RuntimeError``, ...).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckFailed",
    "CheckpointError",
    "DataError",
    "MissingDataError",
    "OutputError",
    "ProcessesDiffer",
    "PyroDGMError",
    "ShapeError",
    "SolverFailed",
    "TrainingDiverged",
    "UnknownNameError",
]


class PyroDGMError(Exception):
    """Base of every error that this library raises on purpose."""


class DataError(PyroDGMError, ValueError):
    """A value that cannot be used: not finite, empty, outside the support."""


class ShapeError(DataError):
    """A tensor of the wrong shape."""


class UnknownNameError(PyroDGMError, ValueError):
    """A name that is not in the list of valid ones; the message names the nearest."""

    @classmethod
    def of(cls, kind: str, got: str, valid: Iterable[str]) -> UnknownNameError:
        """Build the error for the unknown ``got``, suggesting the nearest of the ``valid`` names.

        Example:
            >>> print(UnknownNameError.of("data set", "mons", ["moons", "digits"]))
            unknown data set 'mons': did you mean 'moons'? Valid names: digits, moons.
        """
        names = sorted(valid)
        near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
        hint = f" did you mean {near[0]!r}?" if near else ""
        return cls(f"unknown {kind} {got!r}:{hint} Valid names: {', '.join(names)}.")


class MissingDataError(PyroDGMError, FileNotFoundError):
    """A data file or folder that is not where it should be."""


class OutputError(PyroDGMError, OSError):
    """A folder or file that cannot be written."""


class CheckFailed(PyroDGMError, AssertionError):
    """A model that does not keep what the library promises of all models."""


class CheckpointError(PyroDGMError, RuntimeError):
    """A saved run that is missing, damaged, from another version, or of another architecture."""


class ProcessesDiffer(PyroDGMError, RuntimeError):
    """Processes that were to train one model have different models, data, options or versions."""


class SolverFailed(PyroDGMError, RuntimeError):
    """A solve that did not reach its end: of an ODE, or of an equation.

    Attributes:
        reason: What stopped it, in a few words.
        t: The time that an ODE solve had reached.
        nfe: Number of evaluations of the velocity until then.
        rows: Indices of the rows of the batch that stopped it, if they are known.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        t: float | None = None,
        nfe: int | None = None,
        rows: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.reason, self.t, self.nfe, self.rows = reason, t, nfe, rows


class TrainingDiverged(PyroDGMError, RuntimeError):
    """Training met a non-finite loss or gradient and was stopped; parameters are the last finite ones.

    Attributes:
        step: The step at which it happened, counted from 0.
        loss: The loss of that step.
        where: The site or parameter found to be non-finite, if it could be named.
    """

    def __init__(self, message: str, *, step: int, loss: float, where: str | None = None) -> None:
        super().__init__(message)
        self.step, self.loss, self.where = step, loss, where
