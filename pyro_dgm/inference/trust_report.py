"""The verdict on a posterior, in words and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.diagnostics.check_table import html_table, text_table

__all__ = ["TrustReport"]


@dataclass(frozen=True)
class TrustReport:
    """The result of :func:`~pyro_dgm.inference.trust`; ``print`` it.

    Attributes:
        subject: What was judged, in words.
        checks: The figures, in the order of the table. Those that could not be had are NaN, and their note
            says what is missing.
    """

    subject: str
    checks: Sequence[Check] = field(default_factory=tuple)

    def __getitem__(self, key: str) -> Check:
        for check in self.checks:
            if check.key == key:
                return check
        raise KeyError(f"this verdict has no figure {key!r}; it has {[check.key for check in self.checks]}")

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.verdict == "FAIL"]

    @property
    def missing(self) -> list[Check]:
        """The checks that could not be made."""
        return [check for check in self.checks if check.verdict != "FAIL" and math.isnan(check.figure)]

    @property
    def trusted(self) -> bool:
        """Whether something was held against a limit, and nothing failed or stayed undecided."""
        verdicts = [check.verdict for check in self.checks]
        return "pass" in verdicts and not {"FAIL", "not decided"} & set(verdicts)

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        if self.failures:
            return f"Do not trust it: {_joined(self.failures)}."
        weak = [c for c in self.checks if c.verdict == "not decided" and c not in self.missing]
        unknown = f" Not known: {_joined(self.missing)}." if self.missing else ""
        if weak:
            return f"Use it with care: {_joined(weak)}.{unknown}"
        passed = [check for check in self.checks if check.verdict == "pass"]
        if not passed:
            return f"Nothing is known about it.{unknown}"
        so_far = " so far" if any(check.key != "loo" for check in self.missing) else ""
        return f"Nothing speaks against it{so_far}: {_joined(passed)}.{unknown}"

    def __str__(self) -> str:
        return text_table(f"Can {self.subject} be trusted?", self.checks, self.sentence)

    def _repr_html_(self) -> str:
        return html_table(f"Can {self.subject} be trusted?", self.checks, self.sentence)


def _joined(checks: Sequence[Check]) -> str:
    return "; ".join(dict.fromkeys(check.finding.rstrip(".") or check.title for check in checks))
