"""Distributions: flows, implicit distributions, likelihoods, priors, targets with known density."""

from pyro_dgm.distributions.flow_distribution import FlowDistribution

__all__ = ["FlowDistribution"]
