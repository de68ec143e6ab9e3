"""The ways that points take from latent to data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.plotting.density import Window
from pyro_dgm.plotting.style import BLUE, GREY, ORANGE, as_points, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["paths"]


def paths(
    way: Tensor, window: Window | None = None, *, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw paths from latent to data: the characteristics of a continuous flow, or a point's way by layers.

    Args:
        way: Positions in the plane, of shape ``(steps, n, 2)``, the latent first and the data last.
        window: The ranges to show; those of the paths by default.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ArgumentTypeError: If ``way`` is no tensor.
        ShapeError: If it has another shape.
    """
    if not isinstance(way, Tensor):
        raise ArgumentTypeError(
            f"paths draws positions (steps, n, 2), but got a {type(way).__name__}. Of a continuous flow they "
            "are flow.transform().path(z), for latents z of shape (n, 2)."
        )
    if way.dim() != 3 or way.shape[-1] != 2:
        raise ShapeError(f"paths need positions of shape (steps, n, 2), but got {tuple(way.shape)}.")
    start, end = as_points(way[0]), as_points(way[-1])
    lines = torch.as_tensor(way).detach().cpu().double().transpose(0, 1).numpy()
    with drawing(ax) as ax:
        for line in lines:
            ax.plot(line[:, 0], line[:, 1], color=GREY, linewidth=0.7, alpha=0.7)
        ax.scatter(start[:, 0], start[:, 1], s=9, c=ORANGE, marker="x", linewidths=0.8, label="latent")
        ax.scatter(end[:, 0], end[:, 1], s=9, c=BLUE, linewidths=0, label="data")
        ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title or "", aspect="equal")
        if window is not None:
            ax.set(xlim=window[0], ylim=window[1])
        ax.legend(loc="upper right", frameon=True, framealpha=0.8, edgecolor="none")
    return ax
