"""Where networks compute, and how they are compiled."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import nn

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.training.own_step import networks_of

__all__ = ["compiled", "outermost_plain", "place"]


def place(objective: Any, device: str | torch.device | None) -> None:
    """Move the networks of an objective to a device; None leaves them where they are.

    Args:
        objective: What trains.
        device: A device, or ``"auto"`` for the accelerator if there is one and the CPU otherwise.

    Raises:
        ValueError: If the parts are on several devices and none is said, or there is no such device.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> place(layer, "cpu"); layer.weight.device
        device(type='cpu')
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = found or torch.device("cpu")
    if device is not None:
        try:
            for network in networks_of(objective):
                network.to(device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device={str(device)!r} cannot be used: {error}. Say device='auto'.") from error
    on = {str(p.device) for network in networks_of(objective) for p in network.parameters()}
    if len(on) > 1:
        raise ValueError(
            f"the parts of the objective are on several devices, {', '.join(sorted(on))}. Move them to "
            "one, or say device='auto'."
        )


@contextmanager
def compiled(objective: Any, backend: bool | str) -> Iterator[None]:
    """Compile the networks for the time of a block: the outermost plain modules below models and guides.

    Pyro's handlers and distributions are left to Python, in which they would break the graph. Networks that a
    flow evaluates in its own fused way are not called as modules, and gain nothing.

    Args:
        objective: What trains.
        backend: False for nothing, True for torch's default compiler, or the name of another.
    """
    if backend is False:
        yield
        return
    if backend is not True and backend not in torch.compiler.list_backends(exclude_tags=()):
        raise UnknownNameError.of("compile", str(backend), torch.compiler.list_backends(exclude_tags=()))
    networks = [part for network in networks_of(objective) for part in outermost_plain(network)]
    for part in networks:
        part.compile(backend="inductor" if backend is True else backend)
    try:
        with warnings.catch_warnings():
            # said by the compiler itself, of tensors that it looks at
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            yield
    finally:
        for part in networks:
            part._compiled_call_impl = None


def outermost_plain(module: nn.Module) -> Iterator[nn.Module]:
    """The networks below models and guides: plain modules without any Pyro module in them."""
    for child in module.children():
        pyros = any(isinstance(part, PyroModule) for part in child.modules())
        if pyros or isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from outermost_plain(child)
        else:
            yield child
