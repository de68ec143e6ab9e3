"""The energy distance between two samples, with its interval and its floor."""

from __future__ import annotations

import torch

from pyro_dgm.data.rows import as_rows
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.samples import two_samples
from pyro_dgm.metrics.u_statistic import compare_pairs, split_pairs

__all__ = ["energy_distance", "real_floor"]


def energy_distance(
    a: object,
    b: object,
    *,
    num_bootstrap: int = 500,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Unbiased estimate of the squared energy distance between the distributions of two samples.

    .. math:: D(X, Y) = 2 E|X - Y| - E|X - X'| - E|Y - Y'| \geq 0

    with Euclidean norms of the flattened rows; it is zero only for equal distributions. The means within a
    sample run over pairs of *different* rows (a U-statistic), so that the estimate has expectation
    :math:`D` at every sample size, and may come out slightly negative when :math:`D` is near zero. The usual
    biased form is positive for two samples of one distribution. The samples must be independent: a set
    compared with itself scores below zero.

    **Interval.** Percentiles of a bootstrap over rows, in which pairs of one row with itself are dropped: a
    row that is drawn twice would be at distance zero from its copy, which is no distance within a sample and
    would push every resample up. The percentiles cover well when the distributions differ; when they are
    (nearly) equal the estimate is degenerate, its resamples spread more than it does, and the interval is
    too wide by a factor of up to about :math:`\sqrt 3`. The standard error is corrected for that, and at
    most a fifth too large.

    The data are compared as they are: the distance is dominated by contrast and scale, so pixels punish blur.
    Give features for other notions of closeness.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        num_bootstrap: Number of resamples behind the interval.
        level: What the interval shall cover.
        seed: Seed of the resampling; the global random state is not touched.
        block: Rows per block: the memory is a few matrices of ``block * block`` in double precision.
        floor: What two samples of one distribution score, from :func:`real_floor`, to be kept beside.

    Returns:
        The estimate with standard error, interval and sample sizes, in units of the data.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than two rows, or an option is out of range.
        ShapeError: If the rows of the two samples have different shapes.

    Reference:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, Journal of Statistical
        Planning and Inference 143, 2013. https://doi.org/10.1016/j.jspi.2013.03.018
        Arcones and Giné, On the bootstrap of U and V statistics, Annals of Statistics 20, 1992 (why the plain
        bootstrap fails near equal distributions). https://doi.org/10.1214/aos/1176348650

    Example:
        >>> _ = torch.manual_seed(0)
        >>> d = energy_distance(torch.randn(500, 2), torch.randn(500, 2) + 1)
        >>> d.low < d.value < d.high
        True
    """
    rows_a, rows_b = two_samples(a, b, name="the energy distance")
    return compare_pairs(
        rows_a, rows_b, num_bootstrap=num_bootstrap, level=level, seed=seed, block=block, floor=floor
    )


def real_floor(
    real: object,
    num: int | None = None,
    *,
    num_splits: int = 200,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
) -> Estimate:
    """What samples of the true distribution itself score: the energy distance of real rows against real rows.

    Of the real rows, ``2 * num`` are split at random, again and again, into two sets of equal size. That it
    happens at random matters: data sets are often stored in an order (the two halves of MNIST's test set, as
    stored, are at distance 0.2). A generator whose distance, at the same sample size, lies within the
    interval of the floor cannot be told from the data by this metric.

    Args:
        real: Rows of any event shape.
        num: Size of each of the two sets: the sample size of the figure that the floor belongs to. Half of
            the rows by default.
        num_splits: Number of splits.
        level: Share of the splits within the interval.
        seed: Seed of the splits; the global random state is not touched.
        block: Rows per block: the memory is a few matrices of ``block * block`` in double precision.

    Returns:
        Mean (zero in expectation), standard deviation and quantiles over the splits.

    Raises:
        DataError: If an entry is not finite, there are fewer than ``2 * num`` rows, or an option is out of
            range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> floor = real_floor(torch.randn(400, 2))
        >>> floor.num_a, floor.low < 0 < floor.high
        (200, True)
    """
    rows = as_rows(real, dtype=torch.double, name="real").flatten(1)
    return split_pairs(rows, num, num_splits=num_splits, level=level, seed=seed, block=block)
