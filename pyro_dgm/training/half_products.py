"""Mixed precision that leaves distributions alone: only the products inside networks are made in half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.flows import CNF, OTFlow

__all__ = ["PRECISIONS", "HalfProducts", "check_precision"]

PRECISIONS: dict[str, torch.dtype | None] = {"full": None, "bf16": torch.bfloat16}
_PRODUCTS = {
    F.linear,
    F.bilinear,
    torch.addmm,
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.conv_transpose1d,
    torch.conv_transpose2d,
    torch.conv_transpose3d,
}


class HalfProducts(TorchFunctionMode):
    """Inside it, linear and convolutional layers multiply in half precision, and return what they were given.

    Everything else, such as densities, log-determinants and losses, stays in full precision: half the digits
    would be lost to sums over many dimensions.

    Args:
        dtype: The half precision, such as ``torch.bfloat16``.

    Example:
        >>> layer, x = nn.Linear(64, 1), torch.randn(5, 64)
        >>> with HalfProducts(torch.bfloat16):
        ...     y = layer(x)
        >>> y.dtype, torch.equal(y, layer(x))
        (torch.float32, False)
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, with its tensors in half precision if it is a product."""
        named = dict(kwargs or {})
        if func not in _PRODUCTS:
            return func(*args, **named)
        given = next(a for a in (*args, *named.values()) if isinstance(a, Tensor)).dtype
        product = func(*(self._halved(a) for a in args), **{k: self._halved(a) for k, a in named.items()})
        return product.to(given)

    def _halved(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def check_precision(precision: str, networks: Iterable[nn.Module]) -> torch.dtype | None:
    """Return the dtype for products, or None for full precision.

    Raises:
        UnknownNameError: If there is no such precision.
        ValueError: If the objective has a continuous flow, whose solver would accumulate the error.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError.of("precision", str(precision), PRECISIONS)
    if PRECISIONS[precision] is None:
        return None
    for part in (part for network in networks for part in network.modules()):
        if isinstance(part, CNF | OTFlow):
            raise ValueError(
                f"{type(part).__name__} solves an ordinary differential equation, whose steps would add up "
                f"the rounding of precision={precision!r}. Leave precision='full' for continuous flows."
            )
    return PRECISIONS[precision]
