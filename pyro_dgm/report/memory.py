"""How much memory a computation needs at its peak, in tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["peak_bytes"]


class _Storages(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.peak: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._see, result)
        return result

    def _see(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self.live:
            self.live[key] = storage.nbytes()
            weakref.finalize(storage, self.live.pop, key, None)
            self.peak = max(self.peak, sum(self.live.values()))
        return tensor


def peak_bytes(call: Callable[[], object]) -> int:
    """Bytes of the tensors that ``call`` makes and that are alive at once, at most.

    Buffers that a kernel uses inside one operation are not seen.

    Example:
        >>> import torch
        >>> peak_bytes(lambda: torch.zeros(1000).exp().sum())  # two rows of 4 000 bytes at once
        8000
    """
    with _Storages() as storages:
        call()
    peak: int = storages.peak
    return peak
