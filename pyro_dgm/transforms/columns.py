"""Bijections that compute with one vector a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["ColumnBijection", "ColumnStack"]


class ColumnBijection:
    """A bijection of vectors in columns, ``(D, N)``: a layer of a :class:`ColumnStack`.

    Splitting a vector, and summing over its entries, then works on contiguous rows of memory, and the
    parameters of an elementwise map come out of a conditioner with the parameter on the first axis, where
    reductions over it are fast.
    """

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map ``x`` of shape ``(D, N)``; return it with the log-determinants ``(N,)``, in nats."""
        raise NotImplementedError

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Undo :meth:`call`; the log-determinants are those of the inverse."""
        raise NotImplementedError


class ColumnStack(Bijection):
    """Layers over columns after one another, as a bijection of vectors in rows.

    Rows become columns once on the way in and once on the way out.

    Args:
        layers: The layers, from the base side to the data side.
        context: What they are conditioned on, of shape ``(*batch, C)``, or None.

    Shape:
        ``x`` and ``y``: ``(*sample, *batch, D)``. Log-determinant: ``(*sample, *batch)``, in nats.
    """

    def __init__(self, layers: Sequence[ColumnBijection], context: Tensor | None = None) -> None:
        super().__init__()
        self.layers, self.context = tuple(layers), context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        return self._through(x, [layer.call for layer in self.layers])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the layers in reverse order."""
        return self._through(y, [layer.inverse for layer in reversed(self.layers)])

    def _through(
        self, rows: Tensor, steps: list[Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]]
    ) -> tuple[Tensor, Tensor]:
        batch = rows.shape[:-1]
        context = self.context
        if context is not None:
            batch = torch.broadcast_shapes(batch, context.shape[:-1])
            rows = rows.expand(*batch, rows.shape[-1])
            context = context.expand(*batch, context.shape[-1]).reshape(prod(batch), context.shape[-1]).T
        columns = rows.reshape(prod(batch), rows.shape[-1]).T.contiguous()
        total: Tensor | None = None
        for step in steps:
            columns, ladj = step(columns, context)
            total = ladj if total is None else total + ladj
        assert total is not None
        return columns.T.reshape(*batch, len(columns)), total.reshape(batch)
