"""What a linear regression knows of one set of columns from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["LinearTrend"]


@dataclass(frozen=True)
class LinearTrend:
    r"""The ridge regression of standardised rows on standardised contexts, and the scale of what is left.

    .. math:: r = (x - B^\top c) / s

    The penalty is the one of a grid whose generalised cross-validation error is least, up to one at which
    nothing is explained: useless contexts, or more of them than rows, leave the rows as they are.

    Attributes:
        slope: The coefficients :math:`B`, ``(C, D)``.
        scale: Standard deviations :math:`s` of the residuals, ``(D,)``.

    Reference:
        Golub, Heath and Wahba, Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter,
        Technometrics 21, 1979.
    """

    slope: Tensor
    scale: Tensor

    @classmethod
    def of(cls, rows: Tensor, context: Tensor) -> Self:
        """Regress rows ``(n, D)`` on contexts ``(n, C)``, both of mean zero."""
        x, c = rows.double(), context.double()
        n = len(x)
        left, values, right = torch.linalg.svd(c, full_matrices=False)
        projected = left.T @ x
        errors, shrinkages = [], []
        for penalty in n * torch.logspace(-6, 6, 25, dtype=torch.double, device=x.device):
            shrinkage = values.square() / (values.square() + penalty)
            fitted = left @ (shrinkage[:, None] * projected)
            freedom = 1 - (shrinkage.sum() + 1) / n
            errors.append((x - fitted).square().mean() / freedom.clamp_min(1e-3).square())
            shrinkages.append(shrinkage)
        best = shrinkages[int(torch.stack(errors).argmin())]
        inverse = torch.where(values > 0, best / values.clamp_min(1e-300), torch.zeros_like(values))
        slope = right.T @ (inverse[:, None] * projected)
        scale = (x - c @ slope).std(0)
        scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
        return cls(slope.to(rows), scale.to(rows))

    def remove(self, rows: Tensor, context: Tensor) -> Tensor:
        """Return what the contexts do not explain, every column of standard deviation one."""
        return (rows - context @ self.slope) / self.scale

    def restore(self, residuals: Tensor, context: Tensor) -> Tensor:
        """Return the rows of which these are the residuals."""
        return residuals * self.scale + context @ self.slope
