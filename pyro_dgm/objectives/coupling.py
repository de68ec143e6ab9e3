"""Pairing latents with rows of data by optimal transport within a batch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["couple"]


def couple(z: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
    r"""Reorder latents ``z`` so that :math:`\sum_i \lVert x_i - z_i \rVert^2` is least.

    With a context, latents are exchanged between rows of one and the same context alone: each latent stays
    independent of its context.

    Args:
        z: Latents ``(n, D)``.
        x: Rows of data ``(n, D)``.
        context: Their contexts ``(n, C)``, or None.

    Returns:
        The latents in their new order.

    Example:
        >>> couple(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.1], [0.9]]))
        tensor([[0.],
                [1.]])
    """
    order = torch.arange(len(z), device=z.device)
    if context is None:
        groups = [order.clone()]
    else:
        label = torch.unique(context, dim=0, return_inverse=True)[1]
        sorted_rows, sizes = label.argsort(), label.bincount()
        groups = [group for group in sorted_rows.split(sizes.tolist()) if len(group) > 1]
    for group in groups:
        order[group] = group[_assignment(z[group], x[group])]
    return z[order]


def _assignment(z: Tensor, x: Tensor) -> Tensor:
    """For each row of ``x`` the row of ``z`` that the optimal assignment gives it."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.detach().double(), z.detach().double()).square()
    return torch.as_tensor(linear_sum_assignment(cost.cpu().numpy())[1], device=z.device)
