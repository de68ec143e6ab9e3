"""Noise that belongs to a row of the data and not to a place in a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["RowNoise"]

_GOLDEN = 0x9E3779B97F4A7C15
_REFUSED = {
    torch.multinomial,
    torch.poisson,
    torch.binomial,
    torch._standard_gamma,
    torch._sample_dirichlet,
    torch.randint,
    torch.randint_like,
    torch.randperm,
    Tensor.random_,
    Tensor.geometric_,
    Tensor.cauchy_,
    Tensor.log_normal_,
}


class RowNoise(TorchFunctionMode):
    r"""Inside it, random numbers are a pure function of the seed, the step, the row and a count.

    The same rows then meet the same noise on one process or many, in one batch or in parts of it. The row's
    dimension is the first one whose size is the number of rows; what has none, such as the draw of a global
    latent, is the same for all parts of the batch. Numbers are 53 bits of splitmix64, chained over seed,
    step, count, row and entry; normal ones are quantiles of them.

    Args:
        seed: The seed of the run.

    Raises:
        NotImplementedError: For draws that are not made of uniform or normal numbers, such as of a gamma
            distribution.

    Reference:
        Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.

    Example:
        >>> noise = RowNoise(seed=0)
        >>> noise.begin(step=0, rows=torch.arange(4))
        >>> with noise: whole = torch.randn(4, 2)
        >>> noise.begin(step=0, rows=torch.arange(2, 4))
        >>> with noise: torch.equal(torch.randn(2, 2), whole[2:])
        True
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self._step, self._calls = seed, 0, 0
        self._rows = torch.zeros(0, dtype=torch.long)
        self._draws: dict[Any, Callable[..., Tensor]] = {
            torch.randn: lambda *size, **k: self._normal(_size(size, k), **_kind(k)),
            torch.rand: lambda *size, **k: self._uniform(_size(size, k), **_kind(k)),
            torch.randn_like: lambda x, **k: self._normal(x.shape, **_like(x, k)),
            torch.rand_like: lambda x, **k: self._uniform(x.shape, **_like(x, k)),
            torch.normal: self._normal_of,
            torch.bernoulli: lambda p, **k: (self._uniform(p.shape, **_like(p, {})) < p).to(p.dtype),
            Tensor.normal_: self._normal_,
            Tensor.uniform_: self._uniform_,
            Tensor.exponential_: self._exponential_,
            Tensor.bernoulli_: self._bernoulli_,
            F.dropout: self._dropout,
        }

    def begin(self, step: int, rows: Tensor) -> None:
        """Begin a step, or a part of one, with rows of these numbers."""
        self._step, self._rows, self._calls = step, rows, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or draw by rows what it would draw."""
        named = dict(kwargs or {})
        if func in _REFUSED:
            raise NotImplementedError(
                f"torch.{func.__name__} cannot be drawn row by row. Leave row_noise=False for this model, "
                "or draw its sites from normal or uniform ones."
            )
        draw = self._draws.get(func)
        return func(*args, **named) if draw is None else draw(*args, **named)

    def _bits(self, shape: Sequence[int], device: torch.device) -> Tensor:
        self._calls += 1
        key = _mixed(torch.tensor([_signed(self.seed)]))
        for part in (self._step, self._calls):
            key = _mixed(key + _signed(_GOLDEN * (part + 1)))
        count = len(self._rows)
        where = next((d for d, size in enumerate(shape) if size == count), None)
        rest = torch.arange(prod(shape) // (count if where is not None else 1))
        if where is not None:
            rows = self._rows.cpu().long()
            key = _mixed(key + _signed(_GOLDEN) * (rows + 1)).unsqueeze(1)
        bits = _mixed(key + _signed(_GOLDEN) * (rest + 1))
        if where is None:
            return bits.reshape(tuple(shape)).to(device)
        others = [size for d, size in enumerate(shape) if d != where]
        return bits.reshape(count, *others).movedim(0, where).to(device)

    def _uniform(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        numbers = (_shifted(self._bits(shape, device), 11).double() + 0.5) * 2.0**-53
        return numbers.to(dtype).clamp(max=1 - torch.finfo(dtype).eps / 2)

    def _normal(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        normal: Tensor = torch.special.ndtri(self._uniform(shape, torch.double, device))
        return normal.to(dtype)

    def _normal_of(self, mean: Any, std: Any = 1.0, size: Any = None, **kind: Any) -> Tensor:
        if size is not None:
            noise = self._normal(size, **_kind(kind))
        else:
            mean, std = torch.broadcast_tensors(*(torch.as_tensor(value) for value in (mean, std)))
            noise = self._normal(mean.shape, **_like(mean, {}))
        drawn: Tensor = noise * std + mean
        return drawn

    def _normal_(self, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
        return x.copy_(mean + std * self._normal(x.shape, x.dtype, x.device))

    def _uniform_(self, x: Tensor, a: float = 0.0, b: float = 1.0, **_: Any) -> Tensor:
        return x.copy_(a + (b - a) * self._uniform(x.shape, x.dtype, x.device))

    def _exponential_(self, x: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
        return x.copy_(-torch.log1p(-self._uniform(x.shape, torch.double, x.device)) / lambd)

    def _bernoulli_(self, x: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
        return x.copy_(self._uniform(x.shape, torch.double, x.device) < p)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0.0:
            return x
        kept = (self._uniform(x.shape, torch.double, x.device) >= p).to(x.dtype) / (1 - p)
        return x.mul_(kept) if inplace else x * kept


def _signed(value: int) -> int:
    value %= 2**64
    return value - 2**64 if value >= 2**63 else value


def _shifted(x: Tensor, by: int) -> Tensor:
    """A shift to the right of numbers without a sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed(x: Tensor) -> Tensor:
    """The finaliser of splitmix64: each bit of the input changes each of the output with chance one half."""
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _size(size: tuple[Any, ...], named: dict[str, Any]) -> Sequence[int]:
    size = size or (named["size"],)
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size


def _kind(named: dict[str, Any]) -> dict[str, Any]:
    dtype, device = named.get("dtype"), named.get("device")
    return {"dtype": dtype or torch.get_default_dtype(), "device": torch.device(device or "cpu")}


def _like(x: Tensor, named: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": named.get("dtype") or x.dtype, "device": named.get("device") or x.device}
