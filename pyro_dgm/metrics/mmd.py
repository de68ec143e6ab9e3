"""The maximum mean discrepancy of two samples, and the test that it makes."""

from __future__ import annotations

import torch

from pyro_dgm.data.rows import as_rows
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.kernels import median_distance, negative_kernel
from pyro_dgm.metrics.pairwise import Kernel, distances
from pyro_dgm.metrics.samples import two_samples
from pyro_dgm.metrics.u_statistic import check_options, compare_pairs, permutation_scores, split_pairs

__all__ = ["mmd", "mmd_floor", "permutation_p_value"]


def mmd(
    a: object,
    b: object,
    *,
    kernel: str = "gaussian",
    bandwidth: float | None = None,
    num_bootstrap: int = 500,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Unbiased estimate of the squared maximum mean discrepancy between the distributions of two samples.

    .. math:: \mathrm{MMD}^2(X, Y) = E k(X, X') + E k(Y, Y') - 2 E k(X, Y) \geq 0

    The means within a sample run over pairs of *different* rows (a U-statistic): the expectation is the
    squared MMD at every sample size, and the estimate may be slightly negative. Gaussian, Laplace and
    rational-quadratic kernels see every difference of distributions in the limit; the polynomial one sees
    moments up to the third, the linear one means.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        kernel: ``gaussian``, ``gaussian-mixture``, ``laplace``, ``rational-quadratic``, ``polynomial`` or
            ``linear``, see :func:`~pyro_dgm.metrics.kernels.negative_kernel`.
        bandwidth: Its length; by default the median distance of the pooled rows. Because these are the same
            however they are split, the estimate stays unbiased for equal distributions.
        num_bootstrap: Number of resamples behind the interval.
        level: What the interval shall cover.
        seed: Seed of the resampling; the global random state is not touched.
        block: Rows per block: the memory is a few matrices of ``block * block`` in double precision.
        floor: What two samples of one distribution score, from :func:`mmd_floor`, to be kept beside.

    Returns:
        The squared discrepancy with standard error, interval and sample sizes; no unit for radial kernels.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than two rows, or an option is out of range.
        ShapeError: If the rows of the two samples have different shapes.
        UnknownNameError: If there is no such kernel.

    Reference:
        Gretton, Borgwardt, Rasch, Schölkopf and Smola, A Kernel Two-Sample Test, JMLR 13, 2012.
        https://jmlr.org/papers/v13/gretton12a.html

    Example:
        >>> _ = torch.manual_seed(0)
        >>> d = mmd(torch.randn(300, 2), torch.randn(300, 2) + 1)
        >>> d.low < d.value < d.high
        True
    """
    rows_a, rows_b = two_samples(a, b, name="the MMD")
    if bandwidth is None and kernel not in ("polynomial", "linear"):
        bandwidth = median_distance(torch.cat([rows_a, rows_b]), seed=seed)
    of, invariant = negative_kernel(kernel, bandwidth)
    return compare_pairs(
        rows_a,
        rows_b,
        kernel=of,
        invariant=invariant,
        num_bootstrap=num_bootstrap,
        level=level,
        seed=seed,
        block=block,
        floor=floor,
    )


def mmd_floor(
    real: object,
    num: int | None = None,
    *,
    kernel: str = "gaussian",
    bandwidth: float | None = None,
    num_splits: int = 200,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
) -> Estimate:
    """What samples of the true distribution itself score: the squared MMD of real rows against real rows.

    Args:
        real: Rows of any event shape, of which ``2 * num`` are split at random, again and again.
        num: Size of each of the two sets: the sample size of the figure that the floor belongs to. Half of
            the rows by default.
        kernel: As in :func:`mmd`.
        bandwidth: As in :func:`mmd`; give the same.
        num_splits: Number of splits.
        level: Share of the splits within the interval.
        seed: Seed of the splits; the global random state is not touched.
        block: Rows per block.

    Returns:
        Mean (zero in expectation), standard deviation and quantiles over the splits.

    Raises:
        DataError: If an entry is not finite, there are fewer than ``2 * num`` rows, or an option is out of
            range.
        UnknownNameError: If there is no such kernel.
    """
    rows = as_rows(real, dtype=torch.double, name="real").flatten(1)
    if bandwidth is None and kernel not in ("polynomial", "linear"):
        bandwidth = median_distance(rows, seed=seed)
    of, invariant = negative_kernel(kernel, bandwidth)
    return split_pairs(
        rows,
        num,
        kernel=of,
        invariant=invariant,
        num_splits=num_splits,
        level=level,
        seed=seed,
        block=block,
    )


def permutation_p_value(
    a: object,
    b: object,
    *,
    kernel: str = "energy",
    bandwidth: float | None = None,
    num_permutations: int = 500,
    seed: int = 0,
    block: int = 1024,
) -> float:
    r"""Probability, if both samples came from one distribution, of a statistic at least as large.

    The pooled rows are split at random ``num_permutations - 1`` times; the p-value is the share of all
    splits, the given one among them, that score at least as high as the given one. It is exact at every
    sample size: at most :math:`\alpha` in a share :math:`\alpha` of comparisons of equal distributions.

    Args:
        a: Independent rows of any event shape.
        b: Independent rows of the same event shape.
        kernel: ``energy`` for the energy distance, or a kernel of :func:`mmd`.
        bandwidth: As in :func:`mmd`.
        num_permutations: Number of splits; the smallest p-value is one over it.
        seed: Seed of the splits; the global random state is not touched.
        block: Rows per block.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than two rows, or an option is out of range.
        ShapeError: If the rows of the two samples have different shapes.
        UnknownNameError: If there is no such kernel.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> permutation_p_value(torch.randn(50, 2), torch.randn(50, 2) + 1)
        0.002
    """
    check_options(num_permutations, 0.5, block)
    rows_a, rows_b = two_samples(a, b, name="a permutation test")
    pooled = torch.cat([rows_a, rows_b])
    of: Kernel = distances
    invariant = True
    if kernel != "energy":
        if bandwidth is None and kernel not in ("polynomial", "linear"):
            bandwidth = median_distance(pooled, seed=seed)
        of, invariant = negative_kernel(kernel, bandwidth)
    pooled = pooled - pooled.mean(0) if invariant else pooled
    generator = torch.Generator().manual_seed(seed)
    scores = permutation_scores(pooled, len(rows_a), num_permutations, generator, block, of, given_first=True)
    # splits that are equal but for rounding count as ties
    ties = 1e-9 * scores.abs().max()
    return (scores >= scores[0] - ties).double().mean().item()
