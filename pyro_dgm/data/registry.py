"""Data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pyro_dgm.data.digits import digits
from pyro_dgm.data.images import ImageData
from pyro_dgm.data.mnist import fashion_mnist, mnist
from pyro_dgm.data.target import Target2D, checkerboard, eight_gaussians, two_moons, uniform_square
from pyro_dgm.errors import UnknownNameError

__all__ = ["load", "names"]

_FACTORIES: dict[str, Callable[..., Target2D | ImageData]] = {
    "moons": two_moons,
    "uniform-square": uniform_square,
    "8gaussians": eight_gaussians,
    "checkerboard": checkerboard,
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
}


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows."""
    return tuple(_FACTORIES)


def load(name: str, **options: Any) -> Target2D | ImageData:
    """Build a data set by its name.

    Args:
        name: One of :func:`names`.
        **options: The arguments of its function, such as ``noise`` of ``moons`` or ``root`` of ``mnist``.

    Raises:
        UnknownNameError: If there is no such data set, or it has no such option.

    Example:
        >>> load("moons", noise=0.1).name
        'moons(noise=0.1)'
    """
    if name not in _FACTORIES:
        raise UnknownNameError.of("data set", name, _FACTORIES)
    factory = _FACTORIES[name]
    valid = inspect.signature(factory).parameters
    for option in options:
        if option not in valid:
            raise UnknownNameError.of(f"option of the data set {name!r}", option, valid or ["(it has none)"])
    return factory(**options)
