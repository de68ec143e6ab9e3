"""The standard error of the energy distance."""

from __future__ import annotations

import math

from pyro_dgm.metrics.pairwise import PairSums

__all__ = ["standard_error"]


def standard_error(within_a: PairSums, within_b: PairSums, between: PairSums) -> float:
    """Root of the variance, from both orders of the estimate's Hoeffding decomposition.

    Args:
        within_a: Sums of the distances within the first sample, of ``n`` rows.
        within_b: Sums of the distances within the second sample, of ``m`` rows.
        between: Sums of the distances between the two.

    Reference:
        Székely and Rizzo, Partial distance correlation with methods for dissimilarities, Annals of Statistics
        42, 2014 (the unbiased sums within a sample). https://doi.org/10.1214/14-AOS1255
    """
    n, m = len(between.rows), len(between.columns)
    influence_a = 2 * (between.rows / m - within_a.rows / (n - 1))
    influence_b = 2 * (between.columns / n - within_b.rows / (m - 1))
    first = influence_a.var().item() / n + influence_b.var().item() / m
    second = 2 * _interaction_within(within_a) / (n * (n - 1))
    second += 2 * _interaction_within(within_b) / (m * (m - 1)) + 4 * _interaction_between(between) / (n * m)
    # The noise of the influences counts the second order twice, the estimate has it once. The difference is
    # unbiased but may be negative; half of the first is what it is for equal distributions.
    return math.sqrt(max(first - second, first / 2))


def _interaction_within(sums: PairSums) -> float:
    """Unbiased variance of what no function of one row explains of a distance within a sample."""
    n, total = len(sums.rows), sums.rows.sum().item()
    if n < 4:
        return 0.0
    mean_square = (
        sums.squares - 2 * sums.rows.square().sum().item() / (n - 2) + total**2 / ((n - 1) * (n - 2))
    )
    return max(mean_square / (n * (n - 3)), 0.0)


def _interaction_between(sums: PairSums) -> float:
    """Unbiased variance of what no function of one row explains of a distance between the samples."""
    n, m, total = len(sums.rows), len(sums.columns), sums.rows.sum().item()
    mean_square = sums.squares + total**2 / (n * m)
    mean_square -= sums.rows.square().sum().item() / m + sums.columns.square().sum().item() / n
    return max(mean_square / ((n - 1) * (m - 1)), 0.0)
