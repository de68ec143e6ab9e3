"""The numbers of a flow: its likelihood beside the entropy, its audit, how straight its paths are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.data import ImageData, RowData, Target2D
from pyro_dgm.diagnostics import AuditReport, with_settled_steps
from pyro_dgm.models import NormalizingFlow, evaluating
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.transforms import Bijection, ColumnStack, Composed, ContinuousTransform, Couplings

__all__ = ["audited_rows", "likelihood_rows", "straightness", "straightness_row", "way_of"]

# key of the audit -> its name here, its unit, and how it was measured where the audit says too much
_AUDITED = {
    "round_trip_data": ("inverse error", "", None),
    "log_det": ("log-determinant error", "nats", None),
    "mass": ("mass of exp(log_prob)", "", "adaptive quadrature"),
    "steps": ("change of J_ML on doubling steps", "nats", "evaluation steps against twice as many"),
}


def likelihood_rows(name: str, target: Target2D, model: Any, x: Tensor) -> list[Measurement]:
    """Measure J_ML on fresh points beside its floor, and the divergence from the truth.

    A continuous flow is measured at the number of steps from which doubling it changes J_ML by less than 1e-3
    nats, or at its own ``nt_eval`` if that is larger.

    Args:
        name: Name of the model.
        target: Where the points are from.
        model: What has a ``log_prob``.
        x: Fresh points, of shape ``(n, 2)``.
    """
    model = with_settled_steps(model, x[:2000])
    with torch.no_grad():
        log_q, log_p = model.log_prob(x).double(), target.log_prob(x.double())
    j_ml, kl = -log_q.mean().item(), (log_p - log_q).mean().item()
    error, kl_error = (float(values.std()) / math.sqrt(len(x)) for values in (log_q, log_p - log_q))
    floor, unit = f"≥ H(X) = {target.entropy:.4f}", "nats"
    steps = getattr(getattr(model, "flow", None), "nt_eval", None)
    how = f"mean over {len(x)} fresh points ± standard error" + (f", {steps} steps in time" if steps else "")
    paired = "mean of log p - log q over the same points, both exact: less noise than J_ML - H(X)"
    divergence = "KL(truth, model)"
    # The entropy of these very points is within the noise of H(X): the paired difference is the sharper test.
    possible = kl >= -3 * kl_error
    return [
        Measurement(name, target.name, "J_ML", j_ml, unit, floor, how, error, holds=possible),
        Measurement(name, target.name, divergence, kl, unit, "≥ 0", paired, kl_error, holds=possible),
    ]


def audited_rows(name: str, target: Target2D | ImageData | RowData, report: AuditReport) -> list[Measurement]:
    """Read the figures with a hard limit off an audit."""
    rows = []
    for check in report.checks:
        if check.key in _AUDITED:
            quantity, unit, how = _AUDITED[check.key]
            holds = {"pass": True, "FAIL": False}.get(check.verdict)
            limit, source = check.limit.replace("e-0", "e-"), how or check.note
            row = Measurement(name, target.name, quantity, check.figure, unit, limit, source, check.error)
            rows.append(replace(row, holds=holds))
    return rows


def straightness_row(name: str, target: Target2D, model: NormalizingFlow, seed: int) -> list[Measurement]:
    """Measure how straight the characteristics of a continuous flow are; nothing for a flow of layers."""
    if isinstance(model.flow.transform(), Composed):
        return []
    z = torch.randn(1000, model.capabilities.latent_dim, generator=torch.Generator().manual_seed(seed))
    value = straightness(way_of(model, z))
    quantity, how = "path length / chord - 1", "sums over 1000 latents; 0 for straight paths"
    return [Measurement(name, target.name, quantity, value, "", "≥ 0", how, holds=value > -1e-4)]


@torch.no_grad()
def way_of(model: NormalizingFlow, z: Tensor) -> Tensor:
    """Return the positions ``(steps, n, D)`` of latents on their way to the data, in evaluation mode."""
    with evaluating(model):
        transform = model.flow.transform()
        if isinstance(transform, ContinuousTransform):
            return transform.path(z)
        way = [z]
        for layer in _layers(transform):
            way.append(layer(way[-1]))
        return torch.stack(way)


def _layers(transform: Bijection) -> list[Bijection]:
    """The single layers of a flow of finitely many."""
    if isinstance(transform, Composed):
        return [layer for part in transform.parts for layer in _layers(part)]
    if isinstance(transform, ColumnStack):
        stacks = [
            [Couplings([coupling]) for coupling in stack.layers] if isinstance(stack, Couplings) else [stack]
            for stack in transform.layers
        ]
        return [ColumnStack([layer], transform.context) for stack in stacks for layer in stack]
    return [transform]


def straightness(way: Tensor) -> float:
    """Return the sum of the lengths of all paths over the sum of their chords, less 1: zero if straight.

    Example:
        >>> straightness(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[3.0, 0.0]]]))
        0.0
    """
    lengths = way.diff(dim=0).norm(dim=-1).sum()
    return float(lengths / (way[-1] - way[0]).norm(dim=-1).sum()) - 1
