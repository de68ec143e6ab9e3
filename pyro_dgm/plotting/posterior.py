"""Pictures of a VAE's latent plane: a posterior against its guide, and a path of decoded codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_dgm.plotting.images import image_grid
from pyro_dgm.plotting.style import BLUE, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pyro_dgm.diagnostics.posterior_plane import PosteriorPlane

__all__ = ["interpolation", "posterior_plane"]


def posterior_plane(plane: PosteriorPlane, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the true posterior of one row, filled, under the contours of its guide, and both maxima.

    The levels of both lie 0.5, 2 and 4.5 nats, or one, two and three standard deviations of a normal, below
    their maxima; the caption has log p(x) and the divergence, both by quadrature.

    Args:
        plane: What :func:`pyro_dgm.diagnostics.posterior_plane` found.
        title: Title of the picture, before the numbers.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    axis, drop = plane.axis.numpy(), [-4.5, -2.0, -0.5]
    numbers = f"log p(x) = {plane.log_prob:.2f}, KL(q || p) = {plane.divergence:.3f} nats"
    with drawing(ax) as ax:
        # contour takes rows as the second coordinate
        joint, guide = plane.log_joint.T, plane.log_guide.T
        peaks = float(joint.max()), float(guide.max())
        levels = [peaks[0] + d for d in drop]
        ax.contourf(axis, axis, joint.numpy(), levels=[*levels, peaks[0] + 1e-6], cmap="Blues", alpha=0.9)
        ax.contour(axis, axis, guide.numpy(), levels=[peaks[1] + d for d in drop], colors=ORANGE)
        for mode, colour, name in (
            (plane.posterior_mode, BLUE, "mode of p(z | x)"),
            (plane.guide_mode, ORANGE, "mode of q(z | x)"),
        ):
            ax.plot(*mode.tolist(), "+", color=colour, markersize=10, markeredgewidth=2, label=name)
        ax.legend(loc="upper left")
        ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
        ax.set_title(numbers if title is None else f"{title}\n{numbers}")
    return ax


@torch.no_grad()
def interpolation(
    decode: Callable[[Tensor], Tensor],
    start: Sequence[float] = (-1.0, -1.0),
    end: Sequence[float] = (1.0, 1.0),
    *,
    num: int = 20,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a strip of images decoded along the straight line between two codes.

    Args:
        decode: Maps codes ``(num, q)`` to images ``(num, C, H, W)``, as ``lambda z: vae.decode(z).mean``.
        start: The first code.
        end: The last code.
        num: Number of images.
        title: Title of the picture.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    first, last = torch.tensor(start), torch.tensor(end)
    t = torch.linspace(0, 1, num).unsqueeze(-1)
    return image_grid(decode(first + t * (last - first)), columns=num, title=title, ax=ax)
