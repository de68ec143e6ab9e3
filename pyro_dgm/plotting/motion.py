"""A continuous flow in motion: its velocity at one time, and its density at several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_dgm.distributions import FlowDistribution
from pyro_dgm.errors import ShapeError
from pyro_dgm.plotting.density import Window, density, density_grid
from pyro_dgm.plotting.style import BLUE, drawing, styled
from pyro_dgm.transforms import ContinuousTransform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyro_dgm.flows import Flow

__all__ = ["density_over_time", "vector_field"]

_WINDOW: Window = ((-3.5, 3.5), (-3.5, 3.5))


def vector_field(
    flow: Flow,
    share: float = 0.5,
    window: Window = _WINDOW,
    *,
    context: Tensor | None = None,
    num: int = 20,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the velocity of a continuous flow of the plane as arrows.

    Args:
        flow: The flow, such as a :class:`~pyro_dgm.flows.CNF`.
        share: The time, as a share of the way from base (0) to data (1).
        window: The ranges to show.
        context: One conditioning vector ``(C,)``, if the flow takes one.
        num: Number of arrows along each side.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        TypeError: If the flow has no velocity.
        ShapeError: If it is no flow of the plane, or the context not what it was built for.

    Example:
        >>> from pyro_dgm.flows import CNF
        >>> vector_field(CNF(2), num=10).collections[0].N
        100
    """
    velocity = _transform(flow, context).velocity
    (left, right), (low, high) = window
    grid = torch.cartesian_prod(torch.linspace(left, right, num), torch.linspace(low, high, num))
    points = grid.to(flow.origin)
    end = max(velocity.base_time, velocity.data_time)
    with torch.no_grad():
        arrows = velocity(share * end, points, context)  # type: ignore[operator]
    x, v = points.double().cpu().numpy(), arrows.double().cpu().numpy()
    with drawing(ax) as ax:
        ax.quiver(x[:, 0], x[:, 1], v[:, 0], v[:, 1], color=BLUE, angles="xy", width=0.004)
        ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title or f"velocity at {share:g} of the way")
        ax.set(xlim=window[0], ylim=window[1], aspect="equal")
    return ax


def density_over_time(
    flow: Flow,
    shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    window: Window = _WINDOW,
    *,
    context: Tensor | None = None,
    num: int = 100,
) -> Figure:
    """Draw the density of the points on their way from base to data, one panel a time.

    All panels have one scale of colours, from zero to the largest density of any of them.

    Args:
        flow: The flow, such as a :class:`~pyro_dgm.flows.CNF`; solved as in its present mode.
        shares: The times, as shares of the way from base (0) to data (1).
        window: The ranges to show.
        context: One conditioning vector ``(C,)``, if the flow takes one.
        num: Number of cells along each side.

    Returns:
        The figure.

    Raises:
        TypeError: If the flow has no velocity.
        ShapeError: If it is no flow of the plane, or the context not what it was built for.
    """
    from matplotlib.figure import Figure

    transform, base = _transform(flow, context), flow.base(context)
    stages = [FlowDistribution(base, transform.part(share)) if share else base for share in shares]
    peak = max(density_grid(stage, window, num).max().item() for stage in stages)
    with styled():
        figure = Figure(figsize=(2.6 * len(shares), 2.8))
        axes = figure.subplots(1, len(shares), squeeze=False)[0]
        for ax, share, stage in zip(axes, shares, stages, strict=True):
            density(stage, window, num=num, peak=peak, colourbar=False, title=f"{share:g} of the way", ax=ax)
    return figure


def _transform(flow: Flow, context: Tensor | None) -> ContinuousTransform:
    flow.check_context(context)
    if flow.event_shape != (2,):
        raise ShapeError(
            f"this picture is of the plane, but the flow has events of shape {tuple(flow.event_shape)}: draw "
            "its samples, two entries at a time, by plotting.samples."
        )
    if context is not None and context.dim() != 1:
        raise ShapeError(
            f"one picture has one context of shape (C,), but this one has shape {tuple(context.shape)}: draw "
            "one for each, such as context=context[0]."
        )
    transform = flow.transform(context)
    if not isinstance(transform, ContinuousTransform):
        raise TypeError(
            f"{type(flow).__name__} does not move points in time: draw a continuous flow of all of space, "
            "such as CNF, FFJORD or OTFlow."
        )
    return transform
