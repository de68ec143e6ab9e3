"""Neural posteriors: densities, supports and plates; and against a conjugate posterior."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.diagnostics import calibration
from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.flows import MAF
from pyro_dgm.inference import importance_draws, neural_posterior


def positive():
    """Latents on a half-line, on a simplex and in a plate, and data in a plate."""
    scale = pyro.sample("scale", dist.LogNormal(torch.tensor(0.0).double(), 0.5))
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3).double()))
    with pyro.plate("groups", 2):
        means = pyro.sample("means", dist.Normal(torch.tensor(0.0).double(), 1.0))
    with pyro.plate("data", 4):
        pyro.sample("x", dist.Normal(means.sum(-1, keepdim=True) + weights[..., 0], scale))


def brief(simulator=positive, **options):
    settings = {"observed": "x", "num_simulations": 200, "epochs": 2, "flow": small}
    return neural_posterior(simulator, **settings | options)


def small(dim, context_dim):
    return MAF(dim, context_dim, num_layers=2, hidden_dims=(8,))


def test_draws_lie_in_the_supports_and_keep_their_shapes():
    drawn = brief().sample(torch.zeros(4), 50, seed=0)
    assert {name: value.shape[1:] for name, value in drawn.items()} == {
        "scale": (),
        "weights": (3,),
        "means": (2,),
    }
    assert (drawn["scale"] > 0).all()
    assert_close(drawn["weights"].sum(-1), torch.ones(50).double())


def test_many_data_sets_are_drawn_for_at_once():
    posterior, data = brief(), torch.randn(3, 4).double()
    drawn = posterior.sample(data, 20, seed=1)
    assert drawn["weights"].shape == (3, 20, 3)
    alone = posterior.log_prob({k: v[1, :5] for k, v in drawn.items()}, data[1])
    assert_close(alone[2], posterior.log_prob({k: v[:, 2] for k, v in drawn.items()}, data)[1])


def test_density_is_that_of_the_values_themselves():
    def simulator():
        z = pyro.sample("z", dist.Uniform(torch.tensor(1.0).double(), 3.0))
        pyro.sample("x", dist.Normal(z, 1.0))

    z = torch.linspace(1, 3, 4001, dtype=torch.double)[1:-1]
    density = brief(simulator).log_prob({"z": z}, torch.tensor(2.0)).exp()
    assert torch.trapezoid(density, z).item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("vectorize", [True, False])
def test_weights_of_the_guide_are_joint_over_posterior_density(vectorize):
    data, posterior = torch.tensor([0.3, -0.1, 0.8, 0.2]).double(), brief()
    model = pyro.condition(positive, data={"x": data})
    drawn = importance_draws(model, posterior.guide(data), num_samples=6, vectorize=vectorize)
    scale, weights, means = (drawn.samples[name] for name in ("scale", "weights", "means"))
    joint = dist.LogNormal(torch.tensor(0.0).double(), 0.5).log_prob(scale)
    joint = joint + dist.Dirichlet(torch.ones(3).double()).log_prob(weights)
    joint = joint + dist.Normal(torch.tensor(0.0).double(), 1.0).log_prob(means).sum(-1)
    centre = (means.sum(-1) + weights[:, 0])[:, None]
    joint = joint + dist.Normal(centre, scale[:, None]).log_prob(data).sum(-1)
    assert_close(drawn.log_weights, joint - posterior.log_prob(drawn.samples, data))


def test_posterior_of_one_data_set_is_the_prior_of_the_next_model():
    prior = brief().at(torch.zeros(4))
    trace = pyro.poutine.trace(prior).get_trace()
    assert {"scale", "weights", "means"} <= set(trace.nodes)
    assert prior.sample(5)["weights"].shape == (5, 3)


def test_seed_decides_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, two = brief(seed=3), brief(seed=3)
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(one.flow.parameters(), two.flow.parameters(), strict=True):
        assert torch.equal(a, b)


def test_embedding_is_trained_with_the_flow():
    network = nn.Linear(4, 3)
    before = network.weight.detach().clone()
    posterior = brief(embedding=network, context_dim=3, epochs=5, batch_size=20, lr=1e-2)
    assert (posterior.flow.network.weight - before).abs().min() > 0
    assert posterior.sample(torch.zeros(4), 5)["scale"].shape == (5,)


def test_what_does_not_fit_is_named():
    posterior = brief()
    with pytest.raises(ShapeError, match="data at 'x' need shape"):
        posterior.sample(torch.zeros(5))
    with pytest.raises(DataError, match="not finite"):
        posterior.sample(torch.full((4,), math.nan))
    with pytest.raises(ShapeError, match="one data set"):
        posterior.at(torch.zeros(2, 4))
    with pytest.raises(UnknownNameError, match="observed site 'y'"):
        brief(observed="y")


@pytest.mark.slow
def test_conjugate_posterior_is_learned_and_calibrated_and_a_shrunk_one_is_not():
    noise = 0.5

    def linear():
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, noise).to_event(1))

    def masked(dim, context_dim):
        return MAF(dim, context_dim, num_layers=3, hidden_dims=(32,))

    posterior = neural_posterior(linear, observed="x", epochs=60, patience=10, flow=masked)
    z = torch.randn(2000, 2)
    x = z + noise * torch.randn(2000, 2)
    exact = dist.Normal(x / (1 + noise**2), noise / (1 + noise**2) ** 0.5).log_prob(z).sum(-1)
    excess = exact - posterior.log_prob({"z": z}, x)  # its mean is the expected KL from the exact posterior
    assert -4 * excess.std() / 2000**0.5 < excess.mean() < 0.03
    draws = posterior.sample(x[:500], 99)["z"]
    assert (calibration(z[:500], draws).p_values > 0.01).all()
    middle = draws.mean(1, keepdim=True)
    assert (calibration(z[:500], middle + 0.7 * (draws - middle)).p_values < 0.01).all()
