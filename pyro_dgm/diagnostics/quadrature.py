"""Adaptive quadrature of a density in one and two dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Integral", "integrate_density"]

_NUM_NODES = 5  # Gauss-Lobatto nodes a side
_MAX_DOUBLINGS = 30
_MAX_DEPTH = 20
_UNCANCELLED = 0.2  # share of the cells' errors taken not to cancel, of which there are many in the plane


@dataclass(frozen=True)
class Integral:
    """What an integration found.

    Attributes:
        mass: The integral of the density.
        error: Its error: by how much halving every cell changed the mass, plus the sum of the absolute
            changes (a fifth of it in the plane, where most of them cancel).
        mean_log_prob: The mean log-density under the density (scaled to mass one), in nats.
        num_points: Number of points at which the density was evaluated.
        window: The box that was looked at: its low and its high corner.
        bad_point: A point at which the density is NaN or infinite, if one was met.
    """

    mass: float
    error: float
    mean_log_prob: float
    num_points: int
    window: tuple[list[float], list[float]]
    bad_point: list[float] | None = None


def integrate_density(
    log_density: Callable[[Tensor], Tensor],
    samples: Tensor,
    *,
    tolerance: float = 1e-4,
    max_points: int = 2_000_000,
) -> Integral:
    r"""Integrate :math:`\exp(\log p)` over the line or the plane.

    Every cell is integrated by Gauss-Lobatto nodes, once as a whole and once as its halves (quarters in two
    dimensions). The two differ by the cell's error, and the cells with the largest errors are cut until the
    error of the sum is below the tolerance. Cells that hold many of the samples are cut first, so that no
    narrow part is stepped over. The window covers 8 standard deviations and twice the range of the samples,
    and is doubled until the last ring adds less than a tenth of the tolerance.

    Args:
        log_density: Maps points ``(n, D)`` in double precision to log-densities ``(n,)``.
        samples: Points ``(m, D)`` of the distribution, which show where to look.
        tolerance: The error to reach, relative to ``max(1, mass)``.
        max_points: Number of points after which to stop.
    """
    samples = samples.double()
    low, high = samples.amin(0), samples.amax(0)
    centre = (low + high) / 2
    reach = torch.maximum(8 * samples.std(0), high - low).clamp_min(1e-12)
    tree = _Cells(log_density, tolerance, max_points)
    tree.add(*_seeded(centre, reach, samples))
    tree.refine()
    for _ in range(_MAX_DOUBLINGS):
        before = tree.mass
        tree.add(*_ring(centre, reach))
        tree.refine()
        reach = 2 * reach
        if tree.bad_point or abs(tree.mass - before) < 0.1 * tolerance * max(1.0, tree.mass):
            break
        if tree.num_points >= max_points:
            break
    window = ((centre - reach).tolist(), (centre + reach).tolist())
    mean = tree.moment / tree.mass if tree.mass else float("nan")
    return Integral(tree.mass, tree.error, mean, tree.num_points, window, tree.bad_point)


class _Cells:
    """The leaves of a tree of boxes, each with the integrals of its children."""

    def __init__(self, log_density: Callable[[Tensor], Tensor], tolerance: float, max_points: int) -> None:
        self.log_density, self.tolerance, self.max_points = log_density, tolerance, max_points
        self.num_points, self.bad_point = 0, None  # type: int, list[float] | None
        self.centre = self.half = self.parts = self.errors = torch.empty(0)

    @property
    def mass(self) -> float:
        return self.parts[..., 0].sum().item()

    @property
    def moment(self) -> float:
        """The integral of p log p."""
        return self.parts[..., 1].sum().item()

    @property
    def error(self) -> float:
        share = 1.0 if self.centre.shape[-1] == 1 else _UNCANCELLED
        return (self.errors.sum().abs() + share * self.errors.abs().sum()).item()

    def add(self, centre: Tensor, half: Tensor, whole: Tensor | None = None) -> None:
        """Add leaves, whose own integrals may be known already."""
        whole = self._integrals(centre, half) if whole is None else whole
        inner, inner_half = _cut(centre, half)
        parts = self._integrals(inner, inner_half).reshape(len(centre), -1, 2)
        errors = parts[..., 0].sum(1) - whole[:, 0]
        if not self.parts.numel():
            self.centre, self.half, self.parts, self.errors = centre, half, parts, errors
            return
        self.centre, self.half = torch.cat((self.centre, centre)), torch.cat((self.half, half))
        self.parts, self.errors = torch.cat((self.parts, parts)), torch.cat((self.errors, errors))

    def refine(self) -> None:
        """Cut the leaves of largest error until what is left is within the tolerance."""
        children = 2 ** self.centre.shape[-1]
        price = _NUM_NODES ** self.centre.shape[-1] * children**2
        while self.bad_point is None and self.error > self.tolerance * max(1.0, self.mass):
            affordable = (self.max_points - self.num_points) // price
            if affordable < 1:
                return
            sizes, order = self.errors.abs().sort()
            fine = int((sizes.cumsum(0) <= 0.2 * sizes.sum()).sum())
            first = max(fine, len(order) - affordable)
            cut, kept = order[first:], order[:first]
            centre, half = _cut(self.centre[cut], self.half[cut])
            whole = self.parts[cut].reshape(-1, 2)
            self.centre, self.half = self.centre[kept], self.half[kept]
            self.parts, self.errors = self.parts[kept], self.errors[kept]
            self.add(centre, half, whole)

    def _integrals(self, centre: Tensor, half: Tensor) -> Tensor:
        """The integrals of p and p log p over boxes, of shape ``(boxes, 2)``."""
        nodes, weights = _rule(centre.shape[-1])
        points = (centre[:, None] + half[:, None] * nodes).reshape(-1, centre.shape[-1])
        log_p = self.log_density(points).double()
        self.num_points += len(points)
        if self.bad_point is None and (wrong := log_p.isnan() | (log_p == torch.inf)).any():
            self.bad_point = points[wrong][0].tolist()
        p = log_p.exp()
        both = torch.stack([p, torch.where(p > 0, p * log_p, 0.0)], -1).reshape(len(centre), -1, 2)
        return (weights[:, None] * both).sum(1) * half.prod(-1, keepdim=True)


def _rule(dim: int) -> tuple[Tensor, Tensor]:
    # With nodes at both ends, a jump of the density between the last node and the end is seen too.
    inner = math.sqrt(3 / 7)
    x = torch.tensor([-1.0, -inner, 0.0, inner, 1.0], dtype=torch.double)
    w = torch.tensor([1 / 10, 49 / 90, 32 / 45, 49 / 90, 1 / 10], dtype=torch.double)
    nodes = torch.cartesian_prod(*[x] * dim).reshape(-1, dim)
    return nodes, torch.cartesian_prod(*[w] * dim).reshape(-1, dim).prod(-1)


def _cut(centre: Tensor, half: Tensor, pieces: int = 2) -> tuple[Tensor, Tensor]:
    """Cut boxes into ``pieces ** D`` equal ones; those of one box stay together."""
    dim = centre.shape[-1]
    offsets = (2 * torch.arange(pieces, dtype=centre.dtype) + 1) / pieces - 1
    corners = torch.cartesian_prod(*[offsets] * dim).reshape(-1, dim)
    inner = (centre[:, None] + half[:, None] * corners).reshape(-1, dim)
    return inner, (half / pieces).repeat_interleave(len(corners), 0)


def _seeded(centre: Tensor, reach: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the window until every cell suits the samples that it holds."""
    todo = _cut(centre[None], reach[None], 8)
    done: list[tuple[Tensor, Tensor]] = []
    for _ in range(_MAX_DEPTH):
        coarse = _is_too_coarse(*todo, samples)
        done.append((todo[0][~coarse], todo[1][~coarse]))
        todo = _cut(todo[0][coarse], todo[1][coarse])
        if not coarse.any():
            break
    done.append(todo)
    return torch.cat([c for c, _ in done]), torch.cat([h for _, h in done])


def _is_too_coarse(centre: Tensor, half: Tensor, samples: Tensor) -> Tensor:
    """Whether boxes hold more than a fiftieth of the samples, or a few that lie in one corner."""
    inside = ((samples[:, None] - centre).abs() <= half).all(-1)
    count = inside.sum(0)
    inside = inside[..., None]
    low = torch.where(inside, samples[:, None], torch.inf).amin(0)
    high = torch.where(inside, samples[:, None], -torch.inf).amax(0)
    huddled = (high - low < half / 4).any(-1) & (count > 1)
    return (count > len(samples) / 50) | huddled


def _ring(centre: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes between a window and the window twice as wide."""
    offsets = [
        o for o in itertools.product((-1.5, -0.5, 0.5, 1.5), repeat=len(centre)) if max(map(abs, o)) > 1
    ]
    boxes = centre + reach * torch.tensor(offsets, dtype=centre.dtype)
    return boxes, (reach / 2).expand_as(boxes)
