"""A flow as the prior of a latent: SVI with AutoGuides, NUTS, Predictive, reparameterisation."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import TransformReparam
from pyro.ops.stats import effective_sample_size
from torch.testing import assert_close

from tests.pyro.sites import exact_posterior, prior_model, small_flow

X = torch.tensor([[0.5, -0.6], [1.1, -0.2], [0.4, 0.1]], dtype=torch.double)


def fitted(guide_class, flow, steps=250):
    """A guide fitted to the model, with its last losses."""
    flow.freeze()
    guide = guide_class(lambda: prior_model(flow, X))
    schedule = pyro.optim.ExponentialLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.985}
    )
    svi = SVI(
        lambda: prior_model(flow, X), guide, schedule, Trace_ELBO(num_particles=4, vectorize_particles=True)
    )
    losses = []
    for _ in range(steps):
        losses.append(svi.step())
        schedule.step()
    return guide, losses


@pytest.fixture
def double_guides():
    """AutoGuides make their parameters in torch's default dtype."""
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


@pytest.mark.usefixtures("double_guides")
@pytest.mark.parametrize("guide_class", [AutoNormal, AutoMultivariateNormal])
def test_autoguide_finds_the_posterior_and_bounds_the_evidence(guide_class):
    flow = small_flow()
    mean, sd, log_evidence = exact_posterior(flow, X)
    guide, losses = fitted(guide_class, flow)
    elbo = -sum(losses[-80:]) / 80
    assert elbo < log_evidence + 0.02
    assert elbo > log_evidence - 0.2
    median = guide.median()["z"]
    assert ((median - mean).abs() < 0.3 * sd).all()


@pytest.mark.usefixtures("double_guides")
def test_autodelta_finds_the_mode():
    flow = small_flow()
    guide, _ = fitted(AutoDelta, flow)
    z = guide.median()["z"].requires_grad_()
    log_joint = poutine.trace(poutine.condition(prior_model, {"z": z})).get_trace(flow, X).log_prob_sum()
    assert_close(torch.autograd.grad(log_joint, z)[0], torch.zeros(2), atol=1e-2, rtol=0)


def test_nuts_finds_the_posterior_mean_within_its_standard_error():
    flow = small_flow().freeze()
    mean, sd, _ = exact_posterior(flow, X)
    kernel = NUTS(prior_model, step_size=0.4, adapt_step_size=True, max_tree_depth=5)
    mcmc = MCMC(kernel, num_samples=200, warmup_steps=60, disable_progbar=True)
    mcmc.run(flow, X)
    z = mcmc.get_samples()["z"]
    error = sd / effective_sample_size(z[None]).clamp(max=200).sqrt()
    assert ((z.mean(0) - mean).abs() < 4 * error).all()
    assert_close(z.std(0), sd, rtol=0.35, atol=0)
    assert not mcmc.diagnostics()["divergences"]["chain 0"]


def test_unfrozen_prior_under_nuts_keeps_its_weights():
    flow = small_flow()
    before = [p.clone() for p in flow.parameters()]
    mcmc = MCMC(NUTS(prior_model, max_tree_depth=3), num_samples=3, warmup_steps=3, disable_progbar=True)
    mcmc.run(flow, X)
    assert all(torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True))


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_from_the_prior(parallel):
    flow = small_flow().freeze()

    def model():
        z = pyro.sample("z", flow())
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Normal(z, 0.1).to_event(1))

    num = 2000 if parallel else 20
    drawn = Predictive(model, num_samples=num, parallel=parallel)()
    z = drawn["z"].reshape(num, 2)
    assert drawn["x"].shape == (num, 3, 2)
    assert len(z.unique(dim=0)) == num
    assert (drawn["x"] - z[:, None]).abs().max() < 1
    expected = flow().sample((20_000,))
    error = expected.std(0) / math.sqrt(num)
    assert ((z.mean(0) - expected.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_scores_and_draws_at_posterior_samples(parallel):
    flow = small_flow().freeze()

    def model():
        with pyro.plate("data", 3):
            z = pyro.sample("z", flow())
            pyro.sample("x", dist.Normal(z, 1e-3).to_event(1))

    given = {"z": torch.randn(50, 3, 2).double()}
    drawn = Predictive(model, given, parallel=parallel)()
    assert drawn["x"].shape == (50, 3, 2)
    assert_close(drawn["x"], given["z"], atol=1e-2, rtol=0)


def test_reparameterised_prior_is_the_pushed_forward_base():
    flow = small_flow().freeze()
    model = poutine.reparam(lambda: prior_model(flow, X), {"z": TransformReparam()})
    trace = poutine.trace(model).get_trace()
    assert_close(trace.nodes["z"]["value"], flow.transform()(trace.nodes["z_base"]["value"]))
    assert trace.nodes["z_base"]["fn"].event_shape == (2,)


def test_prior_trains_together_with_the_guide():
    flow = small_flow()
    before = [p.clone() for p in flow.parameters()]
    x = (2 + torch.randn(64, 2)).double()
    spread = torch.tensor(0.1).double()

    def model():
        with pyro.plate("data", 64):
            z = pyro.sample("z", flow())
            pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", 64):
            pyro.sample("z", dist.Normal(x, spread).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert all(not torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True))
