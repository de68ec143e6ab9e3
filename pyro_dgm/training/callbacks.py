"""Small objects that are called while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pyro_dgm.errors import ArgumentTypeError
from pyro_dgm.objectives.average import WeightAverage
from pyro_dgm.training.budget import positive_int
from pyro_dgm.training.history import History
from pyro_dgm.training.own_step import networks_of

__all__ = ["AverageWeights", "Callback", "Every", "FitState", "as_callbacks"]


@dataclass
class FitState:
    """What a callback is shown.

    Attributes:
        objective: What trains; an ``ELBO`` if ``fit`` was given a model.
        history: The record so far.
        step: Number of updates made so far.
        values: What the last step measured: loss, grad_norm, lr and the objective's terms.
        stopping: Why no further step is to be made, or None.
        first: Whether this is the process that writes and prints, where several train together.
    """

    objective: Any
    history: History
    step: int = 0
    values: dict[str, float] = field(default_factory=dict)
    stopping: str | None = None
    first: bool = True

    def stop(self, reason: str) -> None:
        """Ask for the end of training after this step; ``history.stopped`` will say the reason."""
        self.stopping = self.stopping or reason


class Callback:
    """Called before the first step, after each ``every``-th step, and at the end; does nothing by itself.

    Random numbers that it draws do not change those of training. At the end means a regular one, by Ctrl-C
    too: not after an error.
    """

    every: int = 1

    def on_start(self, state: FitState) -> None:
        """Called once before the first step."""

    def on_step(self, state: FitState) -> None:
        """Called when ``state.step`` is a multiple of ``every``."""

    def on_end(self, state: FitState) -> None:
        """Called once after the last step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on from here: tensors, numbers, strings and nests of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; in a resumed run this follows on ``on_start``."""


class Every(Callback):
    """Calls a function with the :class:`FitState` after each so many steps, for instance for snapshots.

    Example:
        >>> frames = []
        >>> snapshots = Every(100, lambda state: frames.append(state.step))
        >>> snapshots.on_step(FitState(None, History(), step=100)); frames
        [100]
    """

    def __init__(self, steps: int, function: Callable[[FitState], object]) -> None:
        self.every, self.function = positive_int("steps", steps), function

    def on_step(self, state: FitState) -> None:
        """Call the function."""
        self.function(state)


class AverageWeights(Callback):
    """Keeps an exponential moving average of the weights, and gives it to the model at the end.

    As a callback it leaves validation to the weights as they train; ``fit(average=...)`` validates, and
    chooses the best of, the averages.

    Args:
        decay: The rate, in [0, 1); see :class:`~pyro_dgm.objectives.average.WeightAverage`.

    Attributes:
        averages: The averaged copy of each network, while training and after it.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.averages: list[WeightAverage] = []
        self._networks: list[nn.Module] = []

    def on_start(self, state: FitState) -> None:
        """Copy the networks."""
        self._networks = networks_of(state.objective)
        self.averages = [WeightAverage(network, self.decay) for network in self._networks]

    def on_step(self, state: FitState) -> None:
        """Move the averages."""
        for average, network in zip(self.averages, self._networks, strict=True):
            average.update(network)

    def on_end(self, state: FitState) -> None:
        """Set the weights to their averages."""
        for average, network in zip(self.averages, self._networks, strict=True):
            network.load_state_dict(average.model.state_dict())
        self._networks = []

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the weights to their averages for the time of a block; after the end they are."""
        if not self._networks:
            yield
            return
        own = [{k: t.clone() for k, t in network.state_dict().items()} for network in self._networks]
        for average, network in zip(self.averages, self._networks, strict=True):
            network.load_state_dict(average.model.state_dict())
        try:
            yield
        finally:
            for network, weights in zip(self._networks, own, strict=True):
                network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages."""
        return {"averages": [(a.model.state_dict(), a.steps) for a in self.averages]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the averages up again."""
        for average, (weights, steps) in zip(self.averages, state["averages"], strict=True):
            average.model.load_state_dict(weights)
            average.steps = steps


def as_callbacks(given: Iterable[Callback | Callable[[FitState], object]]) -> list[Callback]:
    """Return callbacks as a list, with a plain function as one that is called after each step.

    Raises:
        TypeError: If one is neither a callback nor callable.
    """
    callbacks: list[Callback] = []
    if not isinstance(given, Callback | Iterable):
        raise ArgumentTypeError(
            f"callbacks must be a list, but is {given!r}. Say callbacks=[{_name(given)}]."
        )
    for one in [given] if isinstance(given, Callback) else given:
        if isinstance(one, Callback):
            callbacks.append(one)
        elif callable(one) and not isinstance(one, type):
            callbacks.append(Every(1, one))
        else:
            raise TypeError(
                f"a callback must be a Callback, such as Every(100, function), or a function of FitState, "
                f"but got {one!r}."
            )
    return callbacks


def _name(one: object) -> str:
    return getattr(one, "__name__", "...")
