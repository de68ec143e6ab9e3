"""What simulation-based calibration found, in one table and one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from pyro_dgm.diagnostics import Calibration
from pyro_dgm.diagnostics.audit_report import Check, Verdict
from pyro_dgm.diagnostics.check_table import html_table, text_table

__all__ = ["CalibrationRun"]

_LEVEL = 0.01


@dataclass(frozen=True)
class CalibrationRun:
    """The result of :func:`~pyro_dgm.inference.simulation_based_calibration`; ``print`` it.

    Attributes:
        truth: The true value of each site in each data set, ``(n, *site)``.
        draws: The posterior draws, ``(n, L, *site)``.
        marginal: Ranks of the truths, for each quantity by itself.
        joint: Ranks of their distance from random points, which see wrong correlations too.
    """

    truth: dict[str, Tensor] = field(repr=False)
    draws: dict[str, Tensor] = field(repr=False)
    marginal: Calibration
    joint: Calibration

    @property
    def checks(self) -> list[Check]:
        """One figure for each quantity and one for all together: the p-value of even ranks."""
        marginal = self.marginal
        level = _LEVEL / len(marginal.names)
        faults = marginal.faults
        rows = [
            self._check(name, f"ranks of {name}", p, level, faults.get(name, ""), _covered(half, most))
            for name, p, half, most in zip(
                marginal.names,
                marginal.p_values.tolist(),
                marginal.coverage(0.5).tolist(),
                marginal.coverage(0.9).tolist(),
                strict=True,
            )
        ]
        if len(marginal.names) > 1:
            p, shares = self.joint.p_values.item(), [self.joint.coverage(c).item() for c in (0.5, 0.9)]
            fault = "the quantities do not go together as they should, as with a wrong correlation"
            rows.append(self._check("joint", "distances (TARP)", p, _LEVEL, fault, _covered(*shares)))
        return rows

    @property
    def calibrated(self) -> bool:
        """Whether no ranks are uneven."""
        return all(check.verdict == "pass" for check in self.checks)

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        faults = [check.finding for check in self.checks if check.verdict == "FAIL"]
        if faults:
            return f"These posteriors are wrong: {'; '.join(faults)}."
        size = len(self.marginal.ranks)
        return f"Nothing speaks against these posteriors: the truth of {size} data sets ranks evenly in them."

    def __str__(self) -> str:
        return text_table(self._title(), self.checks, self.sentence)

    def _repr_html_(self) -> str:
        return html_table(self._title(), self.checks, self.sentence)

    def _title(self) -> str:
        size = len(self.marginal.ranks)
        return (
            f"Are {size} truths as likely as any of {self.marginal.num_draws} draws of their posteriors? "
            "(figures: p-values of even ranks)"
        )

    def _check(self, key: str, title: str, p: float, level: float, fault: str, note: str) -> Check:
        verdict: Verdict = "pass" if p > level else "FAIL"
        return Check(key, title, p, f"> {level:.1g}", verdict, note=note, finding=fault)


def _covered(half: float, most: float) -> str:
    return f"50%, 90% intervals hold the truth in {half:.0%}, {most:.0%}"
