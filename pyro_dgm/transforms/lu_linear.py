"""An invertible linear map of the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.channels import ChannelBijection

__all__ = ["LULinearTransform"]


class LULinearTransform(ChannelBijection):
    r"""Mixes the channels by a matrix in factors, :math:`y = P L U x + t`.

    ``P`` is a permutation, ``L`` lower triangular with ones on the diagonal, ``U`` upper triangular with
    diagonal :math:`\sigma_c e^{s_c}`, :math:`\sigma_c = \pm 1`. The matrix is invertible whatever the
    numbers, its log-determinant :math:`\sum_c s_c` costs nothing, and the inverse is two triangular solves.
    Over images it is the 1x1 convolution, and each pixel counts.

    Args:
        order: The permutation ``P`` as a long tensor ``(C,)``: row ``c`` of the product goes to row
            ``order[c]``.
        lower: A matrix ``(C, C)`` of which the part below the diagonal is used.
        upper: A matrix ``(C, C)`` of which the part above the diagonal is used.
        log_diagonal: The numbers :math:`s`, of shape ``(C,)``.
        signs: The signs :math:`\sigma`, of shape ``(C,)``.
        shift: The shift :math:`t`, of shape ``(C,)``, or None.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.

    Shape:
        ``x`` and ``y``: ``(*batch, C, *rest)``. Log-determinant: ``(*batch,)``, in nats.

    Reference:
        Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, NeurIPS 2018, section
        3.2. https://arxiv.org/abs/1807.03039
    """

    def __init__(
        self,
        order: Tensor,
        lower: Tensor,
        upper: Tensor,
        log_diagonal: Tensor,
        signs: Tensor,
        shift: Tensor | None = None,
        *,
        rank: int = 1,
    ) -> None:
        super().__init__(rank)
        self.order, self.log_diagonal, self.shift = order, log_diagonal, shift
        self.lower = lower.tril(-1) + torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        self.upper = upper.triu(1) + torch.diag(signs * log_diagonal.exp())

    def matrix(self) -> Tensor:
        """The matrix ``P L U``."""
        return (self.lower @ self.upper)[torch.argsort(self.order)]

    def inverse_matrix(self) -> Tensor:
        """The inverse matrix, by two triangular solves."""
        one = torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)[self.order]
        inner = torch.linalg.solve_triangular(self.lower, one, upper=False, unitriangular=True)
        inverse: Tensor = torch.linalg.solve_triangular(self.upper, inner, upper=True)
        return inverse

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply, then shift."""
        y = self._mixed(self.matrix(), x)
        return y if self.shift is None else y + self.over_places(self.shift), self._ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then multiply by the inverse."""
        centred = y if self.shift is None else y - self.over_places(self.shift)
        return self._mixed(self.inverse_matrix(), centred), -self._ladj(y)

    def _mixed(self, matrix: Tensor, value: Tensor) -> Tensor:
        if self.rank == 1:
            return value @ matrix.T
        return (matrix @ value.flatten(1 - self.rank)).view(value.shape)

    def _ladj(self, value: Tensor) -> Tensor:
        return (self.places_of(value) * self.log_diagonal.sum()).expand(self.batch_of(value))
