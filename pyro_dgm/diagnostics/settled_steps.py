"""The model at the number of steps at which its likelihood may be reported."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.diagnostics.step_count import MOST_STEPS, search_steps
from pyro_dgm.models.generative_model import evaluating

__all__ = ["with_settled_steps"]


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
    if not isinstance(getattr(flow, "nt_eval", None), int) or getattr(flow, "solver", None) == "dopri5":
        return model
    twin = copy.deepcopy(model)
    inner = getattr(twin, "flow", twin)

    def j_ml(num_steps: int) -> float:
        inner.nt_eval = num_steps
        with evaluating(inner):
            return float(-inner(context).log_prob(rows).double().mean())

    found = search_steps(j_ml) or MOST_STEPS
    if found <= flow.nt_eval:
        return model
    inner.nt_eval = found
    return twin
