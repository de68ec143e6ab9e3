"""Global and local latents together: a model of normals whose posterior and evidence are closed forms."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.flows import IAF, RealNVP
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal, GlobalAndLocal
from pyro_dgm.nets import MLPEncoder
from pyro_dgm.plates import data_plate

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(5)).double() + 1
MARGINAL = 1.25  # variance of x given the global mean
PRECISION = 1 + len(X) / MARGINAL
MEAN = X.sum(0) / MARGINAL / PRECISION


def model(x, *, size=None, index=None):
    """mean ~ N(0, I), z_i ~ N(mean, I), x_i ~ N(z_i, I / 4)."""
    mean = pyro.sample("mean", dist.Normal(torch.zeros(2).to(x), 1.0).to_event(1))
    with data_plate(len(x), size, index):
        z = pyro.sample("z", dist.Normal(mean, 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def log_evidence():
    n = len(X)
    covariance = torch.ones(n, n).double() + MARGINAL * torch.eye(n).double()
    return dist.MultivariateNormal(torch.zeros(n).double(), covariance).log_prob(X.T).sum()


class ExactEncoder(nn.Module):
    """z_i given x_i and the mean: N((mean + 4 x_i) / 5, I / 5)."""

    def forward(self, x, context):
        return (context + 4 * x) / 5, torch.full_like(x, -1.6094379124341003)


def exact_guide(local=None):
    local = local or AmortizedFlow(ExactEncoder(), RealNVP(2, num_layers=2).double(), takes_context=True)
    guide = GlobalAndLocal(model, local, stick_the_landing=True)
    guide(X)
    guide.globals.flow.affine.set(MEAN, torch.eye(2).double() / PRECISION**0.5)
    return guide


def loss(guide, x=X, particles=1, **rows):
    return Trace_ELBO(particles, vectorize_particles=particles > 1).differentiable_loss(
        model, guide, x, **rows
    )


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("kind", ["flow", "normal"])
def test_exact_parts_give_the_evidence_at_every_draw(particles, kind):
    local = AmortizedNormal(ExactEncoder(), takes_context=True) if kind == "normal" else None
    assert_close(-loss(exact_guide(local), particles=particles), log_evidence(), rtol=0, atol=1e-9)


def test_bounds_of_mini_batches_average_to_that_of_all_rows():
    guide = exact_guide()
    values = []
    for rows in ([0, 3], [1, 4], [5, 2]):
        torch.manual_seed(7)
        index = torch.tensor(rows)
        values.append(loss(guide, X[index], size=6, index=index))
    assert max(values) - min(values) > 0.1
    assert_close(torch.stack(values).mean(), -log_evidence(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("vectorize", [pytest.param(False, marks=pytest.mark.slow), True])
def test_training_on_mini_batches_finds_the_posterior(vectorize):
    local = AmortizedFlow(
        MLPEncoder((2,), 2, (16,), context_dim=2),
        IAF(2, num_layers=1, hidden_dims=(8,)),
        takes_context=True,
    )
    guide = GlobalAndLocal(model, local.double(), flow=lambda d: RealNVP(d, num_layers=2, hidden_dims=(8,)))
    svi = SVI(
        model,
        guide,
        pyro.optim.ClippedAdam({"lr": 0.02, "lrd": 0.98}),
        Trace_ELBO(4, vectorize_particles=vectorize, max_plate_nesting=1),
    )
    for _ in range(150):
        index = torch.randperm(6)[:3]
        svi.step(X[index], size=6, index=index)
    with torch.no_grad():
        bounds = torch.stack([-loss(guide) for _ in range(200)])
    assert bounds.mean() > log_evidence() - 0.6
    means = guide.globals.sample_sites(4000)["mean"].mean(0)
    assert_close(means, MEAN, rtol=0, atol=0.2)


def test_copy_is_another_guide_of_the_same_posterior():
    guide = exact_guide()
    twin = copy.deepcopy(guide)
    assert_close(-loss(twin), log_evidence(), rtol=0, atol=1e-9)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(1.0)
    assert_close(-loss(guide), log_evidence(), rtol=0, atol=1e-9)


def test_globals_may_stand_in_plates_of_their_own():
    def grouped(x, *, size=None, index=None):
        with pyro.plate("groups", 3, dim=-2):
            scale = pyro.sample("scale", dist.LogNormal(torch.zeros(()).to(x), 1.0))
        with data_plate(len(x), size, index):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).to(x), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, scale.mean(-2, keepdim=True).unsqueeze(-1)).to_event(1), obs=x)

    encoder = MLPEncoder((2,), 2, (8,), context_dim=3).double()
    guide = GlobalAndLocal(grouped, AmortizedNormal(encoder, takes_context=True))
    for vectorize in (False, True):
        elbo = Trace_ELBO(3, vectorize_particles=vectorize, max_plate_nesting=2)
        assert elbo.differentiable_loss(grouped, guide, X[:4], size=6, index=torch.arange(4)).isfinite()


def test_predictive_draws_both_kinds_of_latents():
    drawn = Predictive(model, guide=exact_guide(), num_samples=5, parallel=True)(X)
    assert drawn["mean"].reshape(5, 2).unique(dim=0).shape == (5, 2)
    assert drawn["z"].shape == (5, 6, 2)


def nameless(x, *, size=None, index=None):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with data_plate(len(x), size, index):
        pyro.sample("w", dist.Normal(mean, 1.0))


def local_alone(x, *, size=None, index=None):
    pyro.plate("others", 3)  # a plate is no latent
    with data_plate(len(x), size, index):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("program", "message"), [(nameless, r"are \['w'\]"), (local_alone, "no latent but 'z'")]
)
def test_model_of_other_sites_is_refused(program, message):
    guide = GlobalAndLocal(program, AmortizedNormal(ExactEncoder(), takes_context=True))
    with pytest.raises(DataError, match=message):
        guide(X)


def test_what_is_no_amortized_guide_is_refused():
    with pytest.raises(TypeError, match="AmortizedFlow"):
        GlobalAndLocal(model, nn.Linear(2, 2))
