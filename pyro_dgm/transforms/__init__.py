"""Bijections as ``torch.distributions`` transforms: maths only, one family a file."""

from pyro_dgm.transforms.adaptive import AdaptiveSteps
from pyro_dgm.transforms.affine_coupling import AffineCoupling
from pyro_dgm.transforms.autoregressive import Autoregressive
from pyro_dgm.transforms.bernstein import Bernstein
from pyro_dgm.transforms.bijection import Bijection, Composed, Inverted
from pyro_dgm.transforms.channel_affine import ChannelAffine
from pyro_dgm.transforms.channel_coupling import ChannelCoupling
from pyro_dgm.transforms.circular import CircularRationalQuadratic, wrapped
from pyro_dgm.transforms.columns import ColumnBijection, ColumnStack
from pyro_dgm.transforms.continuous import ContinuousTransform
from pyro_dgm.transforms.coupling import Coupling, Couplings
from pyro_dgm.transforms.deep_sigmoidal import DeepSigmoidal
from pyro_dgm.transforms.diagonal_scale import DiagonalScale
from pyro_dgm.transforms.elementwise import Additive, Affine, Elementwise, Gated
from pyro_dgm.transforms.factor_out import FactorOut
from pyro_dgm.transforms.logit import Logit
from pyro_dgm.transforms.lower_cholesky import LowerCholesky
from pyro_dgm.transforms.lu_linear import LULinearTransform
from pyro_dgm.transforms.mixture_of_normals import MixtureOfNormals
from pyro_dgm.transforms.monotone import Monotone
from pyro_dgm.transforms.monotone_integral import MonotoneIntegral
from pyro_dgm.transforms.one_pass import OnePass
from pyro_dgm.transforms.onto_support import OntoSupport
from pyro_dgm.transforms.ot_flow import OTFlowTransform
from pyro_dgm.transforms.per_row import PerRow
from pyro_dgm.transforms.permutation import PermutationTransform
from pyro_dgm.transforms.piecewise_linear import PiecewiseLinear
from pyro_dgm.transforms.planar import PlanarTransform
from pyro_dgm.transforms.probe import Probe
from pyro_dgm.transforms.radial import RadialTransform
from pyro_dgm.transforms.rational_quadratic import RationalQuadratic
from pyro_dgm.transforms.reshaped import Entrywise, Flattened
from pyro_dgm.transforms.runge_kutta import EULER, MIDPOINT, RK4, Tableau, runge_kutta
from pyro_dgm.transforms.solver import FixedSteps, Solver
from pyro_dgm.transforms.squeeze import Squeeze, squeeze, unsqueeze
from pyro_dgm.transforms.stick_breaking import StickBreaking
from pyro_dgm.transforms.successive import Successive
from pyro_dgm.transforms.sum_of_squares import SumOfSquares
from pyro_dgm.transforms.sylvester import SylvesterTransform
from pyro_dgm.transforms.triangular_affine import TriangularAffine
from pyro_dgm.transforms.zuko_bijection import ZukoBijection

__all__ = [
    "EULER",
    "MIDPOINT",
    "RK4",
    "AdaptiveSteps",
    "Additive",
    "Affine",
    "AffineCoupling",
    "Autoregressive",
    "Bernstein",
    "Bijection",
    "ChannelAffine",
    "ChannelCoupling",
    "CircularRationalQuadratic",
    "ColumnBijection",
    "ColumnStack",
    "Composed",
    "ContinuousTransform",
    "Coupling",
    "Couplings",
    "DeepSigmoidal",
    "DiagonalScale",
    "Elementwise",
    "Entrywise",
    "FactorOut",
    "FixedSteps",
    "Flattened",
    "Gated",
    "Inverted",
    "LULinearTransform",
    "Logit",
    "LowerCholesky",
    "MixtureOfNormals",
    "Monotone",
    "MonotoneIntegral",
    "OTFlowTransform",
    "OnePass",
    "OntoSupport",
    "PerRow",
    "PermutationTransform",
    "PiecewiseLinear",
    "PlanarTransform",
    "Probe",
    "RadialTransform",
    "RationalQuadratic",
    "Solver",
    "Squeeze",
    "StickBreaking",
    "Successive",
    "SumOfSquares",
    "SylvesterTransform",
    "Tableau",
    "TriangularAffine",
    "ZukoBijection",
    "runge_kutta",
    "squeeze",
    "unsqueeze",
    "wrapped",
]
