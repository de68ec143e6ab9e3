"""Derivatives of an operation whose backward pass is written by hand, from its formula: of every order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["through_formula"]


def through_formula(
    formula: Callable[..., Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """Return the gradients of some inputs of a formula, in a graph where one is being made.

    Args:
        formula: A function of the inputs in torch's own operations.
        inputs: Its arguments.
        wanted: For each argument whether its gradient is wanted.
        grad: The gradient of the formula's value.

    Returns:
        For each argument its gradient, or None.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> with torch.no_grad():
        ...     through_formula(torch.mul, (x, 3 * x), (True, False), torch.ones(2))
        [tensor([3., 6.]), None]
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, so that what one input owes to another by way of the graph is not counted here.
        aliases = [t.view_as(t) for t in inputs]
        asked = [t for t, needed in zip(aliases, wanted, strict=True) if needed]
        found = iter(torch.autograd.grad(formula(*aliases), asked, grad, create_graph=create_graph))
    return [next(found) if needed else None for needed in wanted]
