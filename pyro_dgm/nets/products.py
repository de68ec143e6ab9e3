"""Matrix products outside of the graph, by whichever library of torch's does them faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as torch_linear
from torch.nn.modules import module as torch_module

__all__ = ["by_onednn", "is_heard", "is_large", "linear", "product", "through"]


def linear(x: Tensor, weight: Tensor, bias: Tensor, activation: str = "none") -> Tensor:
    """``x @ weight.T + bias``, and then a rectifier where ``activation`` is ``"relu"``; no graph is kept.

    Large single precision products are done by oneDNN, which torch ships and uses for convolutions: as exact
    as torch's own, and twice as fast on processors whose best instructions MKL does not use.
    """
    if by_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "")  # type: ignore[no-any-return]
    y = torch_linear(x, weight, bias)
    return y.relu_() if activation == "relu" else y


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T``, likewise."""
    if by_onednn(a, b):
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # type: ignore[no-any-return]
    return torch.mm(a, b.T)


def through(layers: nn.Sequential, x: Tensor) -> Tensor:
    """What layers make of ``x`` of shape ``(*batch, K)``, where no graph is kept: linear ones likewise."""
    if type(layers) is not nn.Sequential or is_heard(layers):
        return layers(x)  # type: ignore[no-any-return]
    owned = False  # whether the memory of x is nobody else's; fresh memory can cost more than an activation
    for layer in layers._modules.values():
        assert layer is not None
        plain, kind = not is_heard(layer), type(layer)
        if kind is nn.Linear and plain and type(layer.bias) is type(layer.weight) is nn.Parameter:
            x, owned = linear(x, layer.weight, layer.bias), True
        elif owned and plain and kind in _IN_PLACE:
            x = _IN_PLACE[kind](layer, x)
        else:
            x, owned = layer(x), False
    return x


_IN_PLACE: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.ReLU: lambda layer, x: x.relu_(),
    nn.Tanh: lambda layer, x: x.tanh_(),
    nn.Softplus: lambda layer, x: torch.ops.aten.softplus.out(x, layer.beta, layer.threshold, out=x),
}


def is_heard(module: nn.Module) -> bool:
    """Whether somebody listens to a module, or stands in its way."""
    own = module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__
    return bool(own or torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def by_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether ``a @ b.T`` is done by oneDNN."""
    count = a.numel() * b.shape[0]
    return count >= LARGE and a.dtype == b.dtype and is_large(count, a.dtype)


def is_large(count: int, dtype: torch.dtype) -> bool:
    """Whether a product of so many multiplications is done by oneDNN."""
    return count >= LARGE and dtype == torch.float32 and _HAS_ONEDNN and torch._C._get_mkldnn_enabled()


def _least_product() -> int:
    """From how many multiplications on oneDNN is faster, which lays the operands out anew.

    A property of the processor and not measured, so that a run gives the same on each day: with instructions
    over 512 bits, which MKL uses on Intel's processors alone, already a product of 100 x 128 x 128.
    """
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return 1_600_000 if wide and _vendor() not in ("", "GenuineIntel") else 32_000_000


def _vendor() -> str:
    """Who made the processor, where the system says it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            lines = (line.partition(":") for line in file)
            return next((value.strip() for name, _, value in lines if name.strip() == "vendor_id"), "")
    except OSError:
        return ""


LARGE = _least_product()
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
