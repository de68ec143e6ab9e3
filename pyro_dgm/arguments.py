"""What constructors and functions say of arguments that they cannot use."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from torch import Tensor, nn

from pyro_dgm.errors import ArgumentTypeError, DataError, UnknownOptionError

__all__ = [
    "check_kinds",
    "explains_options",
    "finite_number",
    "positive_int",
    "positive_number",
    "real_number",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_UNEXPECTED = re.compile(r"got (?:an|some) unexpected keyword arguments? '([^']+)'")


def explains_options(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function so that a misspelt keyword is answered with the nearest one that it takes.

    Example:
        >>> @explains_options
        ... def train(steps=1): ...
        >>> train(stpes=3)
        Traceback (most recent call last):
        ...
        pyro_dgm.errors.UnknownOptionError: train has no argument 'stpes': did you mean 'steps'? ...
    """
    signature = inspect.signature(function)
    takes = [name for name in signature.parameters if name != "self"]
    begins = f"{function.__qualname__}() got"

    @functools.wraps(function)
    def explained(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            wrong = _UNEXPECTED.search(str(error))
            if wrong is None or not str(error).startswith(begins):
                raise
            what = function.__qualname__.removesuffix(".__init__")
            raise UnknownOptionError.of(what, wrong[1], takes) from None

    return explained


def check_kinds(what: str, signature: inspect.Signature, args: Any, kwargs: Any) -> None:
    """Compare arguments with what their annotations say, where these are plain.

    Integers, numbers, strings, tensors, modules, flows, sequences of integers and functions are told apart;
    other annotations are not looked at. What does not bind is left to the call itself.

    Args:
        what: What to call the function in messages.
        signature: Its signature, with annotations as strings.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        ArgumentTypeError: If an argument is of another kind; the message names it.
        DataError: If a size among ``*_dims`` is below 1.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return
    for name, value in bound.arguments.items():
        kinds = str(signature.parameters[name].annotation).split(" | ")
        known = [_KINDS.get(re.split(r"[\[(]", kind)[0] if "Callable" in kind else kind) for kind in kinds]
        if any(kind is None for kind in known):
            continue
        if not any(kind is not None and kind[1](value) for kind in known):
            expected = " or ".join(kind[0] for kind in known if kind is not None)
            raise ArgumentTypeError(
                f"{what}: {name} must be {expected}, but is {_shown(value)} of type "
                f"{type(value).__name__}.{_nearest(name, value, kinds)}"
            )
        if name.endswith("_dims") and isinstance(value, Iterable) and any(size < 1 for size in value):
            raise DataError(f"{what}: every size in {name} must be at least 1, but it is {_shown(value)}.")


def positive_int(name: str, value: Any) -> int:
    """Return a positive integer.

    Raises:
        ValueError: If it is an integer below 1, or a fraction; the message names the nearest valid value.
        TypeError: If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} must be a positive integer, but is {value!r}.")
    if not isinstance(value, Integral) or value < 1:
        near = f" Did you mean {name}={max(1, round(float(value)))}?" if math.isfinite(value) else ""
        raise DataError(f"{name} must be a positive integer, at least 1, but is {value}.{near}")
    return int(value)


def real_number(name: str, value: Any) -> float:
    """Return a number as a float.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} must be a number, but is {value!r}.")
    return float(value)


def finite_number(name: str, value: Any) -> float:
    """Return a finite number as a float.

    Raises:
        ValueError: If it is infinite or NaN.
        TypeError: If it is no number.
    """
    number = real_number(name, value)
    if not math.isfinite(number):
        raise DataError(f"{name} must be finite, but is {value}.")
    return number


def positive_number(name: str, value: Any) -> float:
    """Return a positive, finite number as a float.

    Raises:
        ValueError: If it is zero, negative or not finite.
        TypeError: If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} must be a positive number, but is {value!r}.")
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        near = f" Did you mean {name}={-number}?" if -math.inf < number < 0 else ""
        raise DataError(f"{name} must be positive and finite, but is {value}.{near}")
    return number


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _are_ints(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes) and all(map(_is_int, value))


def _is_flow(value: Any) -> bool:
    # by name: flows stand above this file
    return any(base.__name__ == "Flow" for base in type(value).__mro__)


_Kind = tuple[str, Callable[[Any], bool]]
_KINDS: dict[str, _Kind] = {
    "None": ("None", lambda value: value is None),
    "int": ("an integer", _is_int),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "str": ("a string", lambda value: isinstance(value, str)),
    "Tensor": ("a tensor", lambda value: isinstance(value, Tensor)),
    "nn.Module": ("an nn.Module", lambda value: isinstance(value, nn.Module)),
    "Flow": ("a flow such as flows.RealNVP(2)", _is_flow),
    "Sequence[int]": ("a sequence of integers", _are_ints),
    "Callable": ("a function", callable),
    "Likelihood": ("a function from the decoder's output to a distribution", callable),
}


def _shown(value: Any) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _nearest(name: str, value: Any, kinds: list[str]) -> str:
    if "int" in kinds and isinstance(value, float) and value.is_integer():
        return f" Did you mean {name}={int(value)}?"
    if "Sequence[int]" in kinds and _is_int(value):
        return f" Did you mean {name}=({value},)?"
    return ""
