"""Distances to nearest neighbours, blockwise in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.metrics.pairwise import blocks, distances

__all__ = ["nearest_between", "nearest_within"]


def nearest_between(a: Tensor, b: Tensor, k: int, block: int = 1024) -> Tensor:
    """Distances of each row of ``a`` to its ``k`` nearest rows of ``b``, ascending: ``(n, k)``.

    Args:
        a: Rows ``(n, D)`` in double precision.
        b: Rows ``(m, D)``, at least ``k`` of them.
        k: Number of neighbours.
        block: Rows per block.
    """
    centre = b.mean(0)
    return _nearest(a - centre, b - centre, k, block, same=False)


def nearest_within(a: Tensor, k: int, block: int = 1024) -> Tensor:
    """Distances of each row of ``a`` to its ``k`` nearest *other* rows, ascending: ``(n, k)``."""
    centred = a - a.mean(0)
    return _nearest(centred, centred, k, block, same=True)


def _nearest(a: Tensor, b: Tensor, k: int, block: int, *, same: bool) -> Tensor:
    parts = []
    for i in blocks(len(a), block):
        best = a.new_full((len(a[i]), k), torch.inf)
        for j in blocks(len(b), block):
            d = distances(a[i], b[j])
            if same and i == j:
                d.fill_diagonal_(torch.inf)
            best = torch.cat([best, d], 1).topk(k, dim=1, largest=False).values
        parts.append(best)
    return torch.cat(parts)
