"""A linear layer that an adaptive optimiser moves more slowly than others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pyro_dgm.arguments import positive_number

__all__ = ["SlowLinear"]


class SlowLinear(nn.Linear):
    r"""A linear layer :math:`y = r W x + r b` that starts as ``nn.Linear`` does and learns at a rate ``r``.

    Optimisers such as Adam move each entry by about their learning rate, whatever the gradient's size: here
    the map moves by ``r`` times that. So one optimiser with one rate trains layers at rates of their own.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        rate: The factor ``r``, positive.

    Shape:
        Input ``(*batch, in_features)``, output ``(*batch, out_features)``.

    Raises:
        DataError: If the rate is not positive and finite.

    Example:
        >>> layer = SlowLinear(2, 3, rate=0.1)
        >>> layer(torch.zeros(2)).allclose(0.1 * layer.bias)
        True
    """

    def __init__(self, in_features: int, out_features: int, *, rate: float) -> None:
        super().__init__(in_features, out_features)
        self.rate = positive_number("rate", rate)
        with torch.no_grad():
            for p in self.parameters():
                p.div_(rate)

    def tensors(self) -> list[Tensor]:
        """The matrix and the bias of the map."""
        return [self.rate * self.weight, self.rate * self.bias]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(*batch, in_features)`` to ``(*batch, out_features)``."""
        return linear(x, *self.tensors())
