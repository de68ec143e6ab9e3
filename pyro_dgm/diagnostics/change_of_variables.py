"""Checks of a bijection: do its directions undo each other, is its log-determinant that of its Jacobian?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.diagnostics.audit_subject import Subject

__all__ = ["batched_jacobian", "log_det_checks", "round_trip_checks"]

_LATENT_SCALE = 3.0
_ROUND_TRIP_LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
_WIDE_LIMIT = 1e-3  # for wide latents in single precision: a trained flow stretches rounding out there
_LOG_DET_LIMITS = {torch.float64: 1e-5, torch.float32: 1e-3}
_ROUGH = 1e-1  # for half precisions


def round_trip_checks(
    subjects: Sequence[Subject],
    doubles: Sequence[Subject] | None,
    num_points: int,
    *,
    data: Tensor | None = None,
    solver_limit: float | None = None,
) -> list[Check]:
    """Map latents to data and back, and data to latents and back.

    Args:
        subjects: What to check, in its own precision.
        doubles: The same in double precision, if there is such a copy.
        num_points: Number of latents and of samples.
        data: Rows to be tried besides the samples.
        solver_limit: The limit for a map that is inverted by a solver, whatever the precision.
    """
    dtype = subjects[0].dtype
    remedy = " (take more steps)" if solver_limit else ""
    precision, where = str(dtype).removeprefix("torch."), "samples" if data is None else "samples and data"
    limit = solver_limit or _ROUND_TRIP_LIMITS.get(dtype, _ROUGH)
    exact: list[Check] = []
    if doubles is not None and dtype != torch.double:
        error = max(
            _worst(_of_latents, doubles, num_points)[0], _worst(_of_data, doubles, num_points, data)[0]
        )
        finding = f"round trips have a relative error of {error:.1g} even in float64"
        exact_limit = solver_limit or _ROUND_TRIP_LIMITS[torch.double]
        exact = [
            Check.at_most(
                "round_trip_double",
                "both round trips",
                error,
                exact_limit,
                note="float64 copy",
                finding=finding,
            )
        ]
    latent, there = _worst(_of_latents, subjects, num_points)
    observed, back = _worst(_of_data, subjects, num_points, data)
    wide = Check.at_most(
        "round_trip_latent",
        "round trip x -> y -> x",
        latent,
        limit if dtype == torch.double else max(limit, _WIDE_LIMIT),
        note=f"{precision}, {num_points} latents {_LATENT_SCALE:g} times as wide as the base{there}",
        finding=f"latents come back with a relative error of {latent:.1g} in {precision}{remedy}",
    )
    seen = Check.at_most(
        "round_trip_data",
        "round trip y -> x -> y",
        observed,
        limit,
        note=f"{precision}, {num_points} {where}{back}",
        finding=f"{where} come back with a relative error of {observed:.1g} in {precision}{remedy}",
    )
    return [wide, seen, *exact]


def log_det_checks(
    subjects: Sequence[Subject], num_points: int = 50, *, solver_limit: float | None = None
) -> list[Check]:
    """Compare the claimed log-determinants with those of autograd's Jacobian, and the density with both.

    Half of the latents are drawn from the base and half three times as wide.

    Args:
        subjects: What to check, in double precision where possible.
        num_points: Number of latents for each subject.
        solver_limit: The limit for a map whose log-determinant is integrated, whatever the precision.
    """
    dtype = subjects[0].dtype
    limit = solver_limit or _LOG_DET_LIMITS.get(dtype, _ROUGH)
    gaps = [_log_det_gaps(subject, num_points) for subject in subjects]
    note = f"{num_points} points, {str(dtype).removeprefix('torch.')}"
    rows = (
        ("log_det", "log-det against autograd", "the log-determinant is off by {} nats at {}"),
        (
            "log_det_sum",
            "log-det forward + inverse",
            "forward and inverse log-determinants sum to {} nats at {}",
        ),
        (
            "density",
            "log_prob against base - log-det",
            "log_prob differs from the change of variables by {} nats at {}",
        ),
    )
    checks = []
    for i, (key, title, finding) in enumerate(rows):
        subject, (worst, point) = max(
            zip(subjects, (gap[i] for gap in gaps), strict=True), key=lambda pair: _nan_is_worst(pair[1][0])
        )
        place = f"y = ({', '.join(f'{c:.3g}' for c in point[:4])}{', ...' if len(point) > 4 else ''})"
        place += f", {subject.name}" if subject.name else ""
        text = finding.format(f"{worst:.2f}" if worst >= 0.01 else f"{worst:.1g}", place)
        checks.append(Check.at_most(key, title, worst, limit, note=note, finding=text))
    return checks


def batched_jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``function(x)`` of shape ``(n, D)`` and its row-wise Jacobians ``(n, D, D)`` by autograd."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        y = function(x)
        rows = [
            torch.autograd.grad(
                y[:, i].sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
            )[0]
            for i in range(y.shape[1])
        ]
    return y.detach(), torch.stack(rows, dim=1)


def _log_det_gaps(subject: Subject, num_points: int) -> list[tuple[float, list[float]]]:
    """The three largest differences and the data points at which they occur."""
    near, far = num_points - num_points // 2, num_points // 2
    x = torch.cat((subject.base_points(near, 1.0), subject.base_points(far, _LATENT_SCALE)))
    y, jacobian = batched_jacobian(lambda x: subject.push(x)[0], x)
    true = torch.full((len(x),), torch.nan, dtype=x.dtype, device=x.device)
    usable = jacobian.isfinite().all(-1).all(-1)
    true[usable] = torch.linalg.slogdet(jacobian[usable]).logabsdet
    claimed, inverse = subject.push(x)[1], subject.pull(y)[1]
    density = subject.log_prob(y.clone())
    gaps = (claimed - true, claimed + inverse, density - (subject.base_log_prob(x) - true))
    return [_largest(gap.abs(), y) for gap in gaps]


def _of_latents(subject: Subject, num_points: int) -> float:
    x = subject.base_points(num_points, _LATENT_SCALE)
    return _relative_error(x, subject.pull(subject.push(x)[0])[0])


def _of_data(subject: Subject, num_points: int, data: Tensor | None) -> float:
    y = subject.sample(num_points)
    if data is not None:
        y = torch.cat((y, data[:num_points].reshape(-1, subject.dim).to(y)))
    return _relative_error(y, subject.push(subject.pull(y)[0].clone())[0])


def _relative_error(value: Tensor, again: Tensor) -> float:
    size = value.abs().amax(-1).clamp_min(1.0)
    error = (again - value).abs().amax(-1) / size
    return torch.nan if error.isnan().any() else error.max().item()


def _worst(measure: Callable[..., float], subjects: Sequence[Subject], *args: object) -> tuple[float, str]:
    """The largest of one figure over the subjects, and where it was."""
    figures = [measure(subject, *args) for subject in subjects]
    i = max(range(len(figures)), key=lambda i: _nan_is_worst(figures[i]))
    return figures[i], f"; worst at {subjects[i].name}" if subjects[i].name else ""


def _largest(gap: Tensor, points: Tensor) -> tuple[float, list[float]]:
    order = torch.where(gap.isnan(), torch.inf, gap)
    i = int(order.argmax())
    return gap[i].item(), points[i].tolist()


def _nan_is_worst(figure: float) -> float:
    return float("inf") if figure != figure else figure
