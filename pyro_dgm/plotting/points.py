"""Points of the plane: samples, latents, latents by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import evaluating, seeded
from pyro_dgm.plotting.density import Window
from pyro_dgm.plotting.style import BLUE, COLOURS, as_points, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["latent_image", "latent_scatter", "samples"]


def samples(
    x: Tensor,
    window: Window | None = None,
    *,
    label: str | None = None,
    colour: str = BLUE,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter points of the plane.

    Args:
        x: Points of shape ``(n, 2)``.
        window: The ranges to show; those of the points by default.
        label: What the points are, for a legend.
        colour: Their colour.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    points = as_points(x)
    with drawing(ax) as ax:
        size = min(12.0, max(1.0, 4000 / max(len(points), 1)))
        ax.scatter(points[:, 0], points[:, 1], s=size, c=colour, alpha=0.5, linewidths=0, label=label)
        ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title or "", aspect="equal")
        if window is not None:
            ax.set(xlim=window[0], ylim=window[1])
        if label is not None:
            ax.legend(loc="upper right")
    return ax


def latent_image(
    model: Any,
    x: Tensor,
    *,
    reach: float = 3.5,
    num: int = 50,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where a model takes data: the histogram of the latents of ``x`` under circles of N(0, I).

    A flow that fits takes the data to the standard normal, whose density is drawn at one, two and three
    standard deviations; colours run from zero to the peak of the normal, ``1 / 2 pi``. Of a VAE it is the
    aggregate posterior, one draw of ``q(z | x)`` for each row: means would understate the spread.

    Args:
        model: A model with ``encode``, a VAE with its guide, or a function from data to latents.
        x: Rows of data, ``(n, ...)``; ten thousand and more make a smooth picture.
        reach: Half the side of the window, in standard deviations.
        num: Number of cells along each side.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    with torch.no_grad():
        z = as_points(_latents(model, x), "the latent")
    with drawing(ax) as ax:
        window = [[-reach, reach], [-reach, reach]]
        ax.hist2d(z[:, 0], z[:, 1], bins=num, range=window, density=True, vmin=0.0, vmax=1.3 / (2 * math.pi))
        _draw_normal(ax, "white")
        ax.set(xlabel="$z_1$", ylabel="$z_2$", title=title or "", aspect="equal")
    return ax


def latent_scatter(
    z: Tensor,
    labels: Tensor | None = None,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter latents of the plane by class, with circles of the prior N(0, I).

    Means of the posteriors lie closer together than the latents that the decoder sees: pass samples of the
    posteriors to judge the match with the prior.

    Args:
        z: Latents of shape ``(n, 2)``.
        labels: Class of each, of shape ``(n,)``.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    points = as_points(z, "z")
    with drawing(ax) as ax:
        if labels is None:
            ax.scatter(points[:, 0], points[:, 1], s=4, c=BLUE, alpha=0.6, linewidths=0)
        else:
            _scatter_classes(ax, points, torch.as_tensor(labels).tolist())
        _draw_normal(ax, "black")
        reach = max(3.5, 1.05 * float(abs(points).max()))
        ax.set(xlabel="$z_1$", ylabel="$z_2$", title=title or "", aspect="equal")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    return ax


def _latents(model: Any, x: Tensor) -> Tensor:
    """Where the rows are in the latent space; of a VAE by draws from a fixed seed."""
    if not isinstance(model, VAE):
        z: Tensor = getattr(model, "encode", model)(x)
        return z
    with evaluating(model), seeded(0):
        z = model.posterior(x).sample()
    return z


def _scatter_classes(ax: Axes, points: Any, labels: list[int]) -> None:
    """One colour and, beyond the palette, another marker a class, with its name at the mean."""
    for i, label in enumerate(sorted(set(labels))):
        rows = [k for k, other in enumerate(labels) if other == label]
        marker, colour = "o^s"[i // len(COLOURS) % 3], COLOURS[i % len(COLOURS)]
        ax.scatter(points[rows, 0], points[rows, 1], s=9, c=colour, marker=marker, alpha=0.7, linewidths=0)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
        x, y = points[rows].mean(0)
        ax.text(x, y, str(label), fontsize=10, weight="bold", ha="center", va="center", bbox=box)


def _draw_normal(ax: Axes, colour: str) -> None:
    from matplotlib.patches import Circle

    for sd, style in ((1, "-"), (2, "--"), (3, ":")):
        ax.add_patch(Circle((0, 0), sd, fill=False, edgecolor=colour, linestyle=style, linewidth=1.0))
        ax.annotate(f"{sd} sd", (0, -sd), color=colour, fontsize=8, ha="center", va="top")
