"""A conditional flow as the likelihood of a latent: its context is what is inferred."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size
from torch.testing import assert_close

from tests.contract.cases import CASES, data_for, perturbed

X = torch.tensor([[0.5, -0.6], [1.1, -0.2], [0.4, 0.1]], dtype=torch.double)


def model(flow, x):
    theta = pyro.sample("theta", dist.Normal(x.new_zeros(flow.context_dim), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", flow(theta), obs=x)


def log_joint(flow, x, theta):
    return poutine.trace(poutine.condition(model, {"theta": theta})).get_trace(flow, x).log_prob_sum()


@pytest.mark.parametrize("name", [name for name in CASES if "context" in name and "image" not in name])
def test_gradient_in_the_latent_is_that_of_finite_differences(name):
    flow = perturbed(CASES[name]().double()).freeze()
    x = data_for(flow, 3)
    theta = torch.randn(flow.context_dim, dtype=torch.double, requires_grad=True)
    # Pyro's own check of gradients cannot bear the undefined ones that gradcheck tries too.
    assert torch.autograd.gradcheck(
        lambda theta: log_joint(flow, x, theta), theta, check_undefined_grad=False
    )


@pytest.mark.slow
def test_nuts_finds_the_posterior_of_the_context():
    flow = perturbed(CASES["real-nvp-1d-context"]().double(), 0.5).freeze()
    x = X[:, :1]
    axis = torch.linspace(-6, 6, 121, dtype=torch.double)
    theta = torch.cartesian_prod(axis, axis)
    log_p = dist.Normal(theta, 1.0).log_prob(theta * 0).sum(-1)
    for row in x:
        log_p = log_p + flow(theta).log_prob(row)
    weights = (log_p - log_p.logsumexp(0)).exp()[:, None]
    mean = (weights * theta).sum(0)
    sd = (weights * (theta - mean).square()).sum(0).sqrt()
    assert (mean.abs() > 0.1).any()  # the data say something
    mcmc = MCMC(NUTS(model, max_tree_depth=4), num_samples=150, warmup_steps=60, disable_progbar=True)
    mcmc.run(flow, x)
    drawn = mcmc.get_samples()["theta"]
    error = sd / effective_sample_size(drawn[None]).clamp(max=150).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4 * error).all()
    assert_close(drawn.std(0), sd, rtol=0.35, atol=0)
    assert math.isfinite(log_joint(flow, x, mean))
