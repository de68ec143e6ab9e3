"""Bijections that compute with one vector a column."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from pyro_dgm.eager import is_eager
from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.one_node import Step, through_steps

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

    def steps(self, size: int, *, back: bool) -> tuple[list[int], list[Step]] | None:
        """One direction as steps with a backward pass written by hand, or None where there is no such.

        Args:
            size: Size ``D`` of the vectors.
            back: Whether the direction is that of :meth:`inverse`.

        Returns:
            The sizes of the parts that the steps read and change, and the steps in order of application.
        """
        return None


class ColumnStack(Bijection):
    """Layers over columns after one another, as a bijection of vectors in rows.

    Rows become columns once on the way in and once on the way out.

    Args:
        layers: The layers, from the base side to the data side.
        context: What they are conditioned on, of shape ``(*batch, C)``, or None.

    Shape:
        ``x`` and ``y``: ``(*sample, *batch, D)``. Log-determinant: ``(*sample, *batch)``, in nats.
    """

    shows_nan = True

    def __init__(self, layers: Sequence[ColumnBijection], context: Tensor | None = None) -> None:
        super().__init__()
        self.layers, self.context = tuple(layers), context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        return self._through(x, self.layers, back=False)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the layers in reverse order."""
        return self._through(y, self.layers[::-1], back=True)

    def _through(
        self, rows: Tensor, layers: Sequence[ColumnBijection], *, back: bool
    ) -> tuple[Tensor, Tensor]:
        batch, context = rows.shape[:-1], self.context
        if context is not None:
            batch = torch.broadcast_shapes(batch, context.shape[:-1])
            rows = rows.expand(*batch, rows.shape[-1])
            context = context.expand(*batch, context.shape[-1]).reshape(prod(batch), context.shape[-1]).T
        if rows.dim() != 2:
            rows = rows.reshape(prod(batch), rows.shape[-1])
        if is_eager(rows) and rows.numel():
            found = _joint_steps(layers, rows.shape[-1], back=back, context=context)
            if found is not None:
                images, ladj = through_steps(rows, context, *found)
                if len(batch) == 1:
                    return images, ladj
                return images.reshape(*batch, images.shape[-1]), ladj.reshape(batch)
        columns = rows.T.contiguous()
        total: Tensor | None = None
        for layer in layers:
            columns, ladj = (layer.inverse if back else layer.call)(columns, context)
            total = ladj if total is None else total + ladj
        assert total is not None
        return columns.T.reshape(*batch, len(columns)), total.reshape(batch)


def _joint_steps(
    layers: Sequence[ColumnBijection], size: int, *, back: bool, context: Tensor | None
) -> tuple[list[int], list[Step]] | None:
    """The steps of all layers, if all have such, over the same parts."""
    first = layers[0].steps(size, back=back)
    if first is None:
        return None
    sizes, joint = first
    for layer in layers[1:]:
        found = layer.steps(size, back=back)
        if found is None or found[0] != sizes:
            return None
        joint += found[1]
    # A network of nothing is left to torch.
    return (sizes, joint) if context is not None or all(sizes[step.reads] for step in joint) else None
