"""Checks of a trained model against what mathematics promises."""

from pyro_dgm.diagnostics.audit import audit
from pyro_dgm.diagnostics.audit_report import AuditReport, Check
from pyro_dgm.diagnostics.psis import PSIS, psis

__all__ = ["PSIS", "AuditReport", "Check", "audit", "psis"]
