"""What composes and trains a flow on the user's behalf, for inference in other models."""

from pyro_dgm.inference.importance_draws import ImportanceDraws, importance_draws
from pyro_dgm.inference.independence_metropolis import IndependenceChains, independence_metropolis

__all__ = [
    "ImportanceDraws",
    "IndependenceChains",
    "importance_draws",
    "independence_metropolis",
]
