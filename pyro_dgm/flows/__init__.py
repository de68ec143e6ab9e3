"""Flows: modules that own networks and return a ``FlowDistribution`` when called."""

from pyro_dgm.flows.act_norm import ActNorm
from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.flows.batch_norm import BatchNorm
from pyro_dgm.flows.circular_spline import CircularSpline
from pyro_dgm.flows.cnf import CNF
from pyro_dgm.flows.composition import Composition
from pyro_dgm.flows.coupling_flow import CouplingFlow
from pyro_dgm.flows.embedded import Embedded, Given
from pyro_dgm.flows.ffjord import FFJORD
from pyro_dgm.flows.flow import Flow
from pyro_dgm.flows.from_zuko import ZukoFlow, from_zuko
from pyro_dgm.flows.glow import Glow
from pyro_dgm.flows.iaf import IAF
from pyro_dgm.flows.image_flow import ImageFlow
from pyro_dgm.flows.lu_linear import LULinear
from pyro_dgm.flows.maf import MAF
from pyro_dgm.flows.neural_autoregressive import NAF, UNAF
from pyro_dgm.flows.neural_spline import NeuralSpline, NeuralSplineAutoregressive
from pyro_dgm.flows.neural_spline_image import NeuralSplineImage
from pyro_dgm.flows.nice import NICE
from pyro_dgm.flows.ot_flow import OTFlow
from pyro_dgm.flows.permutation import Permutation
from pyro_dgm.flows.planar import Planar
from pyro_dgm.flows.polynomial import BernsteinFlow, SumOfSquaresFlow
from pyro_dgm.flows.radial import Radial
from pyro_dgm.flows.real_nvp import RealNVP
from pyro_dgm.flows.real_nvp_image import RealNVPImage
from pyro_dgm.flows.sylvester import Sylvester
from pyro_dgm.flows.whitened import Whitened

__all__ = [
    "CNF",
    "FFJORD",
    "IAF",
    "MAF",
    "NAF",
    "NICE",
    "UNAF",
    "ActNorm",
    "AutoregressiveFlow",
    "BatchNorm",
    "BernsteinFlow",
    "CircularSpline",
    "Composition",
    "CouplingFlow",
    "Embedded",
    "Flow",
    "Given",
    "Glow",
    "ImageFlow",
    "LULinear",
    "NeuralSpline",
    "NeuralSplineAutoregressive",
    "NeuralSplineImage",
    "OTFlow",
    "Permutation",
    "Planar",
    "Radial",
    "RealNVP",
    "RealNVPImage",
    "SumOfSquaresFlow",
    "Sylvester",
    "Whitened",
    "ZukoFlow",
    "from_zuko",
]
