"""Checks of what an adversarial game is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from pyro_dgm.errors import ArgumentTypeError
from pyro_dgm.objectives.regulariser import Regulariser

__all__ = ["player_module", "regularisers_of"]


def regularisers_of(given: Any) -> tuple[Regulariser, ...]:
    """Return the regularisers as a tuple; a single one, or a list of them, is asked for."""
    if isinstance(given, Regulariser):
        return (given,)
    parts = tuple(given) if isinstance(given, Iterable) else (given,)
    for part in parts:
        if not isinstance(part, Regulariser):
            raise ArgumentTypeError(
                f"regularisers must be a list of objects such as GradientPenalty(10.0), but has {part!r} of "
                f"type {type(part).__name__}."
            )
    return parts


def player_module(module: nn.Module, player: str) -> nn.Module:
    """Return the module of a player, ``"model"`` or ``"critic"``; raise if it is none."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"the {player} must be an nn.Module, since its parameters are what trains, but is a "
            f"{type(module).__name__}. Put a plain function into a pyro.nn.PyroModule, as its forward."
        )
    return module
