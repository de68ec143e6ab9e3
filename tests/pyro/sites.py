"""A small flow, a model with it as prior, and the posterior of that model by quadrature."""

import math

import pyro
import pyro.distributions as dist
import torch

from pyro_dgm.flows import RealNVP

SPREAD = 0.5  # of the observations


def small_flow(input_dim=2, context_dim=0, layers=4):
    """A flow that is not the identity, in double precision."""
    flow = RealNVP(input_dim, context_dim, num_layers=layers, hidden_dims=(8,)).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return flow


def prior_model(flow, x):
    """z ~ flow, x_i ~ N(z, 0.5^2 I): a plain function, not a module."""
    z = pyro.sample("z", flow())
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z, SPREAD).to_event(1), obs=x)
    return z


@torch.no_grad()
def exact_posterior(flow, x):
    """Mean, standard deviation and log-evidence of ``prior_model``, by quadrature over the plane."""
    axis = torch.linspace(-5, 5, 401, dtype=torch.double)
    z = torch.cartesian_prod(axis, axis)
    log_joint = flow().log_prob(z)
    for row in x:
        log_joint = log_joint + dist.Normal(z, SPREAD).to_event(1).log_prob(row)
    log_evidence = log_joint.logsumexp(0) + 2 * math.log(10 / 400)
    weights = (log_joint - log_joint.logsumexp(0)).exp()[:, None]
    mean = (weights * z).sum(0)
    return mean, (weights * (z - mean).square()).sum(0).sqrt(), log_evidence.item()
