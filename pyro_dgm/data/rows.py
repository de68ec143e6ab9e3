"""The one door through which a user's arrays enter."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.finite import is_finite

__all__ = ["as_rows"]


def as_rows(
    data: object,
    *,
    event_shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    name: str = "data",
    nan: Literal["error", "drop", "keep"] = "error",
) -> Tensor:
    """Turn a tensor, a numpy array, a list or a DataFrame into rows that can be trained on.

    The input is never modified, and copied only where it must be: a tensor of the right dtype comes back as
    itself, without its gradient history and on its device. Read-only, memory-mapped and non-contiguous
    arrays are welcome.

    Args:
        data: The rows, along the first dimension.
        event_shape: The shape that one row must have; by default any, but scalars.
        dtype: The floating dtype to return. Values of another one are cast, with one warning; a wider float
            loses nothing and is given without.
        name: What to call the data in messages.
        nan: What to do with rows that have a NaN or infinite entry: raise, drop them with a warning, or keep
            them as they are, for :class:`~pyro_dgm.data.MaskedRows`.

    Returns:
        A tensor of shape ``(n, *event_shape)`` with at least one row, finite entries unless they are kept.

    Raises:
        DataError: If there are no rows, entries that are not finite or not real numbers.
        ShapeError: If the rows have another shape.
        UnknownNameError: If ``nan`` is not one of the three.

    Example:
        >>> as_rows(torch.arange(6.0).reshape(2, 3), event_shape=(3,)).shape
        torch.Size([2, 3])
    """
    if nan not in ("error", "drop", "keep"):
        raise UnknownNameError.of("treatment of nan", nan, ("error", "drop", "keep"))
    given = _as_tensor(data, name)
    _check_shape(given, event_shape, name)
    if given.dtype != dtype and not _widens(given.dtype, dtype):
        warnings.warn(
            f"{name} has dtype {_short(given.dtype)} and is cast to {_short(dtype)}. Cast it yourself to "
            "choose the scale and to silence this warning.",
            UserWarning,
            stacklevel=2,
        )
    rows = given.to(dtype)
    if nan != "keep" and not is_finite(rows):
        finite = rows.isfinite()
        if nan == "error":
            raise DataError(_describe_bad_entries(given, finite, name, dtype))
        keep = finite.flatten(1).all(1)
        dropped = len(rows) - int(keep.sum())
        if dropped == len(rows):
            raise DataError(
                f"{name} has a NaN or infinite entry in each of its {dropped} rows: none is left."
            )
        warnings.warn(
            f"dropped {dropped} of {len(rows)} rows of {name} with NaN or infinite entries.",
            UserWarning,
            stacklevel=2,
        )
        rows = rows[keep]
    return rows


def _as_tensor(data: object, name: str) -> Tensor:
    """View or copy the data as a tensor of real numbers."""
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Tensor) for row in data):
        if len({row.shape for row in data}) > 1:
            raise ShapeError(f"the rows of {name} have different shapes; expected one shape for all.")
        data = torch.stack(list(data))
    if isinstance(data, Tensor):
        if data.is_complex() or data.layout != torch.strided:
            raise DataError(
                f"{name} must be a dense tensor of real numbers, but is {data.dtype}, {data.layout}."
            )
        return data.detach()
    array = _as_array(data, name)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} must hold real numbers, but has dtype {array.dtype}. Encode text and categories as "
            "numbers, and give missing values as NaN."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # torch neither takes other byte orders or negative strides nor promises to respect a read-only array
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def _as_array(data: object, name: str) -> npt.NDArray[Any]:
    if hasattr(data, "to_numpy") and hasattr(data, "columns"):
        frame: Any = data
        bad = [str(c) for c, kind in frame.dtypes.items() if getattr(kind, "kind", "O") not in "biuf"]
        if bad:
            raise DataError(
                f"{name} has columns that are not numbers: {', '.join(bad)}. Encode or drop them."
            )
        array = np.asarray(frame.to_numpy())
        # columns that can hold a missing value besides NaN come as objects
        return (
            array if array.dtype != object else np.asarray(frame.to_numpy(dtype="float64", na_value=np.nan))
        )
    if data is None or isinstance(data, (str, bytes, dict, set)):
        raise DataError(
            f"{name} must be a tensor, an array, a list or a DataFrame, but is {type(data).__name__}."
        )
    try:
        if isinstance(data, np.ma.MaskedArray):  # what is masked is missing, and not the number below it
            masked: Any = data if data.dtype.kind == "f" else data.astype(float)
            return np.asarray(masked.filled(np.nan))
        return np.asarray(data)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} of type {type(data).__name__} is no array of numbers: {error}") from error


def _check_shape(given: Tensor, event_shape: Sequence[int] | None, name: str) -> None:
    if event_shape is None:
        if given.dim() < 2:
            raise ShapeError(
                f"{name}: expected (n, features), got {_tuple(given.shape)}. Write n scalars as "
                "data.reshape(-1, 1) and one row as data.reshape(1, -1)."
            )
    elif given.dim() < 1 or tuple(given.shape[1:]) != tuple(event_shape):
        expected = ", ".join(["n", *map(str, event_shape)]) + ("," if not event_shape else "")
        raise ShapeError(f"{name}: expected ({expected}), got {_tuple(given.shape)}.")
    if given.numel() == 0:
        raise DataError(f"{name} is empty: its shape is {_tuple(given.shape)}. Give at least one row.")


def _describe_bad_entries(given: Tensor, finite: Tensor, name: str, dtype: torch.dtype) -> str:
    bad = ~finite
    num_rows = int(bad.flatten(1).any(1).sum())
    row, *position = bad.nonzero()[0].tolist()
    column = f"column {position[0]}" if len(position) == 1 else f"position {tuple(position)}"
    value = given[(row, *position)].item()
    message = (
        f"{name} has {int(bad.sum())} entries that are not finite, in {num_rows} of its {len(given)} "
        f"rows, the first at row {row}, {column}: {value}. "
    )
    if given.isfinite().all():
        return message + f"It is too large for {_short(dtype)}: rescale the data."
    return message + 'Repair these rows, or drop them with nan="drop".'


def _widens(given: torch.dtype, dtype: torch.dtype) -> bool:
    return given.is_floating_point and torch.promote_types(given, dtype) == dtype


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tuple(shape: torch.Size) -> str:
    return str(tuple(shape))
