"""Losses in nats: evidence bounds and adversarial games."""

from pyro_dgm.objectives.adversarial import Adversarial
from pyro_dgm.objectives.batch import Batch, as_batch
from pyro_dgm.objectives.elbo import ELBO
from pyro_dgm.objectives.penalties import GradientPenalty
from pyro_dgm.objectives.readings import AdversarialLosses

__all__ = ["ELBO", "Adversarial", "AdversarialLosses", "Batch", "GradientPenalty", "as_batch"]
