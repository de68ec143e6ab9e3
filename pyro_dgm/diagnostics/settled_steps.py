"""The model at the number of steps at which its likelihood may be reported."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.diagnostics.step_count import MOST_STEPS, search_steps
from pyro_dgm.errors import SolverFailed
from pyro_dgm.models.generative_model import evaluating

__all__ = ["j_ml_with", "takes_fixed_steps", "with_settled_steps"]


def takes_fixed_steps(flow: Any) -> bool:
    """Whether a flow solves its equation with a fixed number of steps."""
    return hasattr(flow, "nt_train") and getattr(flow, "solver", None) != "dopri5"


@torch.no_grad()
def j_ml_with(num_steps: int, flow: Any, rows: Tensor, context: Tensor | None = None) -> float:
    """Return J_ML of rows ``(n, D)`` with so many equal steps, in nats; NaN if a row runs off.

    Args:
        num_steps: Number of steps of the solve.
        flow: A flow of fixed steps; its ``nt_eval`` is put back.
        rows: Rows of data.
        context: Their contexts ``(n, C)``, or None.
    """
    before = flow.nt_eval
    try:
        with evaluating(flow):
            flow.nt_eval = num_steps
            return float(-flow(context).log_prob(rows).double().mean())
    except SolverFailed:
        return math.nan
    finally:
        flow.nt_eval = before


@torch.no_grad()
def with_settled_steps(model: Any, rows: Tensor, context: Tensor | None = None) -> Any:
    """Return a model whose likelihood does not depend on its number of steps: itself, or a copy with more.

    A continuous flow with fixed steps gets the number from which doubling changes J_ML of the rows by less
    than 1e-3 nats, or 512 where that never holds, if it is above its own ``nt_eval``. Every other model is
    returned as it is.

    Args:
        model: A flow, a model that holds one as ``model.flow``, or any other model.
        rows: Rows of data ``(n, D)``; some hundreds do.
        context: Their contexts ``(n, C)`` for a conditional flow.

    Example:
        >>> from pyro_dgm.flows import CNF
        >>> flow = CNF(2, nt_eval=16)
        >>> with_settled_steps(flow, torch.randn(100, 2)) is flow
        True
    """
    flow = getattr(model, "flow", model)
    if not takes_fixed_steps(flow):
        return model
    found = search_steps(lambda num: j_ml_with(num, flow, rows, context)) or MOST_STEPS
    if found <= flow.nt_eval:
        return model
    twin = copy.deepcopy(model)
    getattr(twin, "flow", twin).nt_eval = found
    return twin
