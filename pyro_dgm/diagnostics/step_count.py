"""Whether a continuous flow takes enough steps: its figures again with two and four times as many."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.diagnostics.audit_subject import Subject
from pyro_dgm.diagnostics.change_of_variables import log_det_checks
from pyro_dgm.diagnostics.density_checks import mass_checks

__all__ = ["step_count_checks"]

_LIMIT = 1e-3  # nats


def step_count_checks(
    with_steps: Callable[[int], Subject], num_steps: int, data: Tensor | None, *, num_points: int = 2000
) -> list[Check]:
    """Check that twice the number of steps changes J_ML by less than 1e-3 nats.

    With too few steps the integrated log-determinant is not that of the map that the steps make, and J_ML
    looks better than it is.

    Args:
        with_steps: Gives the flow that takes so many steps.
        num_steps: Number of steps of the flow as it is.
        data: Rows ``(n, D)`` to score; the flow's own samples by default.
        num_points: Number of rows to use at most.
    """
    finest = with_steps(4 * num_steps)
    rows = finest.sample(num_points) if data is None else data[:num_points].reshape(-1, finest.dim)
    figures, notes = [], []
    for count in (num_steps, 2 * num_steps, 4 * num_steps):
        subject = with_steps(count)
        figures.append(-subject.log_prob(rows.to(finest.sample(1))).double().mean().item())
        notes.append(f"nt {count}: J_ML {figures[-1]:.4f}" + _extent(subject))
    change, where = abs(figures[1] - figures[0]), "samples" if data is None else "rows of data"
    return [
        Check.at_most(
            "steps",
            "J_ML on doubling the steps",
            change,
            _LIMIT,
            note=f"{len(rows)} {where}; {'; '.join(notes)}",
            finding=f"twice the steps change J_ML by {change:.2g} nats: it takes too few",
        )
    ]


def _extent(subject: Subject) -> str:
    gap = log_det_checks([subject])[0].figure
    mass = mass_checks([subject], tolerance=5e-4)[0].figure
    return f", log-det gap {gap:.1g}, mass {mass:.4f}"
