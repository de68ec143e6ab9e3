"""Observation models: from a decoder's output to the distribution of the data."""

from pyro_dgm.distributions.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from pyro_dgm.distributions.likelihoods.categorical import Categorical
from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood, Likelihood
from pyro_dgm.distributions.likelihoods.location_scale import Gaussian, StudentT
from pyro_dgm.distributions.likelihoods.logistic import DiscretizedLogisticMixture
from pyro_dgm.distributions.likelihoods.table import IndependentColumns, Table

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogisticMixture",
    "EntrywiseLikelihood",
    "Gaussian",
    "IndependentColumns",
    "Likelihood",
    "StudentT",
    "Table",
]
