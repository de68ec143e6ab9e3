"""Grids of images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_dgm.errors import ShapeError
from pyro_dgm.plotting.style import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["image_grid", "reconstructions"]


def image_grid(
    x: Tensor,
    *,
    columns: int | None = None,
    data_range: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images row by row, with one grey scale for all: ``data_range`` from black to white.

    Args:
        x: Images of shape ``(n, C, H, W)`` with one or three channels, or ``(n, H, W)``.
        columns: Images in a row; about a square by default.
        data_range: The values shown as black and as white; values beyond are clipped.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ShapeError: If ``x`` holds no images.
    """
    x = _as_images(x)
    columns = columns or math.ceil(math.sqrt(len(x)))
    rows = math.ceil(len(x) / columns)
    sheet = _sheet(x, rows, columns, data_range)
    width = max(4.5, 0.45 * columns)
    with drawing(ax, (width, width * rows / columns + (0.25 if title else 0.0))) as ax:
        ax.imshow(sheet, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        ax.set_axis_off()
        if title:
            ax.set_title(title)
    return ax


def reconstructions(
    x: Tensor,
    decoded: Tensor,
    *,
    data_range: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images above what a model makes of them: ``x`` over ``g(mean of q(z | x))``, pair by pair.

    Args:
        x: Images of shape ``(n, C, H, W)``.
        decoded: Their reconstructions, of the same shape.
        data_range: The values shown as black and as white.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ShapeError: If the shapes differ.
    """
    if x.shape != decoded.shape:
        raise ShapeError(
            f"each image needs one reconstruction of its shape, but x has shape {tuple(x.shape)} and decoded "
            f"{tuple(decoded.shape)}."
        )
    blocks = zip(x.split(10), decoded.split(10), strict=True)
    pairs = [torch.cat([_filled(a), _filled(b)]) for a, b in blocks] if len(x) > 10 else [x, decoded]
    columns = min(10, len(x))
    return image_grid(torch.cat(pairs), columns=columns, data_range=data_range, title=title, ax=ax)


def _filled(x: Tensor) -> Tensor:
    """Ten images: the missing ones empty."""
    return torch.cat([x, x.new_zeros(10 - len(x), *x.shape[1:])])


def _as_images(x: Tensor) -> Tensor:
    x = torch.as_tensor(x).detach().cpu().float()
    x = x.unsqueeze(1) if x.dim() == 3 else x
    if x.dim() != 4 or x.shape[1] not in (1, 3) or not len(x):
        raise ShapeError(
            f"images must have shape (n, 1 or 3, H, W) with n at least 1, but got {tuple(x.shape)}. Put the "
            "channels before height and width."
        )
    return x


def _sheet(x: Tensor, rows: int, columns: int, data_range: tuple[float, float]) -> Any:
    """All images on one array (H, W, C), a light line of one pixel between them."""
    _, channels, height, width = x.shape
    low, high = data_range
    sheet = torch.full((channels, rows * (height + 1) + 1, columns * (width + 1) + 1), 0.75)
    for i, image in enumerate((x - low) / (high - low)):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        sheet[:, top : top + height, left : left + width] = image.clamp(0, 1)
    return sheet.permute(1, 2, 0).squeeze(-1).numpy()
