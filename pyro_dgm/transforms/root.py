"""Roots of increasing functions, with derivatives of first and second order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.errors import SolverFailed

__all__ = ["increasing_root"]

_BLIND_STEPS = 64  # doublings of a bracket where nobody may look at it: a reach of 1e19

ValueAndSlope = Callable[[Tensor], tuple[Tensor, Tensor]]


def increasing_root(
    function: ValueAndSlope, low: Tensor, high: Tensor, *, max_steps: int = 200, expand: bool = False
) -> Tensor:
    r"""Solve :math:`f(s) = 0` elementwise for a strictly increasing :math:`f`.

    Newton's method inside a bracket that shrinks at every step; where a Newton step would leave the bracket,
    or has not halved the residual, the bracket is halved instead. No element's path depends on another's.
    Two undetached Newton steps at the root then carry the derivatives: with
    :math:`s = s_0 - f(s_0) / f'(s_0)` at a root, the first step gives the exact first derivative in
    everything that ``function`` closes over (the implicit function theorem), the second the second.

    Args:
        function: Returns :math:`f(s)` and :math:`f'(s) > 0`, of the shape of ``s``.
        low: Lower ends of the brackets, where :math:`f \le 0`.
        high: Upper ends, where :math:`f \ge 0`.
        max_steps: Bound of the number of evaluations; 200 halvings exhaust any floating-point bracket.
        expand: Widen brackets that do not yet hold the root, doubling them up to ``max_steps`` times.

    Returns:
        The roots, of the shape of ``low``. Rows whose function is not finite give NaN, alone.

    Raises:
        SolverFailed: If a finite function has no sign change in reach.
    """
    with torch.no_grad():
        low, high = low.detach().clone(), high.detach().clone()
        if expand:
            low, high = _expanded(function, low, high, max_steps)
        root = _bracketed_newton(function, low, high, max_steps)
    for _ in range(2):
        value, slope = function(root)
        step = value / slope
        # Over a stretch that is flat to rounding a long step is noise: it gives its derivatives alone.
        polishing = step.detach().abs() <= 1e-3 * root.detach().abs().clamp(min=1)
        root = root - torch.where(polishing, step, step - step.detach())
    return root


def _bracketed_newton(function: ValueAndSlope, low: Tensor, high: Tensor, max_steps: int) -> Tensor:
    s = 0.5 * (low + high)
    settled = torch.zeros_like(s, dtype=torch.bool)
    last, eps = torch.full_like(s, torch.inf), torch.finfo(s.dtype).eps
    # A compiled graph holds every step: as many as there are halvings in a double.
    for _ in range(min(max_steps, 64) if torch.compiler.is_compiling() else max_steps):
        value, slope = function(s)
        low = torch.where(value <= 0, s, low)
        high = torch.where(value >= 0, s, high)
        newton = s - value / slope
        good = (newton >= low) & (newton <= high) & (value.abs() <= 0.5 * last)
        following = torch.where(good, newton, 0.5 * (low + high))
        # Newton's steps shrink quadratically: after one of this size the next would be below rounding. A step
        # that is short because the function is steep here, and flat towards the root, leaves the residual.
        shrinking = (value.abs() <= 0.05 * last) & last.isfinite()
        limit = torch.where(shrinking, eps**0.6, 4 * eps)
        arrived = good & ((newton - s).abs() <= limit * s.abs().clamp(min=0.1))
        # An ulp-wide bracket makes following alternate between its ends; that is as good as settled.
        narrow = (high - low) <= 2 * eps * s.abs().clamp(min=1e-30)
        stop = arrived | narrow | (following == s) | (value == 0) | ~value.isfinite()
        s = torch.where(settled, s, torch.where(value.isfinite(), following, value * torch.nan))
        settled, last = settled | stop, value.abs()
        if _all(settled):
            break
    return s


def _all(mask: Tensor) -> bool | None:
    """Whether all are true; None where no branch may look: under vmap, and in a compiled graph."""
    if torch.compiler.is_compiling():
        return None
    try:
        return bool(mask.all())
    except RuntimeError:
        return None


def _expanded(function: ValueAndSlope, low: Tensor, high: Tensor, max_steps: int) -> tuple[Tensor, Tensor]:
    width = (high - low).clamp(min=1.0)
    for step in range(max_steps):
        at_low, at_high = function(low)[0], function(high)[0]
        short_low, short_high = at_low > 0, at_high < 0
        enough = _all(~(short_low | short_high))
        if enough:
            return low, high
        if enough is None and step == _BLIND_STEPS:
            # Nobody may look. A row that is still short has no root in reach: NaN, alone.
            return torch.where(short_low, torch.nan, low), torch.where(short_high, torch.nan, high)
        low = torch.where(short_low, low - width, low)
        high = torch.where(short_high, high + width, high)
        width = 2 * width
        if _all(low.isfinite() & high.isfinite()) is False:
            break
    raise SolverFailed(
        "no sign change found for the inverse of a monotone map: it is bounded, so that the value has no "
        "preimage, or it is flat. Check that the value lies in the transform's codomain."
    )
