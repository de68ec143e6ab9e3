"""A rectifier network, masked or not, for backward passes that are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyro_dgm.nets.relu_network import relu_formula, relu_gradients, relu_values

__all__ = ["RectifiedByHand", "is_as_written"]


class RectifiedByHand(NamedTuple):
    """Linear layers with rectifiers between them, over vectors in columns.

    Args:
        tensors: For each layer its matrix ``(out, in)`` and its bias ``(out,)``. Masked networks may have one
            matrix more: what the first layer's matrix is continued by, without a mask, to the right.
        masks: Of each matrix the entries that count, as ones and zeros; empty if all do.
    """

    tensors: list[Tensor]
    masks: Sequence[Tensor] = ()

    def values(self, x: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output ``(O, N)`` for ``x`` of shape ``(K, N)``, and what is kept."""
        if not self.masks:
            return relu_values(True, x.T, tensors)
        parameters = self._parameters(tensors)
        y, inputs = relu_values(True, x.T, parameters)
        return y, inputs + parameters[::2]

    def gradients(
        self,
        kept: Sequence[Tensor],
        tensors: Sequence[Tensor],
        output: Tensor,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients of the input ``(K, N)`` and of each tensor, where they are wanted."""
        if not self.masks:
            found = relu_gradients(output.T, kept, tensors, wanted, columns=True)
        else:
            found = self._masked_gradients(kept, tensors, output, wanted)
        if found[0] is not None:
            found[0] = found[0].T
        return found

    def formula(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The same network in torch's own operations."""
        return relu_formula(True, x.T, *self._parameters(tensors))

    def _parameters(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        parameters = list(tensors)
        for k, mask in enumerate(self.masks):
            parameters[2 * k] = parameters[2 * k] * mask
        if len(parameters) % 2:
            parameters[0] = torch.cat((parameters[0], parameters.pop()), 1)
        return parameters

    def _masked_gradients(
        self,
        kept: Sequence[Tensor],
        tensors: Sequence[Tensor],
        output: Tensor,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        count, continued = len(self.masks), len(tensors) % 2
        parameters = list(tensors[: 2 * count])
        parameters[::2] = kept[count:]
        asked = list(wanted[: 2 * count + 1])
        asked[1] = asked[1] or bool(continued and wanted[-1])
        found = relu_gradients(output.T, kept[:count], parameters, asked, columns=True)
        first = found[1]
        if first is not None:
            size = tensors[0].shape[1]
            found[1] = first[:, :size]
        for k, mask in enumerate(self.masks):
            whole = found[2 * k + 1]
            if whole is not None:
                found[2 * k + 1] = whole * mask
        return [*found, None if first is None else first[:, size:]] if continued else found


def is_as_written(net: nn.Module, kind: type[nn.Module], forward: Callable[..., Any]) -> bool:
    """Whether a network does what its class says: no subclass, no hook, no other ``forward`` in its place."""
    return (
        type(net) is kind
        and kind.forward is forward
        and "forward" not in net.__dict__
        and not (net._forward_hooks or net._forward_pre_hooks or net._backward_hooks)
    )
