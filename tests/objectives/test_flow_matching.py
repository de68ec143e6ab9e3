"""Flow matching: its minimiser, its couplings, and what it trains."""

import itertools

import pytest
import torch
from pyro.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.flows import CNF, OTFlow, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.nets import ModuleVelocity
from pyro_dgm.objectives import Batch, FlowMatching
from pyro_dgm.objectives.coupling import couple
from pyro_dgm.training import fit


@pytest.mark.parametrize("end_time", [1.0, 2.0])
def test_conditional_mean_of_the_lines_is_the_minimiser(end_time):
    # Data N(0, s^2 I): E[(x - z) / T | x_t] = x_t (s^2 u - (1 - u)) / ((s^2 u^2 + (1 - u)^2) T), u = t / T.
    s = 0.5
    x = s * torch.randn(20_000, 2)

    def loss_of(factor):
        def network(t, x):
            u = t / end_time
            return factor * x * (s**2 * u - (1 - u)) / (s**2 * u**2 + (1 - u) ** 2) / end_time

        flow = CNF(2, field=lambda n, c: ModuleVelocity(network, n, c, end_time=end_time))
        torch.manual_seed(1)
        return FlowMatching(flow)(x).item()

    best = loss_of(1.0)
    assert best < min(loss_of(0.95), loss_of(1.05))
    u = torch.linspace(0, 1, 10_001).double()
    least = 2 * (s**2 + 1 - (s**2 * u - (1 - u)) ** 2 / (s**2 * u**2 + (1 - u) ** 2)).mean() / end_time**2
    assert abs(best - least.item()) < 0.02 * least.item()


def test_optimal_coupling_is_the_best_of_all_permutations():
    z, x = torch.randn(6, 3), torch.randn(6, 3)
    costs = [(z[list(p)] - x).square().sum() for p in itertools.permutations(range(6))]
    assert_close((couple(z, x) - x).square().sum(), min(costs))


def test_coupling_stays_within_equal_contexts():
    z, x = torch.randn(60, 2), torch.randn(60, 2)
    context = torch.tensor([[0.0], [1.0], [2.0]]).repeat(20, 1)
    paired = couple(z, x, context)
    for label in range(3):
        rows = context[:, 0] == label
        assert_close(paired[rows], couple(z[rows], x[rows]))
    assert torch.equal(couple(z, x, torch.arange(60.0)[:, None]), z)


@pytest.mark.parametrize("coupling", ["independent", pytest.param("ot", marks=pytest.mark.slow)])
def test_flow_and_fine_tuning_learn_a_conditional_density(coupling):
    context = torch.randint(2, (400, 1)).float()
    x = 0.3 * torch.randn(400, 2) + 4 * context - 2
    flow = CNF(2, 1, hidden_dims=(16, 16), nt_train=4)
    model = NormalizingFlow(flow)
    fit(FlowMatching(model, coupling=coupling), (x, context), steps=150, lr=2e-2, progress=False)
    truth = torch.distributions.Normal(4 * context - 2, 0.3).log_prob(x).sum(1).mean()
    matched = model.log_prob(x, context).mean()
    assert truth - matched < 0.6
    fit(model, (x, context), steps=40, lr=1e-2, progress=False)
    tuned = model.log_prob(x, context).mean()
    assert tuned > matched
    assert truth - tuned < 0.2


def test_data_of_a_support_are_matched_where_they_have_none():
    flow = CNF(2, support=constraints.positive, hidden_dims=(8, 8))
    y = torch.rand(50, 2) + 0.1
    torch.manual_seed(3)
    found = FlowMatching(flow)(y)
    plain = CNF(2, hidden_dims=(8, 8))
    plain.velocity.load_state_dict(flow.velocity.state_dict())
    torch.manual_seed(3)
    assert_close(found, FlowMatching(plain)(flow.outer.inv(y)))


def test_every_weight_of_a_potential_gets_a_gradient():
    flow = OTFlow(2, width=8)
    FlowMatching(flow)(Batch(torch.randn(30, 2))).backward()
    for name, p in flow.named_parameters():
        assert p.grad.isfinite().all(), name


def test_flows_without_a_velocity_and_unknown_couplings_are_refused():
    with pytest.raises(TypeError, match="has none"):
        FlowMatching(RealNVP(2))
    with pytest.raises(UnknownNameError, match="independent"):
        FlowMatching(CNF(2), coupling="optimal")
