"""In which order, and from where, the two players of a game move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_dgm.errors import UnknownNameError

__all__ = [
    "UPDATES",
    "Alternating",
    "Extragradient",
    "Optimistic",
    "Player",
    "Simultaneous",
    "Updates",
    "updates_by_name",
]


class Player(NamedTuple):
    """One who moves in this step.

    Attributes:
        gradient: Fills the gradients of the player's parameters at the present point of the game.
        optimizer: The player's optimiser.
        settle: What follows each change of the parameters, such as clipping.
    """

    gradient: Callable[[], None]
    optimizer: Optimizer
    settle: Callable[[], None]

    def move(self) -> None:
        """Make the optimiser's step with the gradients that are there."""
        self.optimizer.step()
        self.settle()

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimiser changes."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Updates:
    """How a pair of optimisers uses the gradients of two players."""

    def play(self, players: list[Player]) -> None:
        """Let the players of this step move, the critic before the generator."""
        raise NotImplementedError(f"{type(self).__name__} must define play(players)")

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on from here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""


class Alternating(Updates):
    """The generator answers the critic that has just moved. On a bilinear game it circles."""

    def play(self, players: list[Player]) -> None:
        """Move the players one after the other."""
        for player in players:
            player.gradient()
            player.move()


class Simultaneous(Updates):
    """Both move from the same point. On a bilinear game it spirals away from the equilibrium."""

    def play(self, players: list[Player]) -> None:
        """Take all gradients, then all steps."""
        for player in players:
            player.gradient()
        for player in players:
            player.move()


class Extragradient(Updates):
    """Both look one step ahead and move with the gradients found there; converges on a bilinear game.

    Costs two gradients a step. Moments of the optimisers follow both, as in extra-Adam.

    Reference:
        Korpelevich, The extragradient method for finding saddle points, Matecon 12, 1976.
        Gidel et al., A Variational Inequality Perspective on Generative Adversarial Networks, ICLR 2019.
        https://arxiv.org/abs/1802.10551
    """

    def play(self, players: list[Player]) -> None:
        """Step ahead, take the gradients there, and step with them from where the step began."""
        before = [_copies(player.parameters) for player in players]
        Simultaneous().play(players)
        try:
            for player in players:
                player.gradient()
        finally:
            for player, values in zip(players, before, strict=True):
                _set(player.parameters, values)
        for player in players:
            player.move()


class Optimistic(Updates):
    r"""Both expect the other to go on as before; converges on a bilinear game at one gradient a step.

    .. math:: \theta_{t+1} = \theta_t + 2 \Delta_t - \Delta_{t-1}

    with the optimiser's own step :math:`\Delta_t`.

    Reference:
        Daskalakis et al., Training GANs with Optimism, ICLR 2018. https://arxiv.org/abs/1711.00141
    """

    def __init__(self) -> None:
        self._last: dict[int, list[Tensor]] = {}  # by place: 0 is the critic, 1 the generator

    def play(self, players: list[Player]) -> None:
        """Take all gradients, then all steps, each carried on by what it differs from the one before."""
        for player in players:
            player.gradient()
        for place, player in enumerate(players):
            parameters = player.parameters
            before = _copies(parameters)
            player.optimizer.step()
            with torch.no_grad():
                moved = torch._foreach_sub(parameters, before)
                last = self._last.get(place, moved)  # the first step is a plain one
                torch._foreach_add_(parameters, torch._foreach_sub(moved, last))
            self._last[place] = list(moved)
            player.settle()

    def state_dict(self) -> dict[str, Any]:
        """Return the last steps."""
        return {"last": {place: list(moved) for place, moved in self._last.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from last steps."""
        self._last = {place: [m.clone() for m in moved] for place, moved in state["last"].items()}


UPDATES: dict[str, type[Updates]] = {
    "alternating": Alternating,
    "simultaneous": Simultaneous,
    "extragradient": Extragradient,
    "optimistic": Optimistic,
}


def updates_by_name(name: str) -> Updates:
    """Return fresh updates of that name.

    Example:
        >>> type(updates_by_name("optimistic")).__name__
        'Optimistic'
    """
    if name not in UPDATES:
        raise UnknownNameError.of("kind of updates", str(name), UPDATES)
    return UPDATES[name]()


def _copies(parameters: list[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


@torch.no_grad()
def _set(parameters: list[Tensor], values: list[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)
