"""The rows that a flow is audited with: what they are, what they score, and draws beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from pyro_dgm.diagnostics.audit_subject import subjects_of
from pyro_dgm.errors import DataError, ShapeError

__all__ = ["check_event", "draws_beside", "few_contexts", "log_prob_of", "rows_and_entropy"]

_MAX_CONTEXTS = 4


def check_event(rows: Tensor | None, event_shape: Size) -> None:
    """Raise :class:`ShapeError` unless rows are as large as events of this shape."""
    if rows is not None and rows[0].numel() != max(1, event_shape.numel()):
        raise ShapeError(
            f"this flow has events of shape {tuple(event_shape)}, but the data have rows of shape "
            f"{tuple(rows.shape[1:])}: give rows (n, {', '.join(map(str, event_shape))})."
        )


def rows_and_entropy(data: Any, num_data: int) -> tuple[Tensor | None, float | None]:
    """The rows of what ``audit`` was given as data, and their entropy where it is known."""
    if data is None:
        return None, None
    known = getattr(data, "entropy", None)
    if isinstance(data, Distribution):
        rows = data.sample(Size([num_data]))
        try:
            known = data.entropy().item()
        except NotImplementedError:
            known = None
    elif hasattr(data, "sample"):
        rows = torch.as_tensor(data.sample(num_data))
    else:
        rows, known = torch.as_tensor(data), None
    if not len(rows) or not rows.isfinite().all():
        bad = int((~rows.isfinite()).reshape(len(rows), -1).any(-1).sum()) if len(rows) else 0
        raise DataError(f"audit needs finite data, but {bad} of {len(rows)} rows are not: drop them first.")
    return rows, known if known is None else float(known)


def few_contexts(context: Tensor | None) -> Tensor | None:
    """A few of the contexts, evenly spaced."""
    if context is None or context.dim() == 1 or len(context) <= _MAX_CONTEXTS:
        return context
    return context[torch.linspace(0, len(context) - 1, _MAX_CONTEXTS).round().long()]


def log_prob_of(flow: Any, rows: Tensor, context: Tensor | None) -> Tensor:
    """The log-densities of rows, of each under its own context where there are several."""
    if context is not None and context.dim() > 1 and len(context) != len(rows):
        raise DataError(
            f"audit got {len(rows)} rows of data and {len(context)} rows of context: give one context for "
            "each row of data, or a single one of shape (C,)."
        )
    if context is None or context.dim() == 1:
        (subject,) = subjects_of(flow, context)
        return subject.log_prob(rows.reshape(len(rows), -1).to(subject.sample(1)))
    given = flow(context)
    log_prob: Tensor = given.log_prob(rows.to(given.sample()))
    return log_prob


def draws_beside(flow: Any, rows: Tensor, context: Tensor | None) -> Tensor:
    """As many draws as rows; where each row has a context, one of each."""
    if context is None or context.dim() == 1:
        (subject,) = subjects_of(flow, context)
        return subject.sample(len(rows))
    drawn: Tensor = flow(context[: len(rows)]).sample()
    return drawn
