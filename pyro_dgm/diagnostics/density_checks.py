"""Checks of a density: its mass, its samples, and its likelihood against the entropy of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check, Verdict
from pyro_dgm.diagnostics.audit_subject import Subject
from pyro_dgm.diagnostics.importance_mass import importance_mass
from pyro_dgm.diagnostics.quadrature import integrate_density

__all__ = ["MASS_LIMIT", "likelihood_checks", "mass_checks"]

MASS_LIMIT = 1e-3
_MAX_STANDARD_ERROR = 0.05  # of an importance-sampled mass: above it, 3 of them hide too much
_NUM_SAMPLES = 4096
_FINEST = 1e-3  # nats, below which a mean log-density is not resolved


def mass_checks(subjects: Sequence[Subject], *, num_draws: int = 20_000) -> list[Check]:
    """Check that the density integrates to one, and that the samples are drawn from it.

    By adaptive quadrature in one and two dimensions, by importance sampling above. Of several subjects the
    worst is reported.
    """
    pairs = [_mass_and_samples(subject, num_draws) for subject in subjects]
    return [max(column, key=_badness) for column in zip(*pairs, strict=True)]


def likelihood_checks(log_prob: Tensor, entropy: float | None) -> list[Check]:
    """Check that the data are not likelier than their entropy allows: J_ML >= H(X).

    Args:
        log_prob: The log-density of each row of data, in nats.
        entropy: The entropy H(X) of the data in nats, if it is known.
    """
    surprise = -log_prob.double()
    j_ml, rows = surprise.mean().item(), len(surprise)
    error = surprise.std().item() / math.sqrt(rows) if rows > 1 else math.nan
    note = f"nats, {rows} rows"
    if not surprise.isfinite().all():
        bad = int((~surprise.isfinite()).sum())
        finding = f"log_prob is not finite at {bad} of {rows} rows of data"
        return [Check("J_ML", "J_ML of the data", j_ml, "finite", "FAIL", None, note, finding)]
    if entropy is None:
        return [Check("J_ML", "J_ML of the data", j_ml, "H(X) unknown", "no limit", error, note)]
    kl = j_ml - entropy
    possible = kl >= -3 * error
    finding = f"J_ML is {-kl:.3g} nats below the entropy of the data, which no density can be"
    return [
        Check(
            "J_ML",
            "J_ML of the data",
            j_ml,
            f">= {entropy:.4f} - 3 SE",
            "pass" if possible else "FAIL",
            error,
            f"{note}; the limit is the entropy H(X)",
            finding,
        ),
        Check("KL", "KL(data, flow) = J_ML - H(X)", kl, "", "no limit", error, "nats"),
    ]


def _mass_and_samples(subject: Subject, num_draws: int) -> tuple[Check, Check]:
    samples = subject.sample(_NUM_SAMPLES)
    place = f"; {subject.name}" if subject.name else ""
    if not samples.isfinite().all():
        reason = f"{int((~samples.isfinite().all(-1)).sum())} of {len(samples)} samples are not finite{place}"
        return Check.impossible("mass", "mass", reason), Check.impossible("samples", "samples", reason)

    def log_density(points: Tensor) -> Tensor:
        return subject.log_prob(points.to(samples))

    if subject.dim <= 2:
        found = integrate_density(log_density, samples.cpu())
        mass, error, bad_point = found.mass, found.error, found.bad_point
        mean, mean_error = found.mean_log_prob, error * (1 + abs(found.mean_log_prob))
        window = " x ".join(f"[{low:.3g}, {high:.3g}]" for low, high in zip(*found.window, strict=True))
        note = f"adaptive quadrature on {window}, {found.num_points} points{place}"
        off = abs(mass - 1)
        verdict: Verdict = (
            "pass" if off + error <= MASS_LIMIT else "FAIL" if off - error > MASS_LIMIT else "not decided"
        )
        limit = f"1 ± {MASS_LIMIT:.0e}"
    else:
        drawn = importance_mass(log_density, samples.cpu(), num_draws=num_draws)
        mass, error, bad_point = drawn.mass, drawn.standard_error, drawn.bad_point
        mean, mean_error = drawn.mean_log_prob, drawn.mean_log_prob_error
        note = (
            f"importance sampling from a Student t, {num_draws} draws worth "
            f"{drawn.effective_draws:.0f}, k-hat {drawn.k_hat:.2f}{place}"
        )
        reliable = drawn.is_reliable and error <= _MAX_STANDARD_ERROR * max(1.0, mass)
        verdict = "not decided" if not reliable else "pass" if abs(mass - 1) <= 3 * error else "FAIL"
        limit = "1 ± 3 SE"
    if bad_point is not None:
        where = ", ".join(f"{c:.3g}" for c in bad_point[:4])
        reason = f"log_prob is NaN or infinite at ({where}){place}"
        return Check.impossible("mass", "mass", reason), Check.impossible("samples", "samples", reason)
    finding = f"the mass is {mass:.4g}"
    if verdict == "not decided":
        finding += f" ± {error:.1g}, too rough to tell ({note})"
    check = Check("mass", "mass of exp(log_prob)", mass, limit, verdict, error, note, finding)
    return check, _samples_check(subject.log_prob(samples), mean, mean_error, verdict, place)


def _samples_check(log_prob: Tensor, mean: float, mean_error: float, mass: Verdict, place: str) -> Check:
    """Compare the mean log-density of the samples with that of the density itself."""
    error = math.hypot(log_prob.double().std().item() / math.sqrt(len(log_prob)), mean_error)
    z = abs(log_prob.double().mean().item() - mean) / max(error, _FINEST)
    verdict: Verdict = "not decided" if mass == "not decided" else "pass" if z < 4 else "FAIL"
    finding = f"its samples are not drawn from its density ({z:.1f} SE apart)"
    if verdict == "not decided":
        finding = "so its samples could not be held against it"
    return Check(
        "samples",
        "samples against the density",
        z,
        "< 4 SE",
        verdict,
        note=f"mean log_prob of {len(log_prob)} samples against that under the density{place}",
        finding=finding,
    )


def _badness(check: Check) -> tuple[int, float]:
    rank = ("no limit", "pass", "not decided", "FAIL").index(check.verdict)
    return rank, abs(check.figure - (1.0 if check.key == "mass" else 0.0))
