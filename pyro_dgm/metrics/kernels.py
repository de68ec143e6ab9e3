"""Positive definite kernels between rows, by name, and their bandwidth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.metrics.pairwise import Kernel, distances

__all__ = ["KERNELS", "median_distance", "negative_kernel"]

# From distances in units of the bandwidth.
_RADIAL: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda r: (-0.5 * r.square()).exp(),
    "laplace": lambda r: (-r).exp(),
    "rational-quadratic": lambda r: 1 / (1 + 0.5 * r.square()),
    "gaussian-mixture": lambda r: torch.stack([(-0.5 * (r / s).square()).exp() for s in (0.25, 1, 4)]).mean(
        0
    ),
}
KERNELS = (*_RADIAL, "polynomial", "linear")


def negative_kernel(name: str, bandwidth: float | None) -> tuple[Kernel, bool]:
    r"""Return minus the kernel of this name, and whether it is invariant to a common shift.

    - ``gaussian``: :math:`e^{-r^2 / 2}` with :math:`r = |x - y| / h`; ``gaussian-mixture``: the mean of those
      of h/4, h and 4h;
    - ``laplace``: :math:`e^{-r}`; ``rational-quadratic``: :math:`1 / (1 + r^2 / 2)`;
    - ``polynomial``: :math:`(x \cdot y / D + 1)^3`; ``linear``: :math:`x \cdot y`. Both have no bandwidth.

    Args:
        name: One of ``KERNELS``.
        bandwidth: The ``h`` of a radial kernel.

    Raises:
        UnknownNameError: If there is no such kernel.
        DataError: If the bandwidth is not positive.
    """
    if name not in KERNELS:
        raise UnknownNameError.of("kernel", name, KERNELS)
    if name == "linear":
        return (lambda a, b: -(a @ b.T)), False
    if name == "polynomial":
        return (lambda a, b: -(a @ b.T / a.shape[1] + 1).pow(3)), False
    if bandwidth is None or not 0 < bandwidth < float("inf"):
        raise DataError(f"the bandwidth of the kernel {name!r} must be positive and finite, got {bandwidth}.")
    radial = _RADIAL[name]
    return (lambda a, b: radial(distances(a, b) / bandwidth).neg_()), True


def median_distance(rows: Tensor, *, most: int = 1000, seed: int = 0) -> float:
    """Median of the distances between different rows, from at most ``most`` of them drawn at random.

    Raises:
        DataError: If it is zero: more than half of the pairs are equal.

    Example:
        >>> median_distance(torch.tensor([[0.0], [1.0], [3.0]]))
        2.0
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].to(rows.device)
    chosen = rows[order] - rows[order].mean(0)
    i, j = torch.triu_indices(len(chosen), len(chosen), 1, device=rows.device)
    median = distances(chosen, chosen)[i, j].median().item()
    if median == 0:
        raise DataError(
            "more than half of the pairs of rows are equal, so that their median distance, the default "
            "bandwidth, is zero: give a bandwidth."
        )
    return median
