"""Checks of a trained model against what mathematics promises."""

from pyro_dgm.diagnostics.audit import audit
from pyro_dgm.diagnostics.audit_report import AuditReport, Check
from pyro_dgm.diagnostics.psis import PSIS, psis
from pyro_dgm.diagnostics.step_count import StepCountWarning

__all__ = [
    "PSIS",
    "AuditReport",
    "Check",
    "StepCountWarning",
    "audit",
    "psis",
]
