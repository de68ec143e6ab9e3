"""Two-sample U-statistics of a kernel: value, interval, floor and the test by permutations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.energy_variance import standard_error
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.pairwise import Kernel, distances, sum_between, sum_within

__all__ = ["check_options", "compare_pairs", "permutation_scores", "split_pairs"]


def compare_pairs(
    rows_a: Tensor,
    rows_b: Tensor,
    *,
    kernel: Kernel = distances,
    invariant: bool = True,
    num_bootstrap: int = 500,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Estimate :math:`2 E k(X, Y) - E k(X, X') - E k(Y, Y')` over pairs of different rows.

    With distances for ``k`` it is the energy distance; with minus a positive definite kernel it is the
    squared MMD. The interval is that of a bootstrap over rows, in which pairs of one row with itself are
    dropped.

    Args:
        rows_a: Rows ``(n, D)`` in double precision.
        rows_b: Rows ``(m, D)`` in double precision.
        kernel: What is averaged over pairs.
        invariant: Whether the kernel does not change when both its arguments are shifted alike: rows are
            then centred first, for the digits.
        num_bootstrap: Number of resamples behind the interval.
        level: What the interval shall cover.
        seed: Seed of the resampling; the global random state is not touched.
        block: Rows per block: the memory is a few matrices of ``block * block`` in double precision.
        floor: What two samples of one distribution score.

    Raises:
        DataError: If an option is out of range.
    """
    check_options(num_bootstrap, level, block)
    n, m = len(rows_a), len(rows_b)
    generator = torch.Generator().manual_seed(seed)
    counts_a, counts_b = (_resample(rows, num_bootstrap, generator) for rows in (rows_a, rows_b))
    mean_a, mean_b = (rows.mean(0) if invariant else torch.zeros_like(rows[0]) for rows in (rows_a, rows_b))
    centre = (mean_a + mean_b) / 2
    within_a = sum_within(rows_a - mean_a, counts_a, block, kernel)
    within_b = sum_within(rows_b - mean_b, counts_b, block, kernel)
    between = sum_between(rows_a - centre, rows_b - centre, counts_a, counts_b, block, kernel)

    value = 2 * between.rows.sum() / (n * m) - within_a.rows.sum() / (n * (n - 1))
    value -= within_b.rows.sum() / (m * (m - 1))
    resampled = 2 * between.weighted / (n * m) - within_a.weighted / _num_distinct_pairs(counts_a)
    resampled -= within_b.weighted / _num_distinct_pairs(counts_b)
    low, high = _percentiles(resampled, level)
    return Estimate(value.item(), standard_error(within_a, within_b, between), low, high, n, m, level, floor)


def split_pairs(
    rows: Tensor,
    num: int | None = None,
    *,
    kernel: Kernel = distances,
    invariant: bool = True,
    num_splits: int = 200,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
) -> Estimate:
    """Score random splits of ``2 * num`` rows into two halves: the floor of the statistic.

    Args:
        rows: Real rows ``(n, D)`` in double precision.
        num: Size of each of the two sets; half of the rows by default.
        kernel: What is averaged over pairs.
        invariant: Whether the kernel does not change when both its arguments are shifted alike.
        num_splits: Number of splits.
        level: Share of the splits within the interval.
        seed: Seed of the splits; the global random state is not touched.
        block: Rows per block.

    Raises:
        DataError: If there are fewer than ``2 * num`` rows, or an option is out of range.
    """
    check_options(num_splits, level, block)
    num = len(rows) // 2 if num is None else num
    if not 2 <= num <= len(rows) // 2:
        raise DataError(
            f"real_floor needs two disjoint sets of num >= 2 rows each, but num={num} and there are "
            f"{len(rows)} rows: give at least 2 * num of them, or a num of at most {len(rows) // 2}."
        )
    generator = torch.Generator().manual_seed(seed)
    rows = rows[torch.randperm(len(rows), generator=generator)[: 2 * num].to(rows.device)]
    rows = rows - rows.mean(0) if invariant else rows
    scores = permutation_scores(rows, num, num_splits, generator, block, kernel)
    low, high = _percentiles(scores, level)
    return Estimate(scores.mean().item(), scores.std().item(), low, high, num, num, level)


def permutation_scores(
    rows: Tensor,
    num: int,
    num_splits: int,
    generator: torch.Generator,
    block: int,
    kernel: Kernel,
    *,
    given_first: bool = False,
) -> Tensor:
    """Score splits of the rows into ``num`` of them, drawn at random, and the others.

    With ``given_first`` the first split is that into the first ``num`` rows and the rest. Every sum that a
    split needs follows from the sum within its first set and the sums of the rows.
    """
    total = len(rows)
    other = total - num
    order = torch.rand(num_splits, total, generator=generator).argsort(1)
    if given_first:
        order[0] = torch.arange(total)
    first = torch.zeros(num_splits, total, dtype=torch.double).scatter_(1, order[:, :num], 1.0).T.to(rows)
    sums = sum_within(rows, first, block, kernel)
    within_first, from_first = sums.weighted, sums.rows @ first
    between = from_first - within_first
    within_second = sums.rows.sum() - from_first - between
    within = within_first / (num * (num - 1)) + within_second / (other * (other - 1))
    return 2 * between / (num * other) - within


def check_options(num: int, level: float, block: int) -> None:
    """Raise a DataError where a number of resamples, a level or a block is out of range."""
    if num < 2 or block < 1 or not 0 < level < 1:
        raise DataError(
            "expected at least 2 resamples, a block of at least 1 row and a level between 0 and 1, got "
            f"{num}, {block} and {level}."
        )


def _resample(rows: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """How often each row is drawn in each of ``num`` samples with replacement: ``(n, num)``."""
    n = len(rows)
    counts = [torch.randint(n, (n,), generator=generator).bincount(minlength=n) for _ in range(num)]
    return torch.stack(counts, 1).to(rows)


def _num_distinct_pairs(counts: Tensor) -> Tensor:
    """Number of ordered pairs of two different rows in each resample; NaN where there is none."""
    pairs = len(counts) ** 2 - counts.square().sum(0)
    return torch.where(pairs > 0, pairs, math.nan)


def _percentiles(values: Tensor, level: float) -> tuple[float, float]:
    return values.nanquantile((1 - level) / 2).item(), values.nanquantile((1 + level) / 2).item()
