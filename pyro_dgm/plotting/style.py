"""One look for all pictures, without touching Matplotlib's global settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "COLOURS", "GREY", "ORANGE", "drawing", "figure_of", "png_bytes", "styled"]

# Okabe and Ito's palette, which is told apart under every common colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#000000")
BLUE, ORANGE, GREY = COLOURS[0], COLOURS[1], "#666666"

_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11.0,  # a picture 4.5 inches wide is still readable at the 360 points of a phone
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "lines.linewidth": 1.4,
    "image.cmap": "viridis",
    "figure.dpi": 140,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style inside the block; the global settings are as before after it."""
    from cycler import cycler
    from matplotlib import rc_context

    settings: Any = _STYLE | {"axes.prop_cycle": cycler(color=COLOURS)}
    with rc_context(settings):
        yield


@contextmanager
def drawing(ax: Axes | None, size: tuple[float, float] = (4.5, 4.0)) -> Iterator[Axes]:
    """Yield ``ax`` in the house style, or new axes on a figure of their own of ``size`` inches.

    The figure is no pyplot figure: nothing has to be closed, and no display is needed.
    """
    from matplotlib.figure import Figure

    with styled():
        yield Figure(figsize=size).add_subplot() if ax is None else ax


def figure_of(picture: Axes | Figure) -> Figure:
    """Return the figure that axes lie on, or the figure itself."""
    from matplotlib.figure import Figure

    figure = picture if isinstance(picture, Figure) else picture.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes lie on no figure any more: draw the picture again.")
    return figure


def png_bytes(picture: Axes | Figure) -> bytes:
    r"""Return a picture as the bytes of a PNG file.

    Example:
        >>> from pyro_dgm import plotting
        >>> plotting.png_bytes(plotting.samples(torch.zeros(3, 2)))[:4]
        b'\x89PNG'
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with styled():
        # The time and the versions stay out, so that one picture has one file.
        canvas: Any = FigureCanvasAgg(figure_of(picture))
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def as_points(x: Tensor, name: str = "x") -> Any:
    """Return rows ``(n, 2)`` as a NumPy array of doubles.

    Raises:
        ShapeError: If they are no points of the plane.
    """
    from pyro_dgm.errors import ShapeError

    x = torch.as_tensor(x).detach().cpu().double()
    if x.dim() != 2 or x.shape[1] != 2:
        raise ShapeError(
            f"this picture shows points of the plane: {name} must have shape (n, 2), but has shape "
            f"{tuple(x.shape)}. Pick two columns, or project first."
        )
    return x.numpy()
