"""Keeping one player of a game exactly as it is while the other one trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["holding", "tensors_of", "undone_on_error"]


@contextmanager
def holding(*modules: nn.Module) -> Iterator[None]:
    """Collect no gradients in ``modules``, and give their buffers back as they were.

    A network in training mode changes by being used: batch normalisation moves its running statistics,
    spectral normalisation its vectors. The buffers are put back at the end and not in between, since a
    backward pass may need them. Parameters that were frozen before stay frozen after.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with holding(norm):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.running_mean
        tensor([0., 0.])
    """
    found = [tensors_of(module) for module in modules]
    parameters = [p for own, _ in found for p in own if p.requires_grad]
    restore = _remember([buffer for _, buffers in found for buffer in buffers])
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
        restore()


@contextmanager
def undone_on_error(module: nn.Module) -> Iterator[None]:
    """Give the buffers of ``module`` back as they were if the block raises: statistics of a NaN are NaN."""
    restore = _remember(tensors_of(module)[1])
    try:
        yield
    except BaseException:
        restore()
        raise


def tensors_of(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters and the buffers of a module, in one walk over its parts."""
    parameters: dict[int, Tensor] = {}
    buffers: dict[int, Tensor] = {}
    for part in module.modules():
        parameters.update((id(p), p) for p in part._parameters.values() if p is not None)
        buffers.update((id(b), b) for b in part._buffers.values() if b is not None)
    return list(parameters.values()), list(buffers.values())


def _remember(tensors: list[Tensor]) -> Callable[[], None]:
    """Return a function that gives the tensors their present values again."""
    before = [(tensor, tensor.detach().clone()) for tensor in tensors]

    @torch.no_grad()
    def restore() -> None:
        for tensor, value in before:
            tensor.copy_(value)

    return restore
