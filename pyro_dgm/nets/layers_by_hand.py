"""A multilayer perceptron with its backward pass written out, for losses that are one node of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus
from torch.nn.modules import module as torch_module

from pyro_dgm.nets import products
from pyro_dgm.nets.mlp import MLP
from pyro_dgm.nets.rectified_by_hand import is_as_written

__all__ = ["LayersByHand", "layers_by_hand"]

_FORWARD = MLP.forward
_ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Softplus: "softplus"}


class LayersByHand(NamedTuple):
    """Linear layers of vectors in rows, with activations between them.

    Args:
        tensors: For each layer its matrix ``(out, in)`` and its bias ``(out,)``.
        activations: What stands between the layers: ``"relu"``, ``"tanh"`` or ``"softplus"``.
    """

    tensors: list[Tensor]
    activations: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        """Size of the input and of the output."""
        return self.tensors[0].shape[1], self.tensors[-1].shape[0]

    def values(self, x: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output for ``x`` of shape ``(N, in)``, and what :meth:`gradients` needs."""
        inputs, slopes = [x], []
        for k, name in enumerate(self.activations):
            u = products.linear(inputs[-1], tensors[2 * k], tensors[2 * k + 1])
            inputs.append(softplus(u) if name == "softplus" else u.relu_() if name == "relu" else u.tanh_())
            slopes.append(u)
        return products.linear(inputs[-1], tensors[-2], tensors[-1]), inputs + slopes

    def gradients(
        self, g: Tensor, kept: Sequence[Tensor], tensors: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Pull the gradient of the output back.

        Args:
            g: The gradient of the output, ``(N, out)``; it may be overwritten.
            kept: What :meth:`values` returned beside the output.
            tensors: Matrices and biases.
            wanted: Whether the gradient is wanted of the input, and of each matrix and bias.

        Returns:
            The gradients of the input and of the tensors.
        """
        count = len(self.activations) + 1
        inputs, slopes = kept[:count], kept[count:]
        found: list[Tensor | None] = [None] * len(wanted)
        for k in reversed(range(count)):
            if wanted[2 * k + 2]:
                found[2 * k + 2] = g.sum(0)
            if wanted[2 * k + 1]:
                found[2 * k + 1] = products.product(g.t(), inputs[k].t())
            if not any(wanted[: 2 * k + 1]):
                break
            g = products.product(g, tensors[2 * k].t())
            if k:
                g = _pulled(g, slopes[k - 1], self.activations[k - 1])
            else:
                found[0] = g
        return found

    def formula(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The same network in torch's own operations."""
        for k, name in enumerate(self.activations):
            u = linear(x, tensors[2 * k], tensors[2 * k + 1])
            x = softplus(u) if name == "softplus" else u.relu() if name == "relu" else u.tanh()
        return linear(x, tensors[-2], tensors[-1])


def _pulled(g: Tensor, u: Tensor, name: str) -> Tensor:
    """The gradient before an activation; ``u`` is its input for softplus, and its output otherwise."""
    if name == "relu":
        torch.ops.aten.threshold_backward.grad_input(g, u, 0, grad_input=g)
    elif name == "tanh":
        torch.ops.aten.tanh_backward.grad_input(g, u, grad_input=g)
    else:
        torch.ops.aten.softplus_backward.grad_input(g, u, 1.0, 20.0, grad_input=g)
    return g


def layers_by_hand(network: nn.Module) -> LayersByHand | None:
    """Return a network of linear layers and activations without a context, or None for any other.

    None too if a layer is not as torch made it, or somebody listens to one.

    Example:
        >>> layers_by_hand(MLP(2, 3, (4,), activation=nn.Tanh)).activations
        ('tanh',)
    """
    if type(network) is not MLP or network.context_dim or not is_as_written(network, MLP, _FORWARD):
        return None
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return None
    layers = network._modules["layers"]
    if type(layers) is not nn.Sequential or layers._forward_hooks or layers._forward_pre_hooks:
        return None
    tensors: list[Tensor] = []
    activations = []
    for k, part in enumerate(layers._modules.values()):
        assert part is not None
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks:
            return None
        if k % 2:
            name = _ACTIVATIONS.get(type(part))
            if name is None or (name == "softplus" and (part.beta != 1 or part.threshold != 20)):
                return None
            activations.append(name)
        elif type(part) is not nn.Linear:
            return None
        else:
            tensors += (part._parameters["weight"], part._parameters["bias"])  # type: ignore[arg-type]
    if not all(type(t) is nn.Parameter for t in tensors):
        return None  # a bias that is missing, or a parameter divided among processes
    return LayersByHand(tensors, tuple(activations))
