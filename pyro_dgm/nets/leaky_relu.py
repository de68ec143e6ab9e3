"""The leaky rectifier for networks whose slope is penalised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import leaky_relu

__all__ = ["LeakyReLU"]


class LeakyReLU(nn.LeakyReLU):
    """``nn.LeakyReLU`` that knows its second derivative to be zero.

    Torch's own computes that zero: the backward pass of a gradient penalty then drags a tensor of zeros
    through every layer below, at the cost of one more backward pass. Here the slope at each entry is a
    constant of the graph, and that pass does not exist. Values and gradients of any order are the same.

    Args:
        negative_slope: The slope below zero, positive.

    Example:
        >>> LeakyReLU(0.2)(torch.tensor([-1.0, 2.0]))
        tensor([-0.2000,  2.0000])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        if not negative_slope > 0:
            raise ValueError(f"LeakyReLU needs a negative_slope above 0, but got {negative_slope}.")
        super().__init__(negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """Return the entries, those below zero times ``negative_slope``."""
        if not input.requires_grad:
            return leaky_relu(input, self.negative_slope)
        return _Leaky.apply(input, self.negative_slope)  # type: ignore[no-any-return]


class _Leaky(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        return leaky_relu(x, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.slope = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        return _Gradient.apply(gradient, output.detach(), ctx.slope), None


class _Gradient(Function):
    """The gradient of the rectifier: linear in what comes from above, its own gradient in every order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, output: Tensor, slope: float) -> Tensor:
        result: Tensor = torch.ops.aten.leaky_relu_backward(gradient, output, slope, True)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.slope = inputs[2]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (output,) = ctx.saved_tensors
        return _Gradient.apply(gradient, output, ctx.slope), None, None
