"""Distributions: flows, implicit distributions, likelihoods, priors, targets with known density."""

from pyro_dgm.distributions.banana_mixture import BananaMixture
from pyro_dgm.distributions.discretized_logistic import DiscretizedLogistic
from pyro_dgm.distributions.divergences import kl_by_dimension  # registers closed forms
from pyro_dgm.distributions.energies import Energy
from pyro_dgm.distributions.flow_distribution import FlowDistribution
from pyro_dgm.distributions.gaussian_ring import GaussianRing
from pyro_dgm.distributions.implicit_distribution import ImplicitDistribution
from pyro_dgm.distributions.known_density import KnownDensity
from pyro_dgm.distributions.normal_mixture import NormalMixture
from pyro_dgm.distributions.path_flow_distribution import PathFlowDistribution
from pyro_dgm.distributions.standard_base import StandardBase
from pyro_dgm.distributions.standard_logistic import StandardLogistic
from pyro_dgm.distributions.standard_normal import StandardNormal
from pyro_dgm.distributions.standard_torus import StandardTorus
from pyro_dgm.distributions.tilted_uniform import TiltedUniform
from pyro_dgm.distributions.two_moons import TwoMoons
from pyro_dgm.distributions.uniform_on_boxes import UniformOnBoxes
from pyro_dgm.distributions.vamp_prior import VampPrior

__all__ = [
    "BananaMixture",
    "DiscretizedLogistic",
    "Energy",
    "FlowDistribution",
    "GaussianRing",
    "ImplicitDistribution",
    "KnownDensity",
    "NormalMixture",
    "PathFlowDistribution",
    "StandardBase",
    "StandardLogistic",
    "StandardNormal",
    "StandardTorus",
    "TiltedUniform",
    "TwoMoons",
    "UniformOnBoxes",
    "VampPrior",
    "kl_by_dimension",
]
