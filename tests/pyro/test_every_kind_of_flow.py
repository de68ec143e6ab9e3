"""Each kind of flow at every place of a Pyro program that a flow can take."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch.testing import assert_close

from tests.contract.cases import CASES, context_for, data_for, perturbed

KINDS = {
    "naf-2d-context",
    "unaf-2d",
    "bernstein-2d",
    "sum-of-squares-3d-context",
    "maf-mixture-2d-context",
    "circular-2d-context",
    "sylvester-2d-context",
    "composition-2d-context",
    "simplex-2d",
    "cat-4d-context",
    "cholesky-3d",
}
MORE_KINDS = {
    "real-nvp-5d",
    "planar-2d-context",
    "radial-2d-context",
    "nice-5d-context-logistic",
    "maf-2d-context",
    "iaf-5d-context",
    "spline-2d-context",
    "spline-ar-5d-context",
    "whitened-5d-correlated",
    "embedded-2d-context",
    "coupling-sum-of-squares-3d-context",
    "glow",
    "ot-flow-2d-context",
    "cnf-2d-context",
}


def when(name):
    return [] if name in KINDS else pytest.mark.slow if name in MORE_KINDS else pytest.mark.soak


@pytest.fixture(params=[pytest.param(name, marks=when(name)) for name in CASES])
def flow(request):
    return perturbed(CASES[request.param]())


def step(model, guide):
    return SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step()


def test_observed_in_nested_plates_with_subsampling_and_a_mask(flow):
    context, x = context_for(flow), data_for(flow, 2, 6)
    keep = torch.tensor([True, False, True])

    def model():
        with (
            pyro.plate("groups", 2, dim=-2),
            pyro.plate("data", 6, subsample=torch.tensor([0, 2, 5]), dim=-1),
            poutine.mask(mask=keep),
        ):
            pyro.sample("x", flow(context), obs=x[:, [0, 2, 5]])

    expected = 2 * (flow(context).log_prob(x[:, [0, 2, 5]]) * keep).sum()
    assert_close(poutine.trace(model).get_trace().log_prob_sum(), expected, rtol=1e-4, atol=1e-4)


def test_latent_prior_under_autonormal_nuts_and_parallel_predictive(flow):
    flow, context = flow.freeze(), context_for(flow)

    def model():
        z = pyro.sample("z", flow(context))
        pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=torch.tensor(0.5))
        return z

    guide = AutoNormal(model)
    assert torch.tensor(step(model, guide)).isfinite()
    assert flow(context).support.check(guide.median()["z"]).all()
    mcmc = MCMC(NUTS(model, max_tree_depth=2), num_samples=2, warmup_steps=2, disable_progbar=True)
    mcmc.run()
    assert flow(context).support.check(mcmc.get_samples()["z"]).all()
    drawn = Predictive(model, num_samples=5, parallel=True)()["z"]
    assert drawn.reshape(5, -1).unique(dim=0).shape[0] == 5


def test_amortized_guide_scores_its_own_draw_without_inverting(flow, monkeypatch):
    context = context_for(flow, 4)
    support, inverted = flow(context_for(flow)).support, []

    def model():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.ImproperUniform(support, (), flow.event_shape))

    def guide():
        with pyro.plate("data", 4):
            d = flow(context)
            invert = d.transform.inverse_and_ladj
            monkeypatch.setattr(d.transform, "inverse_and_ladj", lambda y: inverted.append(y) or invert(y))
            pyro.sample("z", d)

    assert torch.tensor(step(model, guide)).isfinite()
    assert not inverted
