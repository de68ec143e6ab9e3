"""Gradients that refuse to be differentiated again, rather than give a wrong second derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["first_order"]


def first_order(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return gradients that raise ``NotImplementedError`` when something differentiates them.

    For the backward pass of a solve without second derivatives. (torch's ``once_differentiable`` lets them
    pass as constants where the gradient that came in was one.)
    """
    if not torch.is_grad_enabled():
        return gradients
    guarded: tuple[Tensor, ...] = _Refuse.apply(gradients[0].new_zeros(()).requires_grad_(), *gradients)
    return guarded


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.clone() for gradient in gradients)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError(
            "adjoint and adaptive solves have no second derivatives: solve with fixed steps (rk4, midpoint "
            "or euler) and gradients by backpropagation."
        )
