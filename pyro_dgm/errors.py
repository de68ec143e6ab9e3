"""The typed errors of the library.

Each says what was expected, what came and what to do, and is also a subclass of the builtin error that
Python users would catch there (``ValueError``, ``RuntimeError``, ...).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArgumentTypeError",
    "CheckFailed",
    "CheckpointError",
    "DataError",
    "MissingDataError",
    "OutOfMemory",
    "OutputError",
    "ProcessesDiffer",
    "PyroDGMError",
    "ShapeError",
    "SolverFailed",
    "TrainingDiverged",
    "UnknownNameError",
    "UnknownOptionError",
]


class PyroDGMError(Exception):
    """Base of every error that this library raises on purpose."""


class DataError(PyroDGMError, ValueError):
    """A value that cannot be used: not finite, empty, outside the support."""


class ShapeError(DataError):
    """A tensor of the wrong shape."""


class ArgumentTypeError(PyroDGMError, TypeError):
    """An argument of a type that cannot be used there."""


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
        return cls(f"unknown {kind} {got!r}:{_nearest(got, names)} Valid names: {', '.join(names)}.")


class UnknownOptionError(ArgumentTypeError):
    """A keyword that a function does not take; the message names the nearest."""

    @classmethod
    def of(cls, function: str, got: str, valid: Iterable[str]) -> UnknownOptionError:
        """Build the error of a keyword ``got`` that is not among the ``valid`` ones of a function.

        Example:
            >>> print(UnknownOptionError.of("fit", "stpes", ["steps", "epochs"]))
            fit has no argument 'stpes': did you mean 'steps'? It takes: steps, epochs.
        """
        names = list(valid)
        return cls(f"{function} has no argument {got!r}:{_nearest(got, names)} It takes: {', '.join(names)}.")


class MissingDataError(PyroDGMError, FileNotFoundError):
    """A data file or folder that is not where it should be."""


class OutOfMemory(PyroDGMError, MemoryError):
    """A training step that did not fit into the memory; parameters are those before it."""


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


def _nearest(got: str, names: list[str]) -> str:
    """A question after the name that is nearest to the one that came: a part of it, or spelt like it."""
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5) or [
        name for name in names if len(got) > 3 and (got in name or name in got)
    ]
    return f" did you mean {near[0]!r}?" if near else ""
