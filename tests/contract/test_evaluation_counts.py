"""How often a network is evaluated: the cost that each class of flow promises."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from pyro_dgm.flows import RealNVP

LAYERS = 5


@pytest.fixture(params=[0, 2], ids=["no-context", "context"])
def counted(request):
    """A flow, its context, and the number of evaluations of each of its conditioners."""
    flow = RealNVP(3, request.param, num_layers=LAYERS, hidden_dims=(8,))
    counts = [0] * LAYERS
    for i, conditioner in enumerate(flow.conditioners):
        conditioner.register_forward_hook(lambda *_, i=i: counts.__setitem__(i, counts[i] + 1))
    return flow, torch.zeros(4, 2) if request.param else None, counts


USES = {
    "log_prob": lambda d: d.log_prob(torch.zeros(4, 3)),
    "sample": lambda d: d.sample((4,)),
    "rsample": lambda d: d.rsample((4,)),
    "rsample_and_log_prob": lambda d: d.rsample_and_log_prob((4,)),
    "log_prob of its own draw": lambda d: d.log_prob(d.rsample((4,))),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_each_conditioner_is_evaluated_once(counted, use):
    flow, context, counts = counted
    use(flow(context))
    assert counts == [1] * LAYERS


def test_building_the_distribution_evaluates_nothing(counted):
    flow, context, counts = counted
    flow(context).expand(torch.Size([4])).to_event(1)
    assert counts == [0] * LAYERS


def test_svi_step_of_an_observed_flow_evaluates_each_conditioner_once(counted):
    flow, context, counts = counted

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", flow(context), obs=x)

    optimiser = pyro.optim.Adam({"lr": 1e-3})
    SVI(model, lambda x: None, optimiser, Trace_ELBO()).step(torch.zeros(4, 3))
    assert counts == [1] * LAYERS


def test_svi_step_of_a_flow_guide_evaluates_each_conditioner_once(counted):
    flow, context, counts = counted

    def model():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", flow(context))

    SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step()
    assert counts == [1] * LAYERS
