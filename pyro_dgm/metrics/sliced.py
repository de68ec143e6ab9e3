"""Wasserstein-1 distances along lines: on average over directions, and along the worst one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.samples import two_samples

__all__ = ["max_sliced_wasserstein", "sliced_wasserstein"]


def sliced_wasserstein(
    a: object,
    b: object,
    *,
    num_directions: int = 256,
    seed: int = 0,
    block: int = 32,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Sliced Wasserstein-1 distance: the mean of W1 over projections on random unit vectors.

    .. math:: SW_1(X, Y) = E_\theta \int |F_{\theta \cdot X}(t) - F_{\theta \cdot Y}(t)| \, dt

    Each projection is exact, for samples of any two sizes. The distance of two samples is biased upwards: of
    samples of equal distributions it is of order :math:`n^{-1/2}`, so read it beside its floor.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        num_directions: Number of directions.
        seed: Seed of the directions; the global random state is not touched.
        block: Directions at once: the memory is a few matrices of ``block * (n + m)``.
        floor: What two samples of one distribution score, from
            :func:`~pyro_dgm.metrics.floor_of`, to be kept beside.

    Returns:
        The estimate in units of the data. Its standard error adds the variance over rows (of the mean dual
        potential, exact to first order) and over directions; the interval is two-sided normal around the
        estimate, about its expectation at these sample sizes.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than two rows, or an option is out of range.
        ShapeError: If the rows of the two samples have different shapes.

    Reference:
        Bonneel, Rabin, Peyré and Pfister, Sliced and Radon Wasserstein Barycenters of Measures, JMIV 51,
        2015. https://doi.org/10.1007/s10851-014-0506-3

    Example:
        >>> sliced_wasserstein(torch.zeros(4, 1), torch.ones(3, 1)).value
        1.0
    """
    rows_a, rows_b = two_samples(a, b, name="a sliced distance")
    directions = _directions(num_directions, block, rows_a, seed)
    distances = []
    potential = rows_a.new_zeros(len(rows_a) + len(rows_b))
    for some in directions.split(block):
        found, potentials = wasserstein_of_lines(rows_a @ some.T, rows_b @ some.T)
        distances.append(found)
        potential += potentials.sum(1) / num_directions
    w = torch.cat(distances)
    over_lines = w.var().item() / num_directions if rows_a.shape[1] > 1 else 0.0
    variance = potential_variance(potential[: len(rows_a)], potential[len(rows_a) :]) + over_lines
    return around(w.mean().item(), variance, len(rows_a), len(rows_b), floor)


def max_sliced_wasserstein(
    a: object,
    b: object,
    *,
    num_directions: int = 256,
    steps: int = 50,
    seed: int = 0,
    block: int = 32,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Max-sliced Wasserstein-1 distance: the direction found on half of the rows, measured on the others.

    .. math:: \max_{|\theta| = 1} W_1(\theta \cdot X, \theta \cdot Y)

    Measured on the rows that chose it, the worst direction would score far above zero for equal
    distributions in high dimension. On other rows it scores at most the maximum, but for the bias of W1
    along one line. The direction starts at the best of random ones and of the difference of the means, and
    climbs along the gradient.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        num_directions: Number of directions to start from.
        steps: Number of steps of the climb.
        seed: Seed of halves and directions; the global random state is not touched.
        block: Directions at once.
        floor: What two samples of one distribution score.

    Returns:
        The estimate in units of the data; its sample sizes are those of the half that it was measured on.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than four rows, or an option is out of range.
        ShapeError: If the rows of the two samples have different shapes.

    Reference:
        Deshpande et al., Max-Sliced Wasserstein Distance and its Use for GANs, CVPR 2019.
        https://arxiv.org/abs/1904.05877
    """
    rows_a, rows_b = two_samples(a, b, name="the max-sliced distance", least=4)
    generator = torch.Generator().manual_seed(seed)
    order_a, order_b = (torch.randperm(len(x), generator=generator).to(x.device) for x in (rows_a, rows_b))
    half_a, half_b = len(rows_a) // 2, len(rows_b) // 2
    here_a, here_b = rows_a[order_a[:half_a]], rows_b[order_b[:half_b]]
    start = torch.cat(
        [_directions(num_directions, block, rows_a, seed), (here_a.mean(0) - here_b.mean(0))[None]]
    )
    start = torch.nn.functional.normalize(start, dim=1)
    w = torch.cat([wasserstein_of_lines(here_a @ s.T, here_b @ s.T)[0] for s in start.split(block)])
    theta = _climb(start[w.argmax()], here_a, here_b, steps)
    there_a, there_b = rows_a[order_a[half_a:]], rows_b[order_b[half_b:]]
    found, potentials = wasserstein_of_lines((there_a @ theta)[:, None], (there_b @ theta)[:, None])
    variance = potential_variance(potentials[: len(there_a), 0], potentials[len(there_a) :, 0])
    return around(found.item(), variance, len(there_a), len(there_b), floor)


def wasserstein_of_lines(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """W1 of each column of ``(n, K)`` and ``(m, K)``, and its Kantorovich potential at all points.

    The potential of a column has slope ``sign(F_b - F_a)``; its mean over ``a`` less that over ``b`` is W1.

    Returns:
        Distances ``(K,)`` and potentials ``(n + m, K)``, centred.
    """
    n, m = len(a), len(b)
    pooled, order = torch.cat([a, b]).sort(0)
    mass = torch.cat([a.new_full((n,), -1 / n), a.new_full((m,), 1 / m)])[order]
    difference = mass.cumsum(0)[:-1]  # F_b - F_a on each gap
    gaps = pooled.diff(dim=0)
    # rounding must not choose the slope where the two are equal
    slope = torch.where(difference.abs() < 1e-9 / max(n, m), 0.0, difference.sign())
    along = torch.cat([gaps.new_zeros(1, gaps.shape[1]), (slope * gaps).cumsum(0)])
    potential = torch.empty_like(along).scatter_(0, order, along)
    return (difference.abs() * gaps).sum(0), potential - potential.mean(0)


def potential_variance(f: Tensor, g: Tensor) -> float:
    """Variance of the mean of ``f`` over the first sample less that of ``g`` over the second."""
    return f.var().item() / len(f) + g.var().item() / len(g)


def around(value: float, variance: float, n: int, m: int, floor: Estimate | None) -> Estimate:
    """The estimate with a normal interval of 95 %."""
    error = math.sqrt(variance)
    return Estimate(value, error, value - 1.96 * error, value + 1.96 * error, n, m, 0.95, floor)


def _climb(theta: Tensor, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Ascend W1 along the sphere; the gradient is that of the coupling of the sorted projections."""
    best, best_w, rate = theta, -math.inf, 0.5
    for _ in range(steps + 1):
        found, _ = wasserstein_of_lines((a @ theta)[:, None], (b @ theta)[:, None])
        w = found.item()
        if w > best_w:
            best, best_w, rate = theta, w, min(1.0, 1.2 * rate)
            slope = _slope(theta, a, b)
        else:
            rate = rate / 2
        theta = best + rate * slope / slope.norm().clamp_min(1e-300)
        theta = theta / theta.norm()
    return best


def _slope(theta: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Gradient of W1 along ``theta``: the mean of sign * (x - y) over the monotone coupling."""
    i, j = (a @ theta).argsort(), (b @ theta).argsort()
    n, m = len(a), len(b)
    levels = (
        torch.cat([torch.arange(1, n + 1) / n, torch.arange(1, m + 1) / m]).double().unique().to(a.device)
    )
    weight = levels.diff(prepend=levels.new_zeros(1))
    middle = levels - weight / 2
    x = a[i[(middle * n).long().clamp(max=n - 1)]]
    y = b[j[(middle * m).long().clamp(max=m - 1)]]
    slope: Tensor = (weight * ((x - y) @ theta).sign()) @ (x - y)
    return slope


def _directions(num: int, block: int, like: Tensor, seed: int) -> Tensor:
    if num < 2 or block < 1:
        raise DataError(f"expected at least 2 directions and a block of at least 1, got {num} and {block}.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(num, like.shape[1], generator=generator, dtype=torch.double)
    return torch.nn.functional.normalize(drawn, dim=1).to(like.device)
