"""A flow as a Pyro model: it trains wherever it is called, and what it gives is exact."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch.testing import assert_close

from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import Empty
from pyro_dgm.models import NormalizingFlow

ROWS = torch.tensor([[2.0, -1.0], [2.5, -1.5], [1.5, -0.5], [2.2, -0.8]]).double()


def small_flow(**options):
    return RealNVP(2, num_layers=2, hidden_dims=(8,), **options).double()


def adam(lr=0.05):
    return pyro.optim.Adam({"lr": lr})


def test_a_flow_in_a_plain_function_trains_under_svi():
    flow = small_flow()

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", flow(), obs=x)

    before = copy.deepcopy(flow.state_dict())
    svi = SVI(model, lambda x: None, adam(), Trace_ELBO())
    first = svi.step(ROWS)
    for _ in range(30):
        last = svi.step(ROWS)
    assert last < first - 1
    assert all((flow.state_dict()[key] != before[key]).any() for key in before)


def test_svi_loss_is_the_negative_log_likelihood():
    model = NormalizingFlow(small_flow())
    loss = Trace_ELBO().loss(model, model.guide, ROWS)
    assert_close(loss, -model.log_prob(ROWS).sum().item())


def test_elbo_module_with_a_torch_optimiser_trains_the_same_parameters():
    model = NormalizingFlow(small_flow())
    loss_module = Trace_ELBO()(model, Empty())
    optimiser = torch.optim.Adam(loss_module.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = loss_module(ROWS)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1


def test_a_minibatch_gradient_is_unbiased():
    model = NormalizingFlow(small_flow())
    parts = [Trace_ELBO().loss(model, model.guide, ROWS[i : i + 2], size=4) for i in (0, 2)]
    assert_close(sum(parts) / 2, Trace_ELBO().loss(model, model.guide, ROWS))


def test_encode_is_the_inverse_of_the_generator():
    model = NormalizingFlow(small_flow())
    z = model.encode(ROWS)
    assert_close(model.flow.transform()(z), ROWS)


def test_the_bound_is_tight():
    model = NormalizingFlow(small_flow())
    assert_close(model.log_prob_bound(ROWS, num_particles=5), model.log_prob(ROWS))


def test_a_conditional_model_scores_each_row_with_its_own_context():
    model = NormalizingFlow(small_flow(context_dim=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    context = torch.arange(4.0).double().unsqueeze(-1)
    together = model.log_prob(ROWS, context)
    alone = torch.cat([model.log_prob(ROWS[i : i + 1], context[i : i + 1]) for i in range(4)])
    assert_close(together, alone)
    assert (model.log_prob(ROWS, context + 1) != together).all()


def test_a_seeded_sample_repeats_and_leaves_the_global_state_alone():
    model = NormalizingFlow(small_flow())
    state = torch.get_rng_state()
    assert_close(model.sample(3, seed=1), model.sample(3, seed=1))
    assert (torch.get_rng_state() == state).all()


class UnnamedParent(PyroModule):
    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, x):
        return self.inner(x)


def twins(kind):
    first = NormalizingFlow(small_flow())
    if kind == "deepcopy":
        return first, copy.deepcopy(first)
    if kind == "unpickled":
        import io

        buffer = io.BytesIO()
        torch.save(first, buffer)
        buffer.seek(0)
        return first, torch.load(buffer, weights_only=False)
    if kind == "used, then copied":
        train(first, ROWS, 3)
        return first, copy.deepcopy(first)
    if kind == "two parents":
        return UnnamedParent(first), UnnamedParent(NormalizingFlow(small_flow()))
    if kind == "one name":
        return tuple(NormalizingFlow(small_flow(name="flow"), name="mine") for _ in range(2))
    return first, NormalizingFlow(small_flow())


def train(model, rows, steps=40):
    svi = SVI(model, lambda x: None, adam(), Trace_ELBO())
    return [svi.step(rows) for _ in range(steps)]


@pytest.mark.parametrize(
    "kind", ["fresh", "deepcopy", "unpickled", "used, then copied", "two parents", "one name"]
)
def test_two_models_fitted_one_after_the_other_are_independent(kind):
    first, second = twins(kind)
    train(first, ROWS)
    kept = copy.deepcopy(first.state_dict())
    losses = train(second, -3 * ROWS)
    assert losses[-1] < losses[0] - 1, "the second model did not train"
    # Called later, outside any training: each still computes with its own weights.
    pyro.infer.Predictive(first, num_samples=2)(ROWS)
    pyro.infer.Predictive(second, num_samples=2)(ROWS)
    Trace_ELBO().loss(first, Empty(), ROWS)
    assert all((first.state_dict()[key] == kept[key]).all() for key in kept)


def test_clearing_the_parameter_store_midway_changes_nothing():
    model, twin = twins("deepcopy")
    together = train(model, ROWS, 1)
    pyro.clear_param_store()
    together += train(model, ROWS, 1)
    apart = train(twin, ROWS, 1)
    apart += train(twin, ROWS, 1)
    assert_close(together, apart)


def test_a_frozen_flow_stays_frozen_and_silent_under_svi():
    flow = small_flow().freeze()
    before = copy.deepcopy(flow.state_dict())

    def model(x):
        shift = pyro.param("shift", torch.zeros(2).double())
        with pyro.plate("data", len(x)):
            pyro.sample("x", flow(), obs=x - shift)

    svi = SVI(model, lambda x: None, adam(), Trace_ELBO())
    flow.train()  # as a training parent would
    for _ in range(3):
        svi.step(ROWS)
    assert pyro.param("shift").abs().min() > 0
    assert all((flow.state_dict()[key] == before[key]).all() for key in before)
    assert not any(parameter.requires_grad for parameter in flow.parameters())


def test_nothing_enters_the_parameter_store_outside_pyro():
    NormalizingFlow(small_flow()).log_prob(ROWS)
    assert len(pyro.get_param_store().keys()) == 0


def test_a_flow_is_a_latent_prior_in_a_users_module():
    class Regression(PyroModule):
        def __init__(self):
            super().__init__()
            self.prior = small_flow()

        def forward(self, y):
            w = pyro.sample("w", self.prior())
            pyro.sample("y", dist.Normal(w.sum(), 1.0), obs=y)

    model = Regression()
    guide = pyro.infer.autoguide.AutoNormal(model)
    svi = SVI(model, guide, adam(), Trace_ELBO())
    before = copy.deepcopy(model.prior.state_dict())
    for _ in range(5):
        svi.step(torch.tensor(3.0).double())
    assert any((model.prior.state_dict()[key] != before[key]).any() for key in before)
