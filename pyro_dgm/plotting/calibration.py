"""Pictures of simulation-based calibration: histograms of ranks and their distribution, with bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_dgm.diagnostics.calibration_report import Calibration
from pyro_dgm.plotting.style import BLUE, COLOURS, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rank_ecdf", "rank_histogram"]


def rank_histogram(
    found: Calibration, name: str | None = None, *, bins: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how often each rank occurs, over three standard errors around even ranks.

    Ranks pile up at both ends where posteriors are too narrow, in the middle where they are too wide, and at
    one end where they are shifted.

    Args:
        found: The ranks.
        name: The quantity; the first by default.
        bins: Number of bins.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    column = 0 if name is None else found.names.index(name)
    counts, expected = found.counts(bins)
    size, num = len(found.ranks), len(expected)
    mean, share = size / num, 1 / num
    # Bins hold a rank more or less; heights are those of bins of one width.
    heights = counts[:, column] * mean / expected
    error = (size * share * (1 - share)) ** 0.5
    with drawing(ax) as ax:
        middles = [(i + 0.5) / num for i in range(num)]
        ax.axhspan(max(0.0, mean - 3 * error), mean + 3 * error, color=GREY, alpha=0.2, linewidth=0)
        ax.axhline(mean, color=GREY, linewidth=1.0)
        ax.bar(middles, heights.tolist(), width=0.9 / num, color=BLUE)
        p = found.p_values[column].item()
        ax.set(xlabel="rank of the truth / L", ylabel="data sets", xlim=(0, 1))
        ax.set(title=f"{found.names[column]}: $\\chi^2$ p = {p:.2g}")
    return ax


def rank_ecdf(found: Calibration, *, probability: float = 0.95, ax: Axes | None = None) -> Axes:
    """Draw how far the distribution of the ranks is from the uniform one, with its simultaneous band.

    A curve of right posteriors stays inside the band, as a whole, with the given probability.

    Args:
        found: The ranks; one curve for each quantity.
        probability: That of the band.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Reference:
        Säilynoja, Bürkner and Vehtari, Graphical Test for Discrete Uniformity, Statistics and Computing 32,
        2022. https://arxiv.org/abs/2103.10522
    """
    levels, share = found.ecdf()
    values = found.num_draws + 1
    law = (levels * values + 1e-9).floor() / values
    band = found.band(probability).numpy()
    with drawing(ax) as ax:
        x = levels.numpy()
        ax.fill_between(x, -band, band, color=GREY, alpha=0.2, linewidth=0, label=f"{probability:.0%} band")
        ax.axhline(0.0, color=GREY, linewidth=1.0)
        for i, name in enumerate(found.names):
            curve = (share[:, i] - law).numpy()
            ax.plot(x, curve, color=COLOURS[i % len(COLOURS)], drawstyle="steps-post", label=name)
        ax.set(xlabel="rank of the truth / L", ylabel="ECDF minus uniform", xlim=(0, 1))
        if len(found.names) <= 8:
            ax.legend(loc="upper right")
    return ax
