"""The metrics of two samples by name, and the floor of any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.data.rows import as_rows
from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.metrics.classifier import classifier_test
from pyro_dgm.metrics.energy import energy_distance
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.frechet import frechet_distance, kernel_distance
from pyro_dgm.metrics.manifolds import manifolds
from pyro_dgm.metrics.mmd import mmd
from pyro_dgm.metrics.sliced import max_sliced_wasserstein, sliced_wasserstein
from pyro_dgm.metrics.transport import batch_wasserstein, sinkhorn_divergence

__all__ = ["SampleMetric", "floor_of", "metric", "metric_names"]


@dataclass(frozen=True)
class SampleMetric:
    """A metric of two samples, called as ``metric(samples, real)``.

    Attributes:
        name: Its name.
        function: What computes it.
        summary: What it is, in a line.
        unit: Unit of its value: that of the data, its square, or none.
        better: Whether smaller or larger figures are better, or those near a half.
    """

    name: str
    function: Callable[..., Estimate]
    summary: str
    unit: str
    better: str = "smaller"

    def __call__(self, samples: object, real: object) -> Estimate:
        """Compare samples with real rows."""
        return self.function(samples, real)


def _manifold(name: str) -> Callable[..., Estimate]:
    def share(samples: object, real: object) -> Estimate:
        found: Estimate = getattr(manifolds(samples, real), name)
        return found

    return share


def _classifier(kind: str) -> Callable[..., Estimate]:
    return lambda samples, real: classifier_test(samples, real, classifier=kind)


_DATA, _NONE = "units of the data", ""
_METRICS = {
    one.name: one
    for one in (
        SampleMetric("energy", energy_distance, "squared energy distance, unbiased", _DATA),
        SampleMetric("mmd", mmd, "squared MMD of a Gaussian kernel, unbiased", _NONE),
        SampleMetric("sliced-w1", sliced_wasserstein, "W1 along random lines, biased upwards", _DATA),
        SampleMetric(
            "max-sliced-w1", max_sliced_wasserstein, "W1 along the worst line, on held-out rows", _DATA
        ),
        SampleMetric(
            "batch-w1", batch_wasserstein, "exact W1 of batches of 256, strongly biased upwards", _DATA
        ),
        SampleMetric("sinkhorn", sinkhorn_divergence, "entropic transport, debiased for the blur", _DATA),
        SampleMetric(
            "frechet", frechet_distance, "squared W2 of fitted normals, biased upwards", "squared units"
        ),
        SampleMetric("kernel", kernel_distance, "squared MMD of a cubic kernel, unbiased", _NONE),
        *(
            SampleMetric(f"c2st-{kind}", _classifier(kind), f"held-out accuracy of {what}", _NONE, "near 0.5")
            for kind, what in (
                ("knn", "5 neighbours"),
                ("logistic", "a line"),
                ("network", "a small network"),
            )
        ),
        SampleMetric("precision", _manifold("precision"), "samples among the data", _NONE, "larger"),
        SampleMetric("recall", _manifold("recall"), "data among the samples", _NONE, "larger"),
        SampleMetric("density", _manifold("density"), "samples among the data, robust", _NONE, "near 1"),
        SampleMetric("coverage", _manifold("coverage"), "data with a sample near, robust", _NONE, "larger"),
    )
}


def metric_names() -> list[str]:
    """Names of the metrics of two samples.

    Example:
        >>> metric_names()[:3]
        ['energy', 'mmd', 'sliced-w1']
    """
    return list(_METRICS)


def metric(name: str) -> SampleMetric:
    """The metric of this name.

    Raises:
        UnknownNameError: If there is none.

    Example:
        >>> metric("sliced-w1")(torch.zeros(4, 1), torch.ones(4, 1)).value
        1.0
    """
    if name not in _METRICS:
        raise UnknownNameError.of("metric", name, _METRICS)
    return _METRICS[name]


def floor_of(
    function: Callable[[Tensor, Tensor], Estimate],
    real: object,
    num: int | None = None,
    *,
    num_splits: int = 20,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """What real rows score against real rows, by any metric: the figure of a perfect model.

    The rows are split at random, again and again, into two disjoint sets of ``num``. For the energy distance
    and the MMD, :func:`~pyro_dgm.metrics.real_floor` and :func:`~pyro_dgm.metrics.mmd_floor` do the same in
    one pass.

    Args:
        function: The metric, called with two samples: an entry of the registry, or any function.
        real: Rows of any event shape.
        num: Size of each of the two sets: the sample size of the figure that the floor belongs to. Half of
            the rows by default.
        num_splits: Number of splits.
        level: Share of the splits within the interval.
        seed: Seed of the splits; the global random state is not touched.

    Returns:
        Mean, standard deviation and quantiles over the splits.

    Raises:
        DataError: If an entry is not finite, there are fewer than ``2 * num`` rows, or an option is out of
            range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> floor = floor_of(metric("sliced-w1"), torch.randn(200, 2))
        >>> 0 < floor.low < floor.value < floor.high < 0.5
        True
    """
    rows = as_rows(real, dtype=torch.double, name="real")
    num = len(rows) // 2 if num is None else num
    if not 2 <= num <= len(rows) // 2 or num_splits < 2 or not 0 < level < 1:
        raise DataError(
            "a floor needs two disjoint sets of num >= 2 rows each, at least 2 splits and a level in (0, 1), "
            f"but there are {len(rows)} rows, num={num}, {num_splits} splits and level {level}."
        )
    generator = torch.Generator().manual_seed(seed)
    scores = torch.empty(num_splits, dtype=torch.double)
    for i in range(num_splits):
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        scores[i] = function(rows[order[:num]], rows[order[num : 2 * num]]).value
    low, high = (scores.quantile(q).item() for q in ((1 - level) / 2, (1 + level) / 2))
    return Estimate(scores.mean().item(), scores.std().item(), low, high, num, num, level)
