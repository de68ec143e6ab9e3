"""What training did, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyro_dgm.plotting.style import COLOURS, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rate_distortion", "training_curve"]


def training_curve(
    series: Mapping[str, Sequence[float]],
    *,
    floors: Mapping[str, float] | None = None,
    smooth: int | None = None,
    ylabel: str = "loss (nats)",
    ylim: tuple[float, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw losses over steps, and floors or limits as labelled lines.

    Args:
        series: Values by name, one a step; NaN where a step has none.
        floors: Values by name of horizontal lines, such as the entropy of the data.
        smooth: Steps of the running mean drawn over the faint raw values; a fiftieth of all by default.
        ylabel: Label of the axis, with the unit.
        ylim: Range of the axis; by default from the smoothed values and floors, so that the first
            steps do not squeeze the rest.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    with drawing(ax, (4.8, 3.4)) as ax:
        seen: list[float] = list((floors or {}).values())
        for colour, (name, values) in zip(COLOURS * 2, series.items(), strict=False):
            steps, raw = _finite(values)
            mean = _running_mean(raw, smooth or max(1, len(raw) // 50))
            ax.plot(steps, raw, color=colour, alpha=0.2, linewidth=0.6)
            ax.plot(steps, mean, color=colour, label=name)
            seen += mean[len(mean) // 20 :].tolist()
        for style, (name, value) in zip(("--", ":", "-.") * 3, (floors or {}).items(), strict=False):
            ax.axhline(value, color=GREY, linestyle=style, linewidth=1.2, label=f"{name}: {value:.4g}")
        if ylim is None and seen:
            margin = 0.08 * (max(seen) - min(seen)) or 1.0
            ylim = (min(seen) - margin, max(seen) + margin)
        ax.set(xlabel="step", ylabel=ylabel, title=title or "", ylim=ylim)
        ax.legend(loc="best")
    return ax


def rate_distortion(
    points: Sequence[tuple[float, float]],
    *,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rate-distortion curve of VAEs: what their latents cost against what is lost in decoding.

    On a grey line rate and distortion add up to the best negative ELBO of all: every other point lies above.

    Args:
        points: Rate and distortion of each, in nats per row, as
            :func:`pyro_dgm.diagnostics.rate_distortion` gives them.
        labels: What each point is, such as its ``beta``.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Reference:
        Alemi et al., Fixing a Broken ELBO, ICML 2018. https://arxiv.org/abs/1711.00464
    """
    rates, distortions = (np.asarray(values, dtype=float) for values in zip(*points, strict=True))
    best = float((rates + distortions).min())
    with drawing(ax, (4.8, 3.4)) as ax:
        ax.plot(rates, distortions, "o-", color=COLOURS[0])
        reach = np.array([rates.min(), rates.max()])
        ax.plot(reach, best - reach, color=GREY, linestyle="--", linewidth=1.2, label=f"-ELBO {best:.4g}")
        for text, rate, distortion in zip(labels or [], rates, distortions, strict=False):
            ax.annotate(text, (rate, distortion), textcoords="offset points", xytext=(5, 4), fontsize=8)
        ax.set(xlabel="rate (nats)", ylabel="distortion (nats)", title=title or "")
        ax.legend(loc="best")
    return ax


def _finite(values: Sequence[float]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    array = np.asarray(values, dtype=float)
    steps = np.flatnonzero(np.isfinite(array))
    return steps, array[steps]


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of the last ``width`` values, of fewer at the start."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(total))
    starts = np.maximum(ends - width, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))
