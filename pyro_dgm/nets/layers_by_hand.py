"""Linear layers and activations with their backward pass written out: one node of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus
from torch.nn.modules import module as torch_module

from pyro_dgm.eager import is_batched
from pyro_dgm.nets import products
from pyro_dgm.through_formula import through_formula

__all__ = ["LayersByHand", "layers_by_hand"]

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

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for ``x`` of shape ``(*batch, in)``, by one node; all derivatives exist."""
        rows = x.reshape(-1, x.shape[-1])
        y: Tensor = _Layers.apply(self, rows, *self.tensors)
        return y.view(*x.shape[:-1], -1)

    def pays(self, x: Tensor) -> bool:
        """Whether one node is faster than torch's own: where oneDNN does a product, and nobody looks on.

        Asked of tensors that are what they seem, see :mod:`pyro_dgm.eager`.
        """
        if not x.dim():
            return False
        rows = x.numel() // max(1, x.shape[-1])
        return (
            any(products.is_large(rows * w.numel(), x.dtype) for w in self.tensors[::2])
            and x.shape[-1] == self.sizes[0]
            and all(t.dtype == x.dtype for t in self.tensors)
            and not torch._C._len_torch_function_stack()  # half precision, or noise that belongs to rows
        )

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

    def formula(self, x: Tensor, *tensors: Tensor) -> Tensor:
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


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: LayersByHand, x: Tensor, *tensors: Tensor) -> Tensor:
        y, kept = layers.values(x, tensors)
        ctx.layers, ctx.count = layers, len(tensors)
        ctx.save_for_backward(x, *tensors, *kept[1:])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, *rest = ctx.saved_tensors
        tensors, kept = rest[: ctx.count], rest[ctx.count :]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or is_batched(*grads):  # a derivative of this is wanted, or many at once
            return None, *through_formula(ctx.layers.formula, (x, *tensors), wanted, grads[0])
        return None, *ctx.layers.gradients(grads[0], [x, *kept], tensors, wanted)


def layers_by_hand(layers: nn.Module | None) -> LayersByHand | None:
    """Return layers with activations between them, or None if there is anything else.

    None too if a layer is not as torch made it, or somebody listens to one.

    Example:
        >>> layers_by_hand(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))).activations
        ('tanh',)
    """
    if type(layers) is not nn.Sequential or _is_watched(layers):
        return None
    tensors: list[Tensor] = []
    activations = []
    for k, part in enumerate(layers._modules.values()):
        assert part is not None
        if _is_watched(part):
            return None
        if k % 2:
            name = _ACTIVATIONS.get(type(part))
            if name is None or (name == "softplus" and (part.beta != 1 or part.threshold != 20)):
                return None
            activations.append(name)
        elif type(part) is not nn.Linear:
            return None
        else:
            tensors += (part._parameters.get("weight"), part._parameters.get("bias"))  # type: ignore[arg-type]
    if len(tensors) != 2 * len(activations) + 2 or not all(type(t) is nn.Parameter for t in tensors):
        return None  # an activation at the end, no bias, or a parameter divided among processes
    return LayersByHand(tensors, tuple(activations))


def _is_watched(module: nn.Module) -> bool:
    own = module._backward_hooks or module._backward_pre_hooks
    of_all = torch_module._global_backward_hooks or torch_module._global_backward_pre_hooks
    return bool(own or of_all or products.is_heard(module))
