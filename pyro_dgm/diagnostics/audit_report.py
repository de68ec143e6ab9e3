"""What an audit says: figures beside their limits, and one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pyro_dgm.diagnostics.check_table import html_table, text_table

__all__ = ["AuditReport", "Check", "Verdict"]

Verdict = Literal["pass", "FAIL", "not decided", "no limit"]


@dataclass(frozen=True)
class Check:
    """One figure of an audit beside its limit.

    Attributes:
        key: Short name, as in ``report["mass"]``.
        title: What was measured.
        figure: The figure; NaN if it could not be computed.
        limit: What it was held against, in words.
        verdict: ``"pass"``, ``"FAIL"``, ``"not decided"`` where the figure is not good enough to tell, or
            ``"no limit"`` where none is known.
        error: Standard error or error bound of the figure, if it has one.
        note: How it was measured.
        finding: What a failure, or what cannot be decided, means, for the sentence at the end.
    """

    key: str
    title: str
    figure: float
    limit: str
    verdict: Verdict
    error: float | None = None
    note: str = ""
    finding: str = ""

    @classmethod
    def at_most(
        cls, key: str, title: str, figure: float, limit: float, *, note: str = "", finding: str = ""
    ) -> Check:
        """Return a check that passes below ``limit``, and fails above it or if the figure is not finite."""
        verdict: Verdict = "pass" if figure < limit else "FAIL"
        return cls(key, title, figure, f"< {limit:.0e}", verdict, note=note, finding=finding)

    @classmethod
    def impossible(cls, key: str, title: str, reason: str) -> Check:
        """Return a failure to compute the figure at all."""
        return cls(key, title, math.nan, "finite", "FAIL", note=reason, finding=reason)

    @property
    def figure_text(self) -> str:
        """The figure as printed, with its error."""
        if math.isnan(self.figure) and self.verdict != "FAIL":
            return "missing"
        text = f"{self.figure:.5g}" if self.key != "mass" else f"{self.figure:.6g}"
        return text if self.error is None else f"{text} ± {self.error:.1g}"


@dataclass(frozen=True)
class AuditReport:
    """The result of :func:`~pyro_dgm.diagnostics.audit`; ``print`` it.

    Attributes:
        subject: What was audited, in words.
        checks: The figures, in the order of the table.
    """

    subject: str
    checks: Sequence[Check] = field(default_factory=tuple)

    def __getitem__(self, key: str) -> Check:
        for check in self.checks:
            if check.key == key:
                return check
        raise KeyError(f"this audit has no figure {key!r}; it has {[check.key for check in self.checks]}")

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.verdict == "FAIL"]

    @property
    def undecided(self) -> list[Check]:
        """The checks whose figures are not good enough to tell."""
        return [check for check in self.checks if check.verdict == "not decided"]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing was left undecided."""
        return not self.failures and not self.undecided

    @property
    def mass(self) -> float:
        """The integral of ``exp(log_prob)``."""
        return self._figure("mass")

    @property
    def log_det(self) -> float:
        """The largest difference between the claimed log-determinant and autograd's, in nats."""
        return self._figure("log_det")

    @property
    def round_trip(self) -> float:
        """The largest relative error of both round trips in the flow's own precision."""
        return max(self._figure("round_trip_latent"), self._figure("round_trip_data"))

    @property
    def J_ML(self) -> float:
        """The mean negative log-density of the data, in nats; NaN if there was none."""
        return self._figure("J_ML")

    @property
    def kl(self) -> float:
        """``J_ML`` minus the data's entropy, in nats; NaN if that is not known."""
        return self._figure("KL")

    @property
    def sentence(self) -> str:
        """The verdict in plain words, and whether the data are another's."""
        others = next((c.finding for c in self.checks if c.key == "marginals"), "")
        return f"{self._verdict()} {others}".rstrip()

    def _verdict(self) -> str:
        if self.failures:
            found = "; ".join(dict.fromkeys(check.finding or check.title for check in self.failures))
            return f"{self._warning()} {found}."
        if self.undecided:
            found = "; ".join(check.finding or check.title for check in self.undecided)
            return f"Nothing wrong was found, but this is not proved to be a density: {found}."
        parts = []
        if not math.isnan(self.mass):
            parts.append(f"its mass is {self['mass'].figure_text}")
        if not math.isnan(self.log_det):
            parts.append("its log-determinant is that of its Jacobian")
            parts.append("its two directions undo each other")
        close = "" if math.isnan(self.kl) else f" The data lie {self.kl:.3f} nats (KL) from it."
        return f"This flow is a density: {', '.join(parts)}.{close}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that ``json`` can write; figures that are not finite become None."""
        rows = [
            {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in asdict(check).items()
            }
            for check in self.checks
        ]
        head = {"subject": self.subject, "passed": self.passed, "sentence": self.sentence}
        return {**head, "checks": rows}

    def __str__(self) -> str:
        return text_table(f"Audit of {self.subject}", self.checks, self.sentence)

    def _repr_html_(self) -> str:
        return html_table(f"Audit of {self.subject}", self.checks, self.sentence)

    def _warning(self) -> str:
        failed = {check.key for check in self.failures}
        if any(not key.startswith("round_trip") for key in failed):
            return "Do not trust its log_prob:"
        if self._figure("round_trip_double") < 1e-10:
            return "Exact in float64 (use .double()), but do not trust its inverse here:"
        return "Do not trust its inverse:"

    def _figure(self, key: str) -> float:
        return next((check.figure for check in self.checks if check.key == key), math.nan)
