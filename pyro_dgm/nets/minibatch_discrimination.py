"""Letting a critic see how alike the rows of a batch are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_dgm.nets.row_mixing import RowMixing

__all__ = ["MinibatchDiscrimination"]


class MinibatchDiscrimination(RowMixing):
    r"""Appends to each row's features how close they are to those of the other rows.

    .. math:: o_b(x_i) = \sum_{j \neq i} \exp\bigl(-\lVert M_{i,b} - M_{j,b} \rVert_1\bigr), \qquad
        M_i = h(x_i) T

    A generator that draws the same row again and again is found out at once. Real and generated rows belong
    into separate batches, as :class:`~pyro_dgm.objectives.Adversarial` gives them; a gradient penalty has no
    meaning with it.

    Args:
        in_features: Size A of the features h.
        out_features: Number B of closenesses that are appended.
        kernel_dim: Size C of what is compared for each of them.

    Shape:
        Input ``(n, A)``; output ``(n, A + B)``.

    Reference:
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 3.2.
        https://arxiv.org/abs/1606.03498

    Example:
        >>> MinibatchDiscrimination(8, 4)(torch.randn(5, 8)).shape
        torch.Size([5, 12])
    """

    def __init__(self, in_features: int, out_features: int = 16, kernel_dim: int = 8) -> None:
        super().__init__()
        self.out_features, self.kernel_dim = out_features, kernel_dim
        self.weight = nn.Parameter(torch.randn(in_features, out_features * kernel_dim) / in_features**0.5)

    def forward(self, h: Tensor) -> Tensor:
        """Append the closenesses of the rows of ``h``."""
        kernels = (h @ self.weight).view(len(h), self.out_features, self.kernel_dim)
        distances = (kernels[:, None] - kernels[None]).abs().sum(-1)
        closeness = (-distances).exp().sum(1) - 1  # without the row itself, at distance zero
        return torch.cat((h, closeness), dim=1)
