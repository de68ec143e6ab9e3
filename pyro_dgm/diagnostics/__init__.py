"""Checks of a trained model against what mathematics promises."""

from pyro_dgm.diagnostics.audit import audit
from pyro_dgm.diagnostics.audit_report import AuditReport, Check
from pyro_dgm.diagnostics.calibration import calibration, tarp
from pyro_dgm.diagnostics.calibration_report import Calibration
from pyro_dgm.diagnostics.intrinsic_dimension import DimensionEstimate, levina_bickel, two_nn
from pyro_dgm.diagnostics.latents import (
    LatentReport,
    active_units,
    aggregate_posterior,
    latent_report,
    posterior_draws,
    rate_distortion,
)
from pyro_dgm.diagnostics.leave_one_out import LeaveOneOut, leave_one_out
from pyro_dgm.diagnostics.posterior_plane import PosteriorPlane, posterior_plane
from pyro_dgm.diagnostics.psis import PSIS, psis
from pyro_dgm.diagnostics.settled_steps import with_settled_steps
from pyro_dgm.diagnostics.step_count import StepCountWarning

__all__ = [
    "PSIS",
    "AuditReport",
    "Calibration",
    "Check",
    "DimensionEstimate",
    "LatentReport",
    "LeaveOneOut",
    "PosteriorPlane",
    "StepCountWarning",
    "active_units",
    "aggregate_posterior",
    "audit",
    "calibration",
    "latent_report",
    "leave_one_out",
    "levina_bickel",
    "posterior_draws",
    "posterior_plane",
    "psis",
    "rate_distortion",
    "tarp",
    "two_nn",
    "with_settled_steps",
]
