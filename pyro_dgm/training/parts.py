"""Tensors of which each process holds a part, and putting them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["local_of", "spread_like", "whole"]


def whole(tree: Any) -> Any:
    """Return a tree of state with each tensor in parts put together; the same call on all processes.

    A tensor that comes twice is put together once, and comes twice again.
    """
    found: dict[Any, Tensor] = {}

    def walk(node: Any) -> Any:
        if _in_parts(node):
            local = local_of(node)
            place = (local.untyped_storage()._cdata, local.storage_offset(), tuple(node.shape))
            if place not in found:
                found[place] = node.detach().full_tensor()
            return found[place]
        if isinstance(node, Mapping):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(walk(value) for value in node)
        return node

    return walk(tree)


def spread_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, divided as ``like`` is."""
    if not _in_parts(like) or _in_parts(tensor) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def local_of(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, in the same memory."""
    return tensor.detach().to_local() if _in_parts(tensor) else tensor  # type: ignore[attr-defined]


def _in_parts(value: Any) -> bool:
    """Whether it is a ``DTensor``, without importing them where there are none."""
    return isinstance(value, Tensor) and hasattr(value, "full_tensor")
