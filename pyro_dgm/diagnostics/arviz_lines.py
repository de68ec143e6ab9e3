"""The one place that knows in what ArviZ 0.23 and ArviZ 1.x differ."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

__all__ = ["as_container", "smoothed_weights"]


def as_container(groups: Mapping[str, Any]) -> Any:
    """Put xarray datasets together for this ArviZ: as ``InferenceData``, or ``DataTree`` from 1.0 on."""
    arviz: Any = import_module("arviz")

    if _is_first_line(arviz):
        return arviz.InferenceData(**groups)
    return import_module("xarray").DataTree.from_dict(dict(groups))


def smoothed_weights(log_weights: Any) -> tuple[Any, float]:
    """Pareto-smooth one row of log-weights, a NumPy array; returns them, and the tail's shape."""
    if len(log_weights) <= 20:  # a tail of four; ArviZ 1.x stumbles over one of none
        return log_weights, float("inf")
    arviz: Any = import_module("arviz")

    if _is_first_line(arviz):
        smoothed, k = arviz.psislw(log_weights)
    else:  # ArviZ 1.x takes log-likelihoods: the negative of log-weights
        smoothed, k = import_module("arviz_stats.base").array_stats.psislw(-log_weights)
    return smoothed, float(k)


def _is_first_line(arviz: Any) -> bool:
    return arviz.__version__.startswith("0.")  # type: ignore[no-any-return]
