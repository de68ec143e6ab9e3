"""A fixed order of the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.channels import ChannelBijection

__all__ = ["PermutationTransform"]


class PermutationTransform(ChannelBijection):
    r"""Reorders the channels: :math:`y_c = x_{\pi(c)}`. The log-determinant is zero.

    Args:
        order: The permutation :math:`\pi`, a long tensor of shape ``(C,)``.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.

    Shape:
        ``x`` and ``y``: ``(*batch, C, *rest)``. Log-determinant: ``(*batch,)``.
    """

    def __init__(self, order: Tensor, *, rank: int = 1) -> None:
        super().__init__(rank)
        self.order = order

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reorder."""
        return self._reordered(x, self.order)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Restore the order."""
        return self._reordered(y, torch.argsort(self.order))

    def _reordered(self, value: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        return value.index_select(-self.rank, order), value.new_zeros(self.batch_of(value))
