"""Flows: modules that own networks and return a ``FlowDistribution`` when called."""

from pyro_dgm.flows.flow import Flow
from pyro_dgm.flows.planar import Planar
from pyro_dgm.flows.radial import Radial
from pyro_dgm.flows.real_nvp import RealNVP

__all__ = ["Flow", "Planar", "Radial", "RealNVP"]
