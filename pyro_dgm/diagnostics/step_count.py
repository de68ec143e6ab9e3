"""Whether a continuous flow takes enough steps: its figures again with two and four times as many."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.diagnostics.audit_subject import Subject
from pyro_dgm.diagnostics.change_of_variables import log_det_checks

__all__ = ["step_count_checks"]

_LIMIT = 1e-3  # nats


def step_count_checks(
    with_steps: Callable[[int], Subject],
    num_steps: int,
    mass: float,
    data: Tensor | None,
    *,
    num_points: int = 1000,
) -> list[Check]:
    r"""Check that twice the number of steps changes J_ML by less than 1e-3 nats.

    With too few steps the integrated log-determinant is not that of the map that the steps make, and J_ML
    looks better than it is. The masses of the finer solves follow from the first, with samples of its own,

    .. math:: M_{2n} = M_n \, E_{y \sim p_n} \left[ p_{2n}(y) / p_n(y) \right]

    Args:
        with_steps: Gives the flow that takes so many steps.
        num_steps: Number of steps of the flow as it is.
        mass: Its mass.
        data: Rows ``(n, D)`` to score; the flow's own samples by default.
        num_points: Number of rows to use at most.
    """
    coarse = with_steps(num_steps)
    samples = coarse.sample(num_points)
    rows = samples if data is None else data[:num_points].reshape(-1, coarse.dim).to(samples)
    of_samples = coarse.log_prob(samples).double()
    checks, figures = [], []
    for count in (num_steps, 2 * num_steps, 4 * num_steps):
        subject = with_steps(count)
        figures.append(-subject.log_prob(rows).double().mean().item())
        ratio = (subject.log_prob(samples).double() - of_samples).exp().mean().item()
        note = f"log-det gap {log_det_checks([subject])[0].figure:.0e}, mass {mass * ratio:.4f}"
        checks.append(Check(f"nt_{count}", f"J_ML at nt = {count}", figures[-1], "", "no limit", note=note))
    change = abs(figures[1] - figures[0])
    where = "samples of its own" if data is None else "rows of data"
    return [
        *checks,
        Check.at_most(
            "steps",
            "J_ML on doubling the steps",
            change,
            _LIMIT,
            note=f"{len(rows)} {where}, as the rows above",
            finding=f"twice the steps change J_ML by {change:.2g} nats: it takes too few",
        ),
    ]
