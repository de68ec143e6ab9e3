"""What a training run is, in plain JSON, to be compared when it is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pyro_dgm.training.batches import Source
from pyro_dgm.training.callbacks import Callback
from pyro_dgm.training.own_step import networks_of

__all__ = ["describe", "model_of"]


def describe(
    objective: Any,
    source: Source,
    learner: Any,
    *,
    callbacks: Sequence[Callback] = (),
    schedule: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Return what decides how a run goes: objective, data, optimiser, callbacks and options."""
    optimizer = getattr(learner, "optimizer", None)
    return {
        "objective": f"{type(objective).__name__} of {type(model_of(objective)).__name__}",
        "data": source.fingerprint(),
        "optimizer": type(optimizer).__name__ if isinstance(optimizer, Optimizer) else None,
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "schedule": None if schedule is None else getattr(schedule, "__name__", type(schedule).__name__),
        "threads": torch.get_num_threads(),
        **options,
    }


def model_of(objective: Any) -> nn.Module:
    """The model that an objective trains: its ``model``, or its first network if it has none."""
    model = getattr(objective, "model", None)
    if isinstance(model, nn.Module):
        return model
    return networks_of(objective)[0]
