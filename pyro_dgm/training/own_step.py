"""Objectives that step themselves, such as adversarial games."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pyro_dgm.errors import TrainingDiverged
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.divergence import LastGood, diverged, find_culprit
from pyro_dgm.training.memory import forget, is_out_of_memory, ran_out
from pyro_dgm.training.ranks import Ranks
from pyro_dgm.training.within import Within

__all__ = ["OwnStep", "networks_of", "numbers_in"]


class OwnStep:
    """Calls ``objective.step(batch)`` and keeps its parameters finite.

    Args:
        objective: An object whose ``step(batch)`` makes one update and returns a float, or a named tuple or
            dictionary of floats; None stands for what was not measured. Its networks are the attributes that
            are ``nn.Module``s, its optimisers those in ``objective.optimizers``.
        within: What a step is computed in: precision and noise.
        ranks: The processes that train together. On many, the losses that the objective differentiates must
            be its attributes ``critic_loss`` and ``generator_loss``, modules that share no parameter.

    Raises:
        TypeError: If there are many processes, and the objective has no such losses.
    """

    def __init__(self, objective: Any, *, within: Within | None = None, ranks: Ranks | None = None) -> None:
        self.objective, self.within, self.ranks = objective, within or Within(), ranks or Ranks()
        self._state = LastGood(_state_of(objective))
        given = getattr(objective, "optimizers", ())
        self._optimizers = (
            [o for o in given if isinstance(o, Optimizer)] if isinstance(given, tuple | list) else []
        )
        self._lrs = [[float(group["lr"]) for group in o.param_groups] for o in self._optimizers]
        self._losses = self._wrap_losses() if self.ranks.many else {}

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Let the objective make one update and return what it measured.

        Raises:
            TrainingDiverged: If the objective raises it or returns something not finite. Parameters and
                buffers are then what they were before the step.
            OutOfMemory: If the step does not fit into the memory; the same holds then.
        """
        self._state.keep()
        try:
            with self.within.of(step, batch):
                values = self.ranks.mean(numbers_in(self.objective.step(batch)))
        except TrainingDiverged as error:
            self._state.restore()
            where = find_culprit(self.objective, batch)
            if where is None:
                raise
            raise TrainingDiverged(
                f"{error} The first thing not finite is {where}.", step=step, loss=error.loss, where=where
            ) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ran_out(error, step, len(batch.x), None, self._undo) from error
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            where = find_culprit(self.objective, batch)
            self._state.restore()
            raise diverged(step, values[bad[0]], f"{bad[0]} is {values[bad[0]]}", where)
        return values

    def _undo(self) -> str:
        """Go back to before the step. Which of the optimisers had moved, nobody knows."""
        self._state.restore()
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        return forget(self._optimizers)

    def scale_lr(self, factor: float) -> None:
        """Set the learning rates to a multiple of what they were at the start.

        Raises:
            ValueError: If the objective shows no optimisers.
        """
        if not self._optimizers:
            raise ValueError(
                f"{type(self.objective).__name__} steps itself and has no attribute optimizers, a tuple of "
                "torch optimisers: a schedule cannot reach its learning rates. Leave schedule=None."
            )
        for optimizer, lrs in zip(self._optimizers, self._lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * factor

    def close(self) -> None:
        """Put the learning rates and the losses back."""
        self._reset_lr()
        for name, loss in self._losses.items():
            setattr(self.objective, name, loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the objective's own state, or its networks and optimisers if it shows none."""
        if hasattr(self.objective, "state_dict") and hasattr(self.objective, "load_state_dict"):
            return {"objective": self.objective.state_dict()}
        return {
            "networks": [network.state_dict() for network in networks_of(self.objective)],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; learning rates are those of now."""
        if "objective" in state:
            self.objective.load_state_dict(state["objective"])
        else:
            for network, weights in zip(networks_of(self.objective), state["networks"], strict=True):
                network.load_state_dict(weights)
            for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        self._reset_lr()

    def _reset_lr(self) -> None:
        if self._optimizers:
            self.scale_lr(1.0)

    def _wrap_losses(self) -> dict[str, nn.Module]:
        """Give the objective losses whose gradients are those of all processes; return its own."""
        own = {name: getattr(self.objective, name, None) for name in ("critic_loss", "generator_loss")}
        if not all(isinstance(loss, nn.Module) for loss in own.values()):
            raise TypeError(
                f"{type(self.objective).__name__} steps itself and shows no loss modules critic_loss and "
                "generator_loss, so that several processes cannot share its gradients. Train it on one."
            )
        for name, loss in own.items():
            setattr(self.objective, name, self.ranks.wrap(loss))  # type: ignore[arg-type]
        return own  # type: ignore[return-value]


def networks_of(objective: Any) -> list[nn.Module]:
    """The objective itself if it is a module, else its attributes that are."""
    if isinstance(objective, nn.Module):
        return [objective]
    return [value for value in vars(objective).values() if isinstance(value, nn.Module)]


def numbers_in(result: Any) -> dict[str, float]:
    """Read a float, named tuple or dictionary of floats; entries that are None are left out.

    Raises:
        TypeError: If it is none of these.
    """
    if hasattr(result, "_asdict"):
        result = result._asdict()
    if isinstance(result, dict):
        return {str(name): float(value) for name, value in result.items() if value is not None}
    try:
        return {"loss": float(result)}
    except (TypeError, ValueError):
        raise TypeError(
            f"step(batch) must return a float, or a named tuple or dictionary of floats, but returned a "
            f"{type(result).__name__}."
        ) from None


def _state_of(objective: Any) -> Iterator[Tensor]:
    seen: set[int] = set()
    for network in networks_of(objective):
        for tensor in (*network.parameters(), *network.buffers()):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor
