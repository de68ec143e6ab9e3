"""What a training run is, in plain JSON, to be compared when it is taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

import pyro_dgm
from pyro_dgm.training.batches import Source
from pyro_dgm.training.callbacks import Callback
from pyro_dgm.training.own_step import networks_of
from pyro_dgm.training.parts import whole
from pyro_dgm.training.ranks import Ranks

__all__ = ["check_weights", "describe", "model_of"]


def describe(
    objective: Any,
    source: Source,
    optimizer: Any,
    *,
    callbacks: Sequence[Callback] = (),
    schedule: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Return what decides how a run goes: objective, data, optimiser, callbacks and options."""
    return {
        "objective": f"{type(objective).__name__} of {type(model_of(objective)).__name__}",
        "data": source.fingerprint(),
        "optimizer": _name(optimizer),
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "schedule": _name(schedule),
        "threads": torch.get_num_threads(),
        **options,
    }


def model_of(objective: Any) -> nn.Module:
    """The model that an objective trains: its ``model``, or its first network if it has none."""
    model = getattr(objective, "model", None)
    if isinstance(model, nn.Module):
        return model
    return networks_of(objective)[0]


def check_weights(objective: Any, ranks: Ranks, facts: Mapping[str, Any] | None = None) -> None:
    """Make sure that all processes have the same weights, versions and, where they are given, facts.

    Raises:
        ProcessesDiffer: If they do not.
    """
    if ranks.many:
        versions = {"torch": str(torch.__version__), "pyro_dgm": pyro_dgm.__version__}
        ranks.check_equal({"weights": _digest(objective)[:12], **versions, **(facts or {})})


def _name(part: Any) -> str | None:
    if part is None or isinstance(part, type) or not hasattr(part, "__name__"):
        return None if part is None else (part if isinstance(part, type) else type(part)).__name__
    return str(part.__name__)


def _digest(objective: Any) -> str:
    digest = hashlib.sha256()
    for network in networks_of(objective):
        for name, tensor in whole(network.state_dict()).items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
