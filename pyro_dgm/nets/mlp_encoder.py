"""A multilayer perceptron as an encoder of rows of any shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.mlp import MLP

__all__ = ["MLPEncoder"]


class MLPEncoder(nn.Module):
    """Reads the location and the log-variance of a code off a row of shape ``data_shape``.

    Args:
        data_shape: Shape of a row, such as ``(2,)`` or ``(1, 28, 28)``.
        latent_dim: Size ``q`` of the code.
        hidden_dims: Widths of the hidden layers.
        context_dim: Size of the context that it reads beside the row; zero for none.
        extra_dim: Size of a third output, for guides that want more than two: features for the flow of
            :class:`~pyro_dgm.guides.AmortizedFlow`, or the ``q (q - 1) / 2`` entries below the diagonal of a
            full covariance.
        activation: Makes the activation between the layers.

    Shape:
        Input ``(*batch, *data_shape)`` and context ``(*batch, context_dim)``; output two tensors
        ``(*batch, q)``, and a third ``(*batch, extra_dim)`` if it is asked for.

    Raises:
        ShapeError: If a row has another shape than ``data_shape``.

    Example:
        >>> import torch
        >>> loc, logvar = MLPEncoder((1, 8, 8), 2)(torch.rand(5, 1, 8, 8))
        >>> loc.shape, logvar.shape
        (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        latent_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        *,
        context_dim: int = 0,
        extra_dim: int = 0,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.data_shape, self.latent_dim = tuple(data_shape), latent_dim
        self.sizes = [latent_dim, latent_dim, *([extra_dim] if extra_dim else [])]
        self.mlp = MLP(
            prod(self.data_shape),
            sum(self.sizes),
            hidden_dims,
            context_dim=context_dim,
            activation=activation,
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return location, log-variance and, if asked for, the extra output for the rows ``x``."""
        rank = len(self.data_shape)
        if tuple(x.shape[x.dim() - rank :]) != self.data_shape or x.dim() < rank:
            raise ShapeError(
                f"{type(self).__name__} was built for rows of shape {self.data_shape}, but x has shape "
                f"{tuple(x.shape)}. Reshape the data to (*batch, {', '.join(map(str, self.data_shape))})."
            )
        rows = x.flatten(x.dim() - rank) if rank > 1 else x
        return self.mlp(rows, context).split(self.sizes, -1)  # type: ignore[no-any-return]
