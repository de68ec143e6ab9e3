"""Is this flow a density? Its figures beside what mathematics demands of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_dgm.diagnostics.audit_report import AuditReport, Check
from pyro_dgm.diagnostics.audit_rows import (
    check_event,
    draws_beside,
    few_contexts,
    log_prob_of,
    rows_and_entropy,
)
from pyro_dgm.diagnostics.audit_subject import Subject, double_copy, subjects_of
from pyro_dgm.diagnostics.change_of_variables import log_det_checks, round_trip_checks
from pyro_dgm.diagnostics.density_checks import likelihood_checks, mass_checks
from pyro_dgm.diagnostics.marginals import marginal_check
from pyro_dgm.diagnostics.step_count import step_count_checks
from pyro_dgm.errors import DataError
from pyro_dgm.models.generative_model import GenerativeModel, evaluating, seeded
from pyro_dgm.models.normalizing_flow import NormalizingFlow

__all__ = ["audit"]

_MAX_ROWS = 2000  # of which columns are compared
_SOLVER_ROUND_TRIP, _SOLVER_LOG_DET = 1e-3, 1e-2


def audit(
    flow: nn.Module | Distribution,
    data: Any = None,
    *,
    context: Tensor | None = None,
    entropy: float | None = None,
    num_points: int = 1000,
    num_data: int = 20_000,
    num_draws: int = 20_000,
    seed: int = 0,
) -> AuditReport:
    r"""Check that a flow is the density that it claims to be.

    - Both round trips, latent to data to latent and data to latent to data.
    - The log-determinant against ``slogdet`` of autograd's Jacobian at 50 points, in float64 where a copy of
      the flow can be made; forward and inverse log-determinants sum to zero; ``log_prob`` is what follows.
    - The mass of ``exp(log_prob)``, by adaptive quadrature in one and two dimensions and by importance
      sampling above, where the verdict is "not decided" if the estimate cannot be trusted. The samples'
      mean log-density is that of the density.
    - With data: :math:`J_{ML} = -\frac1n \sum_i \log p(x_i)`, and, where the entropy of the data is known,
      :math:`J_{ML} \geq H(X) - 3\,SE`, since :math:`J_{ML} - H(X)` is a Kullback-Leibler divergence. And the
      columns of as many draws beside those of the data: a density may be another's.
    - For a flow that takes a number of steps ``nt_eval``: the same with two and four times as many, and the
      number from which doubling it changes J_ML by less than 1e-3 nats. The likelihood of the data is
      reported at that number, if it is larger. A :class:`StepCountWarning` says that the steps of training,
      ``nt_train``, see another likelihood by more than 1e-2 nats.

    The flow, its mode and the random state are left as they were.

    Args:
        flow: A flow, a :class:`~pyro_dgm.models.NormalizingFlow`, any torch distribution (Pyro's and zuko's
            flows too), or any module that gives one when called.
        data: Rows ``(n, *event)`` as a tensor or array, or something to draw ``num_data`` fresh rows from: a
            distribution, or an object with ``sample(n)``. Its ``entropy`` is used where it has one.
        context: For a conditional flow: one row ``(C,)``, or several ``(k, C)``, of which at most 4 are
            looked at, evenly spaced. With ``data``, one row for all or one for each row of data.
        entropy: The entropy H(X) of the data in nats, if it is known.
        num_points: Number of points of each round trip.
        num_data: Number of fresh rows to draw from ``data``.
        num_draws: Number of draws of importance sampling.
        seed: Seed of every random number used here.

    Returns:
        The report: ``print(report)`` shows the table, ``report.passed`` says it in one word.

    Raises:
        DataError: If the data are empty or not finite, or do not fit the context.
        ShapeError: If the rows have another shape than the flow's events.
        NotImplementedError: If the model has no exact density to check.
        TypeError: If ``flow`` is neither a distribution nor gives one.

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> report = audit(RealNVP(2, hidden_dims=(16,)), entropy=None)
        >>> report.passed, round(report.mass, 3)
        (True, 1.0)
    """
    flow = _density_of(flow)
    with torch.no_grad(), seeded(seed), ExitStack() as stack:
        if isinstance(flow, nn.Module):
            stack.enter_context(evaluating(flow))
        rows, known = rows_and_entropy(data, num_data)
        few = few_contexts(context)
        subjects, doubles = subjects_of(flow, few), double_copy(flow, few)
        check_event(rows, subjects[0].event_shape)
        num_steps = getattr(flow, "nt_eval", None)
        adaptive = getattr(flow, "solver", None) == "dopri5"
        trip_limit, log_det_limit = (_SOLVER_ROUND_TRIP, _SOLVER_LOG_DET) if num_steps else (None, None)
        checks: list[Check] = []
        if subjects[0].has_transform:
            same_rows = rows if len(subjects) == 1 else None
            checks += _attempt(
                "round_trip",
                "round trips",
                lambda: round_trip_checks(
                    subjects, doubles, num_points, data=same_rows, solver_limit=trip_limit
                ),
            )
            checks += _attempt(
                "log_det",
                "log-determinant",
                lambda: log_det_checks(doubles or subjects, solver_limit=log_det_limit),
            )
        checks += (masses := _attempt("mass", "mass", lambda: mass_checks(subjects, num_draws=num_draws)))
        steps: list[Check] = []
        if isinstance(num_steps, int) and not adaptive and len(subjects) == 1:
            steps = _attempt(
                "steps",
                "number of steps",
                lambda: step_count_checks(
                    lambda nt: subjects_of(_with_steps(flow, nt), few)[0],
                    num_steps,
                    masses[0].figure,
                    rows,
                    nt_train=getattr(flow, "nt_train", None),
                ),
            )
        if rows is not None:
            entropy = known if entropy is None else entropy
            finest = _finest(flow, steps)
            checks += _attempt(
                "J_ML", "J_ML", lambda: likelihood_checks(log_prob_of(finest, rows, context), entropy)
            )
            some = rows[:_MAX_ROWS]
            checks += _attempt(
                "marginals", "draws", lambda: marginal_check(draws_beside(finest, some, context), some)
            )
        checks += steps
    return AuditReport(_describe(flow, subjects), tuple(checks))


def _density_of(flow: Any) -> Any:
    if isinstance(flow, NormalizingFlow):
        return flow.flow
    if isinstance(flow, GenerativeModel) and not flow.capabilities.has_log_prob:
        flow.log_prob(torch.zeros(1))  # says why there is none, and what to use instead
    return flow


def _attempt(key: str, title: str, checks: Callable[[], list[Check]]) -> list[Check]:
    """What the checks find, or the failure to compute them: a flow that raises is not a density either."""
    try:
        return checks()
    except DataError:
        raise
    except Exception as error:
        message = str(error).splitlines()[0][:120] if str(error) else ""
        return [Check.impossible(key, title, f"raised {type(error).__name__}: {message}".rstrip(": "))]


def _with_steps(flow: Any, num_steps: int) -> Any:
    twin = copy.deepcopy(flow)
    twin.nt_eval = num_steps
    return twin


def _finest(flow: Any, steps: list[Check]) -> Any:
    """The flow with as many steps as its likelihood needs."""
    found = [check.figure for check in steps if check.key == "converged_steps" and check.verdict == "pass"]
    return _with_steps(flow, int(found[0])) if found and found[0] > flow.nt_eval else flow


def _describe(flow: Any, subjects: list[Subject]) -> str:
    one = subjects[0]
    members = f", {len(subjects)} {one.name.rsplit(' ', 1)[0]}s" if len(subjects) > 1 else ""
    shape = "x".join(map(str, one.event_shape)) or "scalar"
    return f"{type(flow).__name__}: events {shape}, {str(one.dtype).removeprefix('torch.')}{members}"
