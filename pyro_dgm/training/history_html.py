"""A history as a notebook shows it: a curve and a table, without any library."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyro_dgm.training.history import History

__all__ = ["history_html"]

_WIDTH, _HEIGHT, _POINTS = 320, 80, 160


def history_html(history: History) -> str:
    """Return the curve of the losses as inline SVG, and first, lowest and last value of each column."""
    rows = "".join(_row(name, history[name]) for name in history.columns)
    curve = _curve(history.losses) if len(history) > 1 and history.columns else ""
    return (
        f"<div><p>{escape(repr(history)[1:-1])}</p>{curve}"
        f"<table><tr><th></th><th>first</th><th>lowest</th><th>last</th></tr>{rows}</table></div>"
    )


def _row(name: str, values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    cells = [known[0], known.min(), known[-1]] if len(known) else []
    return f"<tr><th>{escape(name)}</th>{''.join(f'<td>{value:.5g}</td>' for value in cells)}</tr>"


def _curve(losses: NDArray[np.float64]) -> str:
    known = losses[np.isfinite(losses)]
    if len(known) < 2:
        return ""
    means = np.array([part.mean() for part in np.array_split(known, min(_POINTS, len(known)))])
    # The first steps may tower over the rest: the curve is cut at the 98th percentile.
    low, high = means.min(), max(np.quantile(means, 0.98), means.min() + 1e-12)
    x = np.linspace(2, _WIDTH - 2, len(means))
    y = 2 + (_HEIGHT - 4) * (1 - np.clip((means - low) / (high - low), 0, 1))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="training loss over the steps">'
        f'<polyline fill="none" stroke="currentColor" points="{points}"/></svg>'
    )
