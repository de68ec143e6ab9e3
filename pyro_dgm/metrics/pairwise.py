"""Sums of distances, or of any kernel, between the rows of two samples, blockwise in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Kernel", "PairSums", "blocks", "distances", "sum_between", "sum_within"]

# From rows (n, D) and (m, D) to a new matrix (n, m).
Kernel = Callable[[Tensor, Tensor], Tensor]

# Up to this many features the differences themselves cost no more than a matrix product.
_FEW_FEATURES = 8
# Pairs closer than this times their distance from the centre are recomputed from their difference: in double
# precision the product formula then still has 9 digits where it is used.
_NEAR = 1e-3
_NUM_NEAR = 4096  # ... unless there are more of them in a block: then all are computed from differences


@dataclass(frozen=True)
class PairSums:
    """Sums over the pairs of a row of ``a`` and a row of ``b``.

    Attributes:
        rows: Sum of the distances from each row of ``a``, of shape ``(n,)``.
        columns: Sum of the distances to each row of ``b``, of shape ``(m,)``.
        squares: Sum of the squared distances of all pairs.
        weighted: Sum of the distances of all pairs times both rows' weights, one for each of the ``B`` sets
            of weights, of shape ``(B,)``.
    """

    rows: Tensor
    columns: Tensor
    squares: float
    weighted: Tensor


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ``(n, m)`` between centred double precision rows ``(n, D)`` and ``(m, D)``.

    Through a matrix product, which is several times faster in high dimension, but for near pairs, where it
    would lose the digits.
    """
    if a.shape[1] <= _FEW_FEATURES:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    scale = a.square().sum(1, keepdim=True) + b.square().sum(1)
    squared = torch.addmm(scale, a, b.T, alpha=-2)
    near = squared < _NEAR**2 * scale
    if int(near.sum()) > _NUM_NEAR:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    i, j = near.nonzero(as_tuple=True)
    result = squared.clamp_(min=0).sqrt_()
    result[i, j] = torch.linalg.vector_norm(a[i] - b[j], dim=1)
    return result


def sum_between(
    a: Tensor, b: Tensor, weights_a: Tensor, weights_b: Tensor, block: int, kernel: Kernel = distances
) -> PairSums:
    """Sum the distances of all pairs of a row of ``a`` and a row of ``b``.

    Args:
        a: Centred rows ``(n, D)``.
        b: Centred rows ``(m, D)``.
        weights_a: Weights of the rows of ``a``, of shape ``(n, B)``.
        weights_b: Weights of the rows of ``b``, of shape ``(m, B)``.
        block: Number of rows of either that are met at once.
        kernel: What is summed instead of distances.
    """
    rows, columns, squares = a.new_zeros(len(a)), a.new_zeros(len(b)), 0.0
    weighted = a.new_zeros(weights_a.shape[1])
    for i in blocks(len(a), block):
        for j in blocks(len(b), block):
            d = kernel(a[i], b[j])
            rows[i] += d.sum(1)
            columns[j] += d.sum(0)
            weighted += (weights_a[i] * (d @ weights_b[j])).sum(0)
            squares += d.square_().sum().item()
    return PairSums(rows, columns, squares, weighted)


def sum_within(a: Tensor, weights: Tensor, block: int, kernel: Kernel = distances) -> PairSums:
    """Sum the distances of all ordered pairs of two different rows of ``a``.

    Args:
        a: Centred rows ``(n, D)``.
        weights: Weights of the rows, of shape ``(n, B)``.
        block: Number of rows that are met at once.
        kernel: What is summed instead of distances; symmetric.
    """
    rows, squares, weighted = a.new_zeros(len(a)), 0.0, a.new_zeros(weights.shape[1])
    for i in blocks(len(a), block):
        for j in blocks(len(a), block):
            if j.start < i.start:
                continue  # the same distances as in the block across the diagonal
            d = kernel(a[i], a[j])
            times = 1 if i == j else 2
            if times == 1:
                d.fill_diagonal_(0)  # a row and itself are no pair
            rows[i] += d.sum(1)
            if times == 2:
                rows[j] += d.sum(0)
            weighted += times * (weights[i] * (d @ weights[j])).sum(0)
            squares += times * d.square_().sum().item()
    return PairSums(rows, rows, squares, weighted)


def blocks(n: int, block: int) -> Iterator[slice]:
    """Slices of at most ``block`` rows that cover ``n``."""
    return (slice(start, min(start + block, n)) for start in range(0, n, block))
