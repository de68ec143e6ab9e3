"""A multilayer perceptron as a critic, or discriminator, of rows of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.leaky_relu import LeakyReLU
from pyro_dgm.nets.mlp import MLP

__all__ = ["MLPCritic"]


class MLPCritic(nn.Module):
    """Scores rows of any shape with one unbounded number each, without a sigmoid and without normalisation.

    Args:
        data_shape: Shape of a row, such as ``(2,)`` or ``(1, 8, 8)``.
        hidden_dims: Widths of the hidden layers.

    Shape:
        Input ``(*batch, *data_shape)``; output ``(*batch,)``.

    Raises:
        ShapeError: If a row has another shape than ``data_shape``.

    Example:
        >>> import torch
        >>> MLPCritic((1, 8, 8))(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(self, data_shape: Sequence[int], hidden_dims: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.mlp = MLP(prod(self.data_shape), 1, hidden_dims, activation=partial(LeakyReLU, 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Return one score for each of the rows ``x``."""
        rank = len(self.data_shape)
        batch = x.shape[: x.dim() - rank]
        if tuple(x.shape[x.dim() - rank :]) != self.data_shape:
            raise ShapeError(
                f"{type(self).__name__} was built for rows of shape {self.data_shape}, but x has shape "
                f"{tuple(x.shape)}. Put batch dimensions on the left of the row's."
            )
        return self.mlp(x.reshape(*batch, prod(self.data_shape))).squeeze(-1)  # type: ignore[no-any-return]
