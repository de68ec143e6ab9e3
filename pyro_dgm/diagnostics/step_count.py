"""Whether a continuous flow takes enough steps: its figures again with two and four times as many."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.diagnostics.audit_subject import Subject
from pyro_dgm.diagnostics.change_of_variables import log_det_checks

__all__ = ["MOST_STEPS", "StepCountWarning", "search_steps", "step_count_checks", "training_check"]

_LIMIT = 1e-3  # nats
MOST_STEPS = 512

WithSteps = Callable[[int], Subject]


class StepCountWarning(UserWarning):
    """Training saw another likelihood than the one that is reported, for it took fewer steps."""


def search_steps(j_ml: Callable[[int], float], limit: float = _LIMIT) -> int | None:
    """Return the number of steps, a power of two, from which doubling changes J_ML by less than ``limit``.

    Twice in a row, so that an accident does not count; None if 512 steps do not do.

    Args:
        j_ml: Gives J_ML in nats at a number of steps.
        limit: The change, in nats.
    """
    steps, calm = 1, 0
    before = j_ml(1)
    while steps < MOST_STEPS:
        after = j_ml(2 * steps)
        calm = calm + 1 if abs(after - before) < limit else 0
        if calm == 2:
            return steps // 2
        steps, before = 2 * steps, after
    return None


def training_check(j_ml: Callable[[int], float], nt_train: int, nt: int) -> Check:
    """Say how far the likelihood that training saw is from the reported one, and warn if it is far."""
    gap = j_ml(nt_train) - j_ml(nt)
    if not abs(gap) < 10 * _LIMIT:
        warnings.warn(
            f"with nt = {nt_train} as in training J_ML is {abs(gap):.2g} nats "
            f"{'better' if gap < 0 else 'worse'} than with nt = {nt}, at which it is reported: training "
            "curves do not show the likelihood of this density. Train with more steps, at least at the end.",
            StepCountWarning,
            stacklevel=3,
        )
    return Check(
        "training_steps",
        f"J_ML at nt = {nt_train} less that at {nt}",
        gap,
        "",
        "no limit",
        note="what training curves flatter it by, if negative",
    )


def step_count_checks(
    with_steps: WithSteps,
    num_steps: int,
    mass: float,
    data: Tensor | None,
    *,
    nt_train: int | None = None,
    num_points: int = 1000,
) -> list[Check]:
    r"""Check that twice the number of steps changes J_ML by less than 1e-3 nats, and find where that holds.

    With too few steps the integrated log-determinant is not that of the map that the steps make, and J_ML
    looks better than it is. The masses of the finer solves follow from the first, with samples of its own,

    .. math:: M_{2n} = M_n \, E_{y \sim p_n} \left[ p_{2n}(y) / p_n(y) \right]

    Args:
        with_steps: Gives the flow that takes so many steps.
        num_steps: Number of steps of the flow as it is.
        mass: Its mass.
        data: Rows ``(n, D)`` to score; the flow's own samples by default.
        nt_train: Number of steps in training; None if it is not known.
        num_points: Number of rows to use at most.

    Returns:
        J_ML, mass and errors at one, two and four times as many steps; ``steps``, the change on doubling;
        ``converged_steps``, from where on it is small; and ``training_steps``, what training saw.
    """
    coarse = with_steps(num_steps)
    samples = coarse.sample(num_points)
    rows = samples if data is None else data[:num_points].reshape(-1, coarse.dim).to(samples)
    of_samples = coarse.log_prob(samples).double()
    known: dict[int, float] = {}

    def j_ml(count: int) -> float:
        if count not in known:
            known[count] = -with_steps(count).log_prob(rows).double().mean().item()
        return known[count]

    checks = []
    for count in (num_steps, 2 * num_steps, 4 * num_steps):
        subject = with_steps(count)
        ratio = (subject.log_prob(samples).double() - of_samples).exp().mean().item()
        gap = log_det_checks([subject])[0].figure
        note = f"log-det gap {gap:.0e}, inverse error {_inverse_error(subject):.0e}, mass {mass * ratio:.4f}"
        checks.append(Check(f"nt_{count}", f"J_ML at nt = {count}", j_ml(count), "", "no limit", note=note))
    change = abs(j_ml(2 * num_steps) - j_ml(num_steps))
    where = "samples of its own" if data is None else "rows of data"
    converged = search_steps(j_ml)
    checks += [
        Check.at_most(
            "steps",
            "J_ML on doubling the steps",
            change,
            _LIMIT,
            note=f"{len(rows)} {where}, as the rows above",
            finding=f"twice the steps change J_ML by {change:.2g} nats: it takes too few",
        ),
        Check.at_most(
            "converged_steps",
            "steps from which that holds",
            float("nan") if converged is None else converged,
            MOST_STEPS,
            note=f"nt of evaluation {num_steps}" + ("" if nt_train is None else f", of training {nt_train}"),
            finding=f"J_ML does not settle within {MOST_STEPS} steps",
        ),
    ]
    if nt_train is not None:
        checks.append(training_check(j_ml, nt_train, max(num_steps, converged or MOST_STEPS)))
    return checks


def _inverse_error(subject: Subject) -> float:
    """The largest error of a round trip from 100 latents, relative to the latent's size if above one."""
    x = subject.base_points(100, 1.0)
    back = subject.pull(subject.push(x)[0])[0]
    return ((back - x).abs() / x.abs().clamp(min=1)).max().item()
