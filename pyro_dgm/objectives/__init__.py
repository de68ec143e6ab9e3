"""Losses: evidence bounds, flow matching and adversarial games."""

from pyro_dgm.objectives.adversarial import Adversarial
from pyro_dgm.objectives.auxiliary import AuxiliaryClassifier
from pyro_dgm.objectives.batch import Batch, as_batch
from pyro_dgm.objectives.clipping import WeightClipping
from pyro_dgm.objectives.coverage import HeldOutCoverage
from pyro_dgm.objectives.elbo import ELBO
from pyro_dgm.objectives.flow_matching import FlowMatching
from pyro_dgm.objectives.instance_noise import InstanceNoise
from pyro_dgm.objectives.iwae import IWAE
from pyro_dgm.objectives.penalties import R1, R2, GradientPenalty
from pyro_dgm.objectives.readings import AdversarialLosses
from pyro_dgm.objectives.regulariser import Regulariser
from pyro_dgm.objectives.salimans import FeatureMatching, HistoricalAveraging
from pyro_dgm.objectives.watch import GameWarning, Watch

__all__ = [
    "ELBO",
    "IWAE",
    "R1",
    "R2",
    "Adversarial",
    "AdversarialLosses",
    "AuxiliaryClassifier",
    "Batch",
    "FeatureMatching",
    "FlowMatching",
    "GameWarning",
    "GradientPenalty",
    "HeldOutCoverage",
    "HistoricalAveraging",
    "InstanceNoise",
    "Regulariser",
    "Watch",
    "WeightClipping",
    "as_batch",
]
