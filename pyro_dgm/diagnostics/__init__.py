"""Checks of a trained model against what mathematics promises."""

from pyro_dgm.diagnostics.audit import audit
from pyro_dgm.diagnostics.audit_report import AuditReport, Check

__all__ = ["AuditReport", "Check", "audit"]
