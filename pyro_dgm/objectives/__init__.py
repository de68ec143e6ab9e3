"""Losses in nats: evidence bounds and adversarial games."""

from pyro_dgm.objectives.batch import Batch, as_batch
from pyro_dgm.objectives.elbo import ELBO

__all__ = ["ELBO", "Batch", "as_batch"]
