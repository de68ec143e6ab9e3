"""A stack of linear layers and rectifiers as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyro_dgm.eager import is_batched, is_eager
from pyro_dgm.nets import products
from pyro_dgm.through_formula import through_formula

__all__ = ["relu_formula", "relu_gradients", "relu_network", "relu_values"]


def relu_network(x: Tensor, parameters: Sequence[Tensor], *, columns: bool = False) -> Tensor:
    """Apply linear layers with rectifiers between them.

    It is one node of the graph, whose backward pass is written by hand, where that is possible: on the CPU,
    outside of ``torch.func`` and ``torch.compile``. Large products are then done by oneDNN, see
    :mod:`pyro_dgm.nets.products`. Derivatives of every order exist.

    Args:
        x: Vectors in rows, ``(N, K)``; a transposed view of columns will do.
        parameters: For each layer its matrix ``(out, in)`` and then its bias ``(out,)``.
        columns: Whether to return the vectors in columns.

    Returns:
        ``(N, out)``, or ``(out, N)`` in columns.

    Example:
        >>> parameters = [torch.eye(2), torch.zeros(2), torch.ones(1, 2), torch.zeros(1)]
        >>> relu_network(torch.tensor([[1.0, -2.0]]), parameters)
        tensor([[1.]])
    """
    if not (x.numel() and is_eager(x)):
        return relu_formula(columns, x, *parameters)
    if not torch.is_grad_enabled():
        return relu_values(columns, x, parameters)[0]
    return _ReluNetwork.apply(columns, x, *parameters)  # type: ignore[no-any-return]


def relu_formula(columns: bool, x: Tensor, *parameters: Tensor) -> Tensor:
    """The network in torch's own operations."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = torch.relu(linear(x, weight, bias))
    weight, bias = parameters[-2:]
    return torch.addmm(bias.unsqueeze(1), weight, x.T) if columns else linear(x, weight, bias)


def relu_values(columns: bool, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the output, and the input of each layer; computed without a graph."""
    inputs, last = [x], len(parameters) - 2
    for k in range(0, last, 2):
        x = products.linear(x, parameters[k], parameters[k + 1], "relu")
        inputs.append(x)
    weight, bias = parameters[last], parameters[last + 1]
    if not columns:
        return products.linear(x, weight, bias, "none"), inputs
    if products.by_onednn(weight, x):
        return products.product(weight, x).add_(bias.unsqueeze(1)), inputs
    return torch.addmm(bias.unsqueeze(1), weight, x.T), inputs


def relu_gradients(
    g: Tensor,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    wanted: Sequence[bool],
    *,
    columns: bool = False,
) -> list[Tensor | None]:
    """Pull the gradient of the output in rows, ``(N, out)``, back.

    Args:
        g: The gradient.
        inputs: The input of each layer, as :func:`relu_values` returned them.
        parameters: Matrix and bias of each layer.
        wanted: Whether the gradient is wanted of the network's input and of each parameter.
        columns: Whether to lay out the gradient of the input for a transposition.

    Returns:
        The gradients of the input, in rows, and of the parameters.
    """
    found: list[Tensor | None] = [None] * len(wanted)
    for k in reversed(range(len(inputs))):
        weight = parameters[2 * k]
        if wanted[2 * k + 2]:
            found[2 * k + 2] = g.sum(0)
        if wanted[2 * k + 1]:
            found[2 * k + 1] = products.product(g.T, inputs[k].T)
        if not any(wanted[: 2 * k + 1]):
            break
        if k:
            g = products.product(g, weight.T)
            # In place: at large sizes fresh memory costs as much as the operation.
            torch.ops.aten.threshold_backward.grad_input(g, inputs[k], 0, grad_input=g)
        else:
            found[0] = products.product(weight.T, g).T if columns else products.product(g, weight.T)
    return found


class _ReluNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: bool, x: Tensor, *parameters: Tensor) -> Tensor:
        y, hidden = relu_values(columns, x, parameters)
        ctx.columns = columns
        ctx.save_for_backward(*hidden, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        count = len(ctx.saved_tensors) // 3  # layers: inputs of each, weights, biases
        hidden, parameters = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or is_batched(*grads):  # a derivative of this is wanted, or many at once
            formula, inputs = partial(relu_formula, ctx.columns), (hidden[0], *parameters)
            return None, *through_formula(formula, inputs, wanted, grads[0])
        g = grads[0].T if ctx.columns else grads[0]
        return None, *relu_gradients(g, hidden, parameters, wanted, columns=ctx.columns)
