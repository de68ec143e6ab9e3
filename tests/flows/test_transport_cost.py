"""What the transport penalty is for: shorter ways to the same density."""

import pytest
import torch

from pyro_dgm.distributions import TwoMoons
from pyro_dgm.flows import CNF, OTFlow
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import StepControl, fit

TARGET = TwoMoons(0.1)


def rows(n):
    return TARGET.sample(torch.Size([n]))


def j_ml(flow):
    """J_ML over fixed rows in nats, at enough steps for either flow."""
    torch.manual_seed(7)
    with torch.no_grad():
        return -flow.eval()().log_prob(rows(4000)).mean().item()


@torch.no_grad()
def transport_cost(flow):
    """Half the mean integral of the squared velocity along the paths from base to data."""
    start = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    path = flow.transform().path(start, 32)
    return 16 * path.diff(dim=0).square().sum(-1).sum(0).mean().item()


class Fresh:
    """New rows at every step."""

    def sample(self, n):
        return rows(n)


def train(flow, steps, lr):
    flow.train()
    control = StepControl(flow, rows(512))
    fit(NormalizingFlow(flow), Fresh(), steps=steps, lr=lr, callbacks=[control], progress=False)
    flow.nt_eval = max(flow.nt_eval, 32)
    return j_ml(flow)


@pytest.mark.slow
def test_ot_flow_pays_less_transport_than_a_free_cnf_of_the_same_likelihood():
    torch.manual_seed(0)
    straight, free = OTFlow(2, random_steps=True), CNF(2, random_steps=True)
    reached = train(straight, 600, 2e-2)
    found = train(free, 100, 5e-3)
    for _ in range(20):  # on until it is as good: never better bought with a longer way
        if found <= reached:
            break
        found = train(free, 50, 5e-3)
    assert abs(found - reached) < 0.05
    assert reached - TARGET.entropy().item() < 0.2  # either has learnt the moons
    assert transport_cost(straight) < 0.7 * transport_cost(free)
