"""What data and losses say about whether a density was learned, before a run and after it."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training.history import History

__all__ = ["DensityWarning", "look_ahead", "look_back"]

# Nats for each dimension below a normal distribution's: scales of a fifth of the data's, in all directions.
_TOO_GOOD = 1.5


class DensityWarning(UserWarning):
    """The data have no density, or the loss says that none was learned."""


def look_ahead(objective: Any, rows: Tensor | None) -> None:
    """Warn if a flow is to learn the density of data that have none, because a column is constant.

    Args:
        objective: What trains.
        rows: The rows that it trains on, if they are in memory.
    """
    if rows is None or len(rows) < 2 or not _learns_density(objective):
        return
    flow = objective.model.flow
    if rows.shape[1:] != flow.event_shape:
        return  # the first step refuses them
    if getattr(flow, "outer", None) is not None and rows.dim() > 2:
        rows = flow.outer.inv(rows)  # matrices have entries that their support fixes
    same = (rows[:1] == rows[1:]).all(0).flatten()
    if not same.any():
        return
    columns = same.nonzero().flatten().tolist()
    shown = ", ".join(map(str, columns[:5])) + (", ..." if len(columns) > 5 else "")
    warnings.warn(
        f"{len(columns)} of {same.numel()} columns of the data are constant (column {shown}): there is no "
        "density along them, and the likelihood grows without bound as the flow finds that out. Leave them "
        "out, or add noise of a known size.",
        DensityWarning,
        stacklevel=3,
    )


def look_back(objective: Any, rows: Tensor | None, history: History) -> None:
    """Warn if the loss has grown over the run, or fallen to where only a collapsed density can be.

    The second is looked for where most rows repeat, or the columns depend on one another: a loss far below
    that of a normal distribution then says that the flow has found it out.

    Args:
        objective: What was trained.
        rows: The rows that it was trained on, if they are in memory.
        history: The record of the run.
    """
    if len(history) < 2 or "loss" not in history.columns:
        return
    losses = history.losses
    last = float(np.median(losses[-max(1, len(losses) // 20) :]))
    if last > losses[0] + 10 * (1 + abs(losses[0])):
        warnings.warn(
            f"the loss has grown from {losses[0]:.4g} to {last:.4g}. Lower lr, set clip=, or standardise the "
            "data.",
            DensityWarning,
            stacklevel=3,
        )
    if rows is None or len(rows) < 2 or not _learns_density(objective):
        return
    flat = rows.flatten(1).double()
    spread = flat.std(0)
    if not (spread > 0).all():
        return  # said before the run
    reference = (spread.log() + 0.5 * math.log(2 * math.pi * math.e)).sum().item()
    if last >= reference - _TOO_GOOD * flat.shape[1]:
        return
    some = flat[:2000]
    distinct = len(torch.unique(some, dim=0))
    least = torch.linalg.eigvalsh(flat.T.corrcoef().reshape(flat.shape[1], -1))[0]
    if 2 * distinct <= len(some):
        why = f"{distinct} of {len(some)} rows are distinct"
    elif least < 1e-8:
        why = "the columns depend on one another"
    else:
        return
    warnings.warn(
        f"the density diverges: {why}, and the loss of {last:.4g} nats lies {reference - last:.4g} below a "
        "normal distribution's. The flow puts its mass on points or a surface, and its likelihood has no "
        "bound. Remove what repeats, or add noise of a known size.",
        DensityWarning,
        stacklevel=3,
    )


def _learns_density(objective: Any) -> bool:
    return isinstance(getattr(objective, "model", None), NormalizingFlow)
