"""Figures that compare two samples or estimate a likelihood, each with its floor or interval."""

from pyro_dgm.metrics.annealing import AnnealedEstimate, annealed_log_likelihood
from pyro_dgm.metrics.bits import bits_per_dim
from pyro_dgm.metrics.energy import energy_distance, real_floor
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.importance import log_weights
from pyro_dgm.metrics.likelihood import LikelihoodEstimate, importance_log_likelihood
from pyro_dgm.metrics.tail_index import tail_index

__all__ = [
    "AnnealedEstimate",
    "Estimate",
    "LikelihoodEstimate",
    "annealed_log_likelihood",
    "bits_per_dim",
    "energy_distance",
    "importance_log_likelihood",
    "log_weights",
    "real_floor",
    "tail_index",
]
