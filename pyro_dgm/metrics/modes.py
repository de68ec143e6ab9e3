"""Which of the known modes of a distribution samples have found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.arguments import real_number
from pyro_dgm.errors import DataError
from pyro_dgm.metrics.pairwise import distances
from pyro_dgm.metrics.samples import two_samples

__all__ = ["ModeCount", "modes_hit"]


@dataclass(frozen=True)
class ModeCount:
    """How samples are spread over known modes.

    Attributes:
        hit: Number of modes that at least ``least_share`` of their fair share of the samples lie near.
        num_modes: Number of modes.
        shares: Share of the samples near each mode, of shape ``(num_modes,)``.
        near: Share of the samples near any mode.
        near_error: Its standard error.
        divergence: Kullback-Leibler divergence in nats of the shares near modes from the true weights: zero
            if they agree, and infinite if no sample is near any mode.
        num_samples: Number of samples.
    """

    hit: int
    num_modes: int
    shares: Tensor
    near: float
    near_error: float
    divergence: float
    num_samples: int

    def __str__(self) -> str:
        return (
            f"{self.hit} of {self.num_modes} modes hit by {self.num_samples} samples, of which "
            f"{self.near:.1%} ± {self.near_error:.1%} lie near a mode; KL of the shares "
            f"{self.divergence:.4f} nats"
        )


def modes_hit(
    samples: object,
    centres: object,
    *,
    radius: float,
    weights: Tensor | None = None,
    least_share: float = 0.1,
) -> ModeCount:
    """Count the modes that samples have found, and the samples that lie near none.

    A sample belongs to its nearest centre, and is near it within ``radius``. A mode counts as hit if it got
    at least ``least_share`` of what its weight promises, and at least one sample.

    Args:
        samples: Rows of any event shape: tensor, numpy array, list or DataFrame.
        centres: One row a mode, of the same event shape.
        radius: How far near reaches, in units of the data; three standard deviations of a mode are usual.
        weights: True weight of each mode; equal by default.
        least_share: Smallest share of the promised samples that counts as hit.

    Raises:
        DataError: If an entry is not finite, or an option is out of range.
        ShapeError: If samples and centres have different shapes.

    Reference:
        Srivastava, Valkov, Russell, Gutmann and Sutton, VEEGAN: Reducing Mode Collapse in GANs using Implicit
        Variational Learning, NeurIPS 2017. https://arxiv.org/abs/1705.07761

    Example:
        >>> samples = torch.tensor([[0.0], [0.1], [5.1], [9.0]])
        >>> print(modes_hit(samples, torch.tensor([[0.0], [5.0], [20.0]]), radius=1.0))
        2 of 3 modes hit by 4 samples, of which 75.0% ± 21.7% lie near a mode; KL of the shares 0.4621 nats
    """
    x, modes = two_samples(samples, centres, name="modes_hit", least=1, names=("samples", "centres"))
    n, count = len(x), len(modes)
    true = x.new_ones(count) if weights is None else weights.to(x)
    if true.shape != (count,) or not bool((true > 0).all()) or not true.sum().isfinite():
        raise DataError(f"weights must be {count} positive numbers, one a mode, got {true.tolist()}.")
    radius = real_number("radius", radius)
    if not 0 < radius < math.inf or not 0 < least_share <= 1:
        raise DataError(f"radius must be positive and least_share in (0, 1], got {radius} and {least_share}.")
    true = true / true.sum()
    distance, nearest = distances(x - modes.mean(0), modes - modes.mean(0)).min(1)
    counts = nearest[distance <= radius].bincount(minlength=count).to(x)
    shares, near = counts / n, counts.sum().item() / n
    hit = int(((shares >= least_share * true) & (counts > 0)).sum())
    among = counts / counts.sum()
    divergence = torch.xlogy(among, among / true).sum().item() if near > 0 else math.inf
    return ModeCount(hit, count, shares, near, math.sqrt(near * (1 - near) / n), divergence, n)
