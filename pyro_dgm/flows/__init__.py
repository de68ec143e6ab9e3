"""Flows: modules that own networks and return a ``FlowDistribution`` when called."""

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.flows.flow import Flow
from pyro_dgm.flows.iaf import IAF
from pyro_dgm.flows.maf import MAF
from pyro_dgm.flows.neural_spline import NeuralSpline, NeuralSplineAutoregressive
from pyro_dgm.flows.nice import NICE
from pyro_dgm.flows.ot_flow import OTFlow
from pyro_dgm.flows.planar import Planar
from pyro_dgm.flows.radial import Radial
from pyro_dgm.flows.real_nvp import RealNVP

__all__ = [
    "IAF",
    "MAF",
    "NICE",
    "AutoregressiveFlow",
    "Flow",
    "NeuralSpline",
    "NeuralSplineAutoregressive",
    "OTFlow",
    "Planar",
    "Radial",
    "RealNVP",
]
