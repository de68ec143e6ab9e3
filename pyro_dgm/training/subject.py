"""What :func:`~pyro_dgm.training.check_model` examines: objectives of one kind, made anew for each check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.flows import Flow
from pyro_dgm.models import GenerativeModel, NormalizingFlow
from pyro_dgm.training.fitting import fit
from pyro_dgm.training.isolation import own_random_state
from pyro_dgm.training.objective import as_objective
from pyro_dgm.training.own_step import networks_of

__all__ = ["Subject", "same", "weights"]


class Subject:
    """Makes objectives of one kind that begin with the same weights, and knows data for them.

    Args:
        factory: Makes a new objective, or what ``fit`` makes one of.
        rows: Data; drawn from the model itself by default.
    """

    def __init__(self, factory: Callable[[], Any], rows: Tensor | tuple[Tensor, Tensor] | None) -> None:
        self.factory = factory
        if rows is None:
            model = self.generative(self.make())
            if model is None:
                raise TypeError(
                    "check_model needs a factory of flows, of models with a guide, or of objectives; what "
                    "draws no rows itself needs rows= to train on."
                )
            rows = model.sample(16, seed=0).detach()
        self.rows: Tensor = rows[0] if isinstance(rows, tuple) else rows
        self.context: Tensor | None = rows[1] if isinstance(rows, tuple) else None

    def make(self) -> Any:
        """A new objective, always with the same weights."""
        with own_random_state(0):
            made = self.factory()
            return as_objective(NormalizingFlow(made) if isinstance(made, Flow) else made)

    def generative(self, objective: Any) -> GenerativeModel | None:
        """The model that an objective trains, if it can draw rows."""
        for found in (getattr(objective, "model", None), getattr(objective, "flow", None)):
            if isinstance(found, Flow):
                return NormalizingFlow(found)
            if isinstance(found, GenerativeModel):
                return found
        return None

    def data(self, num: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The first ``num`` rows, with their context if there is one."""
        return self.rows[:num] if self.context is None else (self.rows[:num], self.context[:num])

    def draw(self, model: GenerativeModel, num: int, seed: int = 1) -> Tensor:
        """Draw rows, each given the context of a row of the data."""
        context = None if self.context is None else self.context[:num].to(next(model.parameters()))
        return model.sample(num, seed=seed, context=context)

    def trained(self, **options: Any) -> Any:
        """A new objective after a few steps."""
        return self.train(self.make(), self.data(), **options)

    def train(self, objective: Any, data: Any, **options: Any) -> Any:
        """Train an objective for a few steps, and return it."""
        fit(objective, data, **{"steps": 4, "batch_size": 8, "progress": False, **options})
        return objective


def weights(objective: Any) -> list[Tensor]:
    """Copies of all weights and buffers."""
    networks: list[nn.Module] = networks_of(objective)
    return [t.detach().clone() for network in networks for t in network.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two lists of tensors are equal to the bit."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
