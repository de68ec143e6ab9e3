"""Nested state as plain JSON and a table of tensors, and back, without any code in between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyro_dgm.errors import CheckpointError

__all__ = ["flatten", "unflatten"]

_Place = tuple[int, tuple[int, ...], tuple[int, ...], str, str]


def flatten(tree: Any, known: Mapping[str, Tensor] | None = None) -> tuple[Any, dict[str, Tensor]]:
    """Split a tree of dictionaries, lists, tuples, numbers, strings and tensors into JSON and tensors.

    A tensor that comes twice, as tied weights do, is stored once.

    Args:
        tree: What a ``state_dict()`` returns.
        known: Tensors that are stored elsewhere already, by name.

    Returns:
        JSON in which ``{"tensor": name}`` stands for a tensor, and the tensors that are not known, by name.

    Raises:
        TypeError: If there is anything else in the tree; the message says where.

    Example:
        >>> import torch
        >>> plain, tensors = flatten({"step": 3, 7: (torch.ones(2), None)})
        >>> sorted(unflatten(plain, tensors).items(), key=str)
        [('step', 3), (7, (tensor([1., 1.]), None))]
    """
    tensors: dict[str, Tensor] = {}
    names = {_place(tensor): name for name, tensor in (known or {}).items() if tensor.numel()}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            place = _place(node)
            if place not in names or not node.numel():
                names[place] = f"state.{len(tensors)}"
                tensors[names[place]] = node
            return {"tensor": names[place]}
        if isinstance(node, float) and not math.isfinite(node):
            return {"float": str(node)}
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if isinstance(node, Mapping):
            for key in node:
                if not isinstance(key, str | int):
                    raise TypeError(
                        f"the state has the key {key!r} at {path}; only strings and integers can be saved."
                    )
            return {"dict": [[key, walk(value, f"{path}.{key}")] for key, value in node.items()]}
        if isinstance(node, list | tuple):
            items = [walk(value, f"{path}[{i}]") for i, value in enumerate(node)]
            return {"tuple": items} if isinstance(node, tuple) else items
        raise TypeError(
            f"the state has a {type(node).__name__} at {path}, but only tensors, numbers, strings, None, "
            "lists, tuples and dictionaries can be saved."
        )

    return walk(tree, "state"), tensors


def unflatten(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put together again what :func:`flatten` has split.

    Raises:
        CheckpointError: If it is no result of ``flatten``, or names a tensor that is not there.
    """
    if not isinstance(plain, dict | list):
        return plain
    try:
        if isinstance(plain, list):
            return [unflatten(value, tensors) for value in plain]
        ((kind, value),) = plain.items()
        if kind == "tensor":
            return tensors[value]
        if kind == "float" and value in ("nan", "inf", "-inf"):
            return float(value)
        if kind == "tuple":
            return tuple(unflatten(item, tensors) for item in value)
        if kind == "dict":
            return {key: unflatten(item, tensors) for key, item in value}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the saved state is damaged: {error!r}. Nothing was loaded.") from error
    raise CheckpointError(f"the saved state is damaged: it has an entry {kind!r}. Nothing was loaded.")


def _place(tensor: Tensor) -> _Place:
    """Where the numbers of a tensor are: equal for two names of the same tensor."""
    return (
        tensor.data_ptr(),
        tuple(tensor.shape),
        tuple(tensor.stride()),
        str(tensor.dtype),
        str(tensor.device),
    )
