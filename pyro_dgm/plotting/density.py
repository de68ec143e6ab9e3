"""A density on a window of the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_dgm.plotting.style import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Window", "density", "density_grid"]

Window = tuple[tuple[float, float], tuple[float, float]]

_ROWS_AT_ONCE = 10_000


def density(
    source: Any,
    window: Window = ((-3.5, 3.5), (-3.5, 3.5)),
    *,
    num: int = 160,
    peak: float | None = None,
    colourbar: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the density of anything with a ``log_prob`` over the plane.

    The colour is the density itself, from zero to ``peak``; it is neither the log-density nor scaled to the
    picture's own range, so two pictures with one ``peak`` can be compared. The first coordinate runs to the
    right and the second upwards.

    Args:
        source: A distribution, a target, a model, or a flow (which is called without a context).
        window: The ranges ``((x_low, x_high), (y_low, y_high))``.
        num: Number of cells along each side; the density is taken at their centres.
        peak: The density shown in the brightest colour; the largest on the grid by default.
        colourbar: Whether to add the scale, in units of one over area.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Example:
        >>> from pyro_dgm.distributions import StandardNormal
        >>> density(StandardNormal(torch.zeros(2))).images[0].get_array().shape
        (160, 160)
    """
    values = density_grid(source, window, num)
    (left, right), (low, high) = window
    with drawing(ax) as ax:
        image = ax.imshow(
            values.numpy(),
            origin="lower",
            extent=(left, right, low, high),
            vmin=0.0,
            vmax=peak or values[values.isfinite()].max().item(),
            interpolation="nearest",
        )
        ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title or "")
        if colourbar:
            bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
            bar.set_label("density")
    return ax


@torch.no_grad()
def density_grid(source: Any, window: Window, num: int = 160) -> Tensor:
    """Return the density at the centres of ``num`` x ``num`` cells.

    Returns:
        Densities of shape ``(num, num)``: rows run with the second coordinate, columns with the first, both
        upwards. Their sum times the area of a cell estimates the mass in the window.
    """
    (left, right), (low, high) = window
    centres = (torch.arange(num, dtype=torch.double) + 0.5) / num
    first, second = left + (right - left) * centres, low + (high - low) * centres
    rows, columns = torch.meshgrid(second, first, indexing="ij")
    points = torch.stack([columns, rows], -1).reshape(-1, 2)
    distribution = source if hasattr(source, "log_prob") else source()
    like = (
        next(iter(source.parameters()), points.float()) if hasattr(source, "parameters") else points.float()
    )
    points = points.to(like.device, like.dtype)
    blocks = [_density_at(distribution, block) for block in points.split(_ROWS_AT_ONCE)]
    return torch.cat(blocks).double().cpu().reshape(num, num)


def _like(source: Any) -> Tensor:
    """A tensor on the device and of the dtype that ``source`` computes with."""
    parameters = iter(source.parameters()) if hasattr(source, "parameters") else iter(())
    return next(parameters, torch.empty(0))


def _density_at(distribution: Any, points: Tensor) -> Tensor:
    """The density of each row; zero outside the support, where torch would refuse to score."""
    support = getattr(distribution, "support", None)
    if support is None:
        return distribution.log_prob(points).exp()  # type: ignore[no-any-return]
    inside = support.check(points)
    values = points.new_zeros(len(points))
    if inside.any():
        values[inside] = distribution.log_prob(points[inside]).exp()
    return values
