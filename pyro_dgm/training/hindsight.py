"""What data and losses say about whether a density was learned, before a run and after it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.diagnostics.marginals import FAR, furthest_marginal
from pyro_dgm.diagnostics.settled_steps import j_ml_with, takes_fixed_steps
from pyro_dgm.errors import PyroDGMError
from pyro_dgm.flows import ImageFlow
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.models.generative_model import evaluating
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.history import History
from pyro_dgm.training.isolation import own_random_state

__all__ = ["DensityWarning", "look_ahead", "look_at_draws", "look_at_steps", "look_back"]

# Nats for each dimension below a normal distribution's: scales of a fifth of the data's, in all directions.
_TOO_GOOD = 1.5
# Nats by which few steps may flatter a likelihood.
_FLATTERED = 0.05
# Updates after which a flow should be where its data are.
_LONG = 500


class DensityWarning(UserWarning):
    """The data have no density, or the loss says that none was learned."""


def look_ahead(objective: Any, rows: Tensor | None) -> None:
    """Warn if a flow is to learn a density where the data have none: a column is constant, a row on an edge.

    Args:
        objective: What trains.
        rows: The rows that it trains on, if they are in memory.
    """
    if rows is None or len(rows) < 2 or not _learns_density(objective):
        return
    flow = objective.model.flow
    if rows.shape[1:] != flow.event_shape:
        return  # the first step refuses them
    if getattr(flow, "outer", None) is not None:
        _look_at_edges(flow.outer, rows)
        if rows.dim() > 2:
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
        stacklevel=4,
    )


def _look_at_edges(outer: Any, rows: Tensor) -> None:
    touching = outer.on_edge(rows)
    if not touching.any():
        return
    warnings.warn(
        f"{int(touching.sum())} of {len(rows)} rows, the first at index {int(touching.nonzero()[0])}, have "
        f"an entry on an edge of the support {outer.support}. A density is defined inside only: they are "
        "scored as the nearest number inside, hundreds of nats below their neighbours. Shrink the data into "
        "the inside, dequantise what was rounded, or model zeros and ones apart.",
        DensityWarning,
        stacklevel=5,
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
            stacklevel=4,
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
        stacklevel=4,
    )


def look_at_steps(objective: Any, some: Callable[[], Batch | None]) -> None:
    """Warn if a continuous flow was trained with so few steps that they flatter its likelihood.

    Args:
        objective: What was trained.
        some: Gives some rows of the data, or None.
    """
    if not _learns_density(objective) or not takes_fixed_steps(flow := objective.model.flow):
        return
    batch = some()
    if batch is None:
        return
    num = flow.nt_train
    seen, finer = (_with_one_probe(n, flow, batch) for n in (num, 4 * num))
    if not finer - seen > _FLATTERED:
        return
    warnings.warn(
        f"J_ML of {len(batch.x)} rows is {seen:.4g} nats with nt_train={num}, as in training, but "
        f"{finer:.4g} with {4 * num}: training has found velocities that so few steps flatter, and the "
        "density is not what the loss said. Let the number of steps follow the likelihood by "
        "callbacks=[StepControl(model, rows)], or raise nt_train.",
        DensityWarning,
        stacklevel=4,
    )


def look_at_draws(objective: Any, some: Callable[[], Batch | None], history: History) -> None:
    """Warn if a flow over vectors has trained for long, and its draws are plainly not like the data.

    Args:
        objective: What was trained.
        some: Gives some rows of the data, or None.
        history: The record of the run.
    """
    if not _learns_density(objective) or history.num_steps < _LONG:
        return
    flow = objective.model.flow
    if isinstance(flow, ImageFlow) or (batch := some()) is None:
        return
    try:
        with torch.no_grad(), evaluating(flow):
            given = flow(batch.context)
            draws = given.sample() if given.batch_shape else given.sample((len(batch.x),))
    except PyroDGMError:
        return  # a solver that gives up will say so where it is asked for draws
    if not draws.isfinite().all():
        return
    found = furthest_marginal(draws, batch.x)
    if found.distance <= FAR:
        return
    warnings.warn(
        f"{history.num_steps} updates have not brought the flow to the data: {found.words} "
        f"(Kolmogorov-Smirnov distance {found.distance:.2f}). Flows start near the standard normal, and not "
        "all can leave it: standardise the data, or train Whitened.fitted_to(flow, data), or a spline flow "
        "with affine=True.",
        DensityWarning,
        stacklevel=4,
    )


def _with_one_probe(num: int, flow: Any, batch: Batch) -> float:
    with own_random_state(0, {batch.x.device}):  # a trace by probes sees the same ones each time
        return j_ml_with(num, flow, batch.x, batch.context)


def _learns_density(objective: Any) -> bool:
    return isinstance(getattr(objective, "model", None), NormalizingFlow)
