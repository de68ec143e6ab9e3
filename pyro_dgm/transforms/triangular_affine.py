"""An affine map with a triangular matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["TriangularAffine"]


class TriangularAffine(Bijection):
    r"""Scales, correlates and shifts: :math:`y = m + e^{s} \odot (L x)` with a unit lower triangle :math:`L`.

    Its log-determinant is :math:`\sum_i s_i`. Pushed forward by it, N(0, I) is any normal distribution.

    Args:
        loc: The shift :math:`m`, of shape ``(*batch, D)``.
        log_scale: The log-scales :math:`s`, of shape ``(*batch, D)``.
        lower: A matrix ``(D, D)`` of which only what lies strictly below the diagonal is used; None for a
            diagonal map.

    Example:
        >>> lower = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
        >>> TriangularAffine(torch.ones(2), torch.zeros(2), lower)(torch.tensor([1.0, 1.0]))
        tensor([2., 5.])
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, lower: Tensor | None = None) -> None:
        super().__init__()
        self.loc, self.log_scale = loc, log_scale
        self.lower = None if lower is None else lower.tril(-1)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Correlate, scale and shift."""
        if self.lower is not None:
            x = x + x @ self.lower.mT
        y = torch.addcmul(self.loc, x, self.log_scale.exp())
        return y, self.log_scale.sum(-1).expand(y.shape[:-1])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo each, by forward substitution for the triangle."""
        x = (y - self.loc) * (-self.log_scale).exp()
        if self.lower is not None:
            rows = x.reshape(-1, x.shape[-1])
            solved = torch.linalg.solve_triangular(self.lower, rows.mT, upper=False, unitriangular=True)
            x = solved.mT.reshape(x.shape)
        return x, -self.log_scale.sum(-1).expand(x.shape[:-1])
