"""What composes and trains a flow on the user's behalf, for inference in other models."""

from pyro_dgm.inference.adversarial_posterior import adversarial_posterior
from pyro_dgm.inference.calibration_run import CalibrationRun
from pyro_dgm.inference.check_guide import check_guide
from pyro_dgm.inference.draws_of import PosteriorDraws, draws_of
from pyro_dgm.inference.flow_from_samples import flow_from_samples
from pyro_dgm.inference.flow_prior import FlowPrior
from pyro_dgm.inference.implicit_posterior import ImplicitPosterior
from pyro_dgm.inference.importance_draws import ImportanceDraws, importance_draws
from pyro_dgm.inference.independence_metropolis import IndependenceChains, independence_metropolis
from pyro_dgm.inference.map_estimate import MapEstimate, map_estimate
from pyro_dgm.inference.neural_posterior import NeuralPosterior
from pyro_dgm.inference.neutra import NutsRun, neutra, nuts
from pyro_dgm.inference.posterior_estimation import neural_posterior
from pyro_dgm.inference.predictive_check import PredictiveCheck, predictive_check
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.simulation_based_calibration import simulation_based_calibration
from pyro_dgm.inference.site_vector import SiteVector
from pyro_dgm.inference.to_arviz import to_arviz
from pyro_dgm.inference.trust import trust
from pyro_dgm.inference.trust_report import TrustReport

__all__ = [
    "CalibrationRun",
    "FlowPrior",
    "ImplicitPosterior",
    "ImportanceDraws",
    "IndependenceChains",
    "MapEstimate",
    "NeuralPosterior",
    "NutsRun",
    "PosteriorDraws",
    "PredictiveCheck",
    "Program",
    "SiteVector",
    "TrustReport",
    "adversarial_posterior",
    "check_guide",
    "draws_of",
    "flow_from_samples",
    "importance_draws",
    "independence_metropolis",
    "map_estimate",
    "neural_posterior",
    "neutra",
    "nuts",
    "predictive_check",
    "simulation_based_calibration",
    "to_arviz",
    "trust",
]
