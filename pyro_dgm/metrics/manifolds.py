"""Precision, recall, density and coverage of samples, by balls around nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.arguments import positive_int
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.neighbours import nearest_between, nearest_within
from pyro_dgm.metrics.pairwise import blocks, distances
from pyro_dgm.metrics.samples import two_samples
from pyro_dgm.metrics.sliced import around

__all__ = ["Manifolds", "expected_coverage", "manifolds"]


@dataclass(frozen=True)
class Manifolds:
    """How far samples lie where real rows lie, and the other way round.

    Attributes:
        precision: Share of samples within the ball of some real row.
        recall: Share of real rows within the ball of some sample.
        density: Mean number of real balls around a sample, over ``k``: one in expectation for equal
            distributions, and not bounded by it.
        coverage: Share of real rows whose ball holds some sample; see :func:`expected_coverage`.
        k: Which neighbour the balls reach to.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    k: int

    def __str__(self) -> str:
        return "\n".join(f"{name}: {getattr(self, name):.3f}" for name in _NAMES)


_NAMES = ("precision", "recall", "density", "coverage")


def manifolds(samples: object, real: object, *, k: int = 5, block: int = 1024) -> Manifolds:
    """Compare two samples by the balls that reach from each row to its ``k``-th nearest other row.

    Precision and recall trust every ball, also the large one of an outlier; density and coverage do not.
    Recall falls when modes are lost, and so does coverage. In high dimension use features: Euclidean balls
    of pixels say little.

    Args:
        samples: Rows drawn from a model, of any event shape.
        real: Rows of the data, of the same event shape.
        k: Which neighbour the balls reach to.
        block: Rows per block: the memory is a few matrices of ``block * block``.

    Returns:
        Four shares, each with a standard error over the rows that it is a mean over (the balls taken as
        given) and a normal interval.

    Raises:
        DataError: If an entry is not finite, or a sample has at most ``k`` rows.
        ShapeError: If the rows of the two samples have different shapes.

    Reference:
        Kynkäänniemi, Karras, Laine, Lehtinen and Aila, Improved Precision and Recall Metric for Assessing
        Generative Models, NeurIPS 2019. https://arxiv.org/abs/1904.06991
        Naeem, Oh, Uh, Choi and Yoo, Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020.
        https://arxiv.org/abs/2002.09797

    Example:
        >>> _ = torch.manual_seed(0)
        >>> found = manifolds(torch.randn(200, 2) * 0.1, torch.randn(200, 2))
        >>> found.precision.value > 0.9 > 0.5 > found.recall.value
        True
    """
    k = positive_int("k", k)
    fake, true = two_samples(samples, real, name=f"k={k}", least=k + 1, names=("samples", "real"))
    centre = true.mean(0)
    fake, true = fake - centre, true - centre
    reach_true, reach_fake = (nearest_within(x, k, block)[:, -1] for x in (true, fake))
    balls, inside = fake.new_zeros(len(fake)), torch.zeros(len(true), dtype=torch.bool, device=true.device)
    for i in blocks(len(fake), block):
        for j in blocks(len(true), block):
            d = distances(fake[i], true[j])
            balls[i] += (d <= reach_true[j]).sum(1)
            inside[j] |= (d <= reach_fake[i, None]).any(0)
    covered = nearest_between(true, fake, 1, block)[:, 0] <= reach_true
    sizes = len(fake), len(true)
    return Manifolds(
        _share((balls > 0).double(), sizes),
        _share(inside.double(), sizes),
        _share(balls / k, sizes),
        _share(covered.double(), sizes),
        k,
    )


def expected_coverage(num_samples: int, num_real: int, k: int = 5) -> float:
    r"""Coverage in expectation when samples and real rows come from one continuous distribution.

    .. math:: 1 - \prod_{i=1}^{k} \frac{n - i}{n + m - i}

    for ``n`` real rows and ``m`` samples: a real row is not covered if its ``k`` nearest neighbours among all
    other rows are real.

    Example:
        >>> round(expected_coverage(10_000, 10_000, 5), 4)
        0.9688
    """
    n, m = num_real, num_samples
    return 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))


def _share(values: Tensor, sizes: tuple[int, int]) -> Estimate:
    return around(values.mean().item(), values.var().item() / len(values), *sizes, None)
