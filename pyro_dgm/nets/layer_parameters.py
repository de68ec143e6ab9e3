"""The parameters of a stack of layers, fixed or read off a context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_dgm.nets.mlp import MLP

__all__ = ["LayerParameters"]


class LayerParameters(nn.Module):
    """The parameters of ``K`` layers in one tensor, which a context shifts if there is one.

    Args:
        initial: Initial values, of shape ``(K, P)`` for ``P`` numbers a layer.
        context_dim: Size of the context; zero for none.
        hidden_dims: Widths of the hidden layers of the network that reads the context. Its output starts at
            zero, so that a fresh stack is the same for every context.

    Shape:
        Returns ``(K, P)`` without a context, ``(K, *batch, P)`` for one of shape ``(*batch, C)``.
    """

    def __init__(self, initial: Tensor, context_dim: int = 0, hidden_dims: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.values = nn.Parameter(initial.clone())
        self.shift = MLP(context_dim, initial.numel(), hidden_dims, zero_last=True) if context_dim else None

    def forward(self, context: Tensor | None = None) -> Tensor:
        """Return the parameters, given a ``context``."""
        if self.shift is None or context is None:
            return self.values
        shift = self.shift(context).unflatten(-1, self.values.shape)
        return torch.movedim(shift + self.values, -2, 0)
