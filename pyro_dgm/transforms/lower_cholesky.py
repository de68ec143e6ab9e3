"""Cholesky factors from unconstrained vectors."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["LowerCholesky"]


class LowerCholesky(Bijection):
    r"""Fills a lower triangular matrix row by row and exponentiates its diagonal.

    The log-determinant, with respect to the entries on and below the diagonal, is the sum of the numbers
    that become the diagonal.

    Shape:
        ``x``: ``(*batch, n (n + 1) / 2)``. ``y``: ``(*batch, n, n)``. Log-determinant: ``(*batch,)``.

    Example:
        >>> import torch
        >>> LowerCholesky()(torch.zeros(3))
        tensor([[1., 0.],
                [0., 1.]])
    """

    codomain = constraints.lower_cholesky  # type: ignore[assignment]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fill the matrix."""
        n = self._side(x.shape[-1])
        rows, columns = torch.tril_indices(n, n, device=x.device)
        on_diagonal = rows == columns
        entries = torch.where(on_diagonal, torch.where(on_diagonal, x, 0.0).exp(), x)
        places = torch.zeros(len(rows), n * n, dtype=x.dtype, device=x.device)
        places[torch.arange(len(rows)), rows * n + columns] = 1
        return (entries @ places).unflatten(-1, (n, n)), torch.where(on_diagonal, x, 0.0).sum(-1)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Read the matrix."""
        n = y.shape[-1]
        rows, columns = torch.tril_indices(n, n, device=y.device)
        entries = y.flatten(-2)[..., rows * n + columns]
        on_diagonal = rows == columns
        log_diagonal = torch.where(on_diagonal, entries, 1.0).log()
        return torch.where(on_diagonal, log_diagonal, entries), -log_diagonal.sum(-1)

    def forward_shape(self, shape: Size) -> Size:
        """A square matrix."""
        n = self._side(shape[-1])
        return Size([*shape[:-1], n, n])

    def inverse_shape(self, shape: Size) -> Size:
        """The entries on and below the diagonal."""
        return Size([*shape[:-2], shape[-1] * (shape[-1] + 1) // 2])

    @staticmethod
    def _side(entries: int) -> int:
        return (math.isqrt(8 * entries + 1) - 1) // 2
