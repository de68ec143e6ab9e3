"""A multilayer perceptron as a decoder, or generator, of rows of any shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.mlp import MLP
from pyro_dgm.nets.output import Output, squashing

__all__ = ["MLPDecoder"]


class MLPDecoder(nn.Module):
    """Turns codes into rows of shape ``data_shape``, without knowing that neighbouring pixels are alike.

    For small images and for vectors it learns more in a second than a convolutional network.

    Args:
        latent_dim: Size ``q`` of the code.
        data_shape: Shape of a row, such as ``(2,)`` or ``(1, 8, 8)``.
        hidden_dims: Widths of the hidden layers.
        output: What the last layer gives: ``"logits"`` for a likelihood or unbounded data, ``"sigmoid"`` or
            ``"tanh"`` for a generator of data in [0, 1] or [-1, 1].
        context_dim: Size of the context that it reads beside the code; zero for none.
        activation: Makes the activation between the layers.

    Shape:
        Input ``(*batch, q)``, and a context whose batch shape broadcasts with it; output
        ``(*batch, *data_shape)``.

    Raises:
        ShapeError: If a code has another size than ``latent_dim``.

    Example:
        >>> import torch
        >>> MLPDecoder(2, (1, 8, 8))(torch.randn(3, 5, 2)).shape
        torch.Size([3, 5, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (256, 256),
        *,
        output: Output = "logits",
        context_dim: int = 0,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.latent_dim, self.data_shape = latent_dim, tuple(data_shape)
        self.mlp = MLP(
            latent_dim, prod(self.data_shape), hidden_dims, context_dim=context_dim, activation=activation
        )
        self.squash = squashing(output)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the rows of the codes ``z``, given a ``context``."""
        if z.shape[-1:] != (self.latent_dim,):
            raise ShapeError(
                f"{type(self).__name__} was built for codes of size latent_dim={self.latent_dim}, but z has "
                f"shape {tuple(z.shape)}. Pass codes of shape (*batch, {self.latent_dim})."
            )
        rows: Tensor = self.squash(self.mlp(z, context))
        return rows.view(rows.shape[:-1] + self.data_shape)
