"""The bound of a VAE: the fast path against Pyro's, and the ways in which the divergence enters."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import kl_divergence
from torch.testing import assert_close

from pyro_dgm.distributions import NormalMixture, StandardNormal
from pyro_dgm.flows import IAF, RealNVP
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO, Batch
from pyro_dgm.training import fit

X = torch.bernoulli(torch.full((6, 4), 0.5), generator=torch.Generator().manual_seed(1)).double()
PART = Batch(X[:4], index=torch.tensor([3, 0, 5, 1]), size=6)


def normal(full=False):
    return AmortizedNormal(MLPEncoder((4,), 3, extra_dim=3 if full else 0), full_covariance=full)


def make(kind="diagonal"):
    guide = normal(kind == "full")
    prior = None
    if kind == "iaf":
        guide = AmortizedFlow(MLPEncoder((4,), 3, extra_dim=2), IAF(3, 2, num_layers=2, hidden_dims=(8,)))
    if kind == "flow prior":
        prior = RealNVP(3, hidden_dims=(8,))
    if kind == "mixture prior":
        prior = NormalMixture(3, 4)
    vae = VAE(MLPDecoder(3, (4,)), 3, guide=guide, prior=prior).double()
    with torch.no_grad():
        for p in vae.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return vae


KINDS = ["diagonal", "full", "iaf", "flow prior", "mixture prior"]


@pytest.mark.parametrize("particles", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_path_is_what_trace_elbo_computes_with_the_same_noise(kind, particles):
    vae, values, gradients = make(kind), [], []
    several = particles > 1
    pyros = Trace_ELBO(num_particles=particles, vectorize_particles=several, max_plate_nesting=1)
    for which in ("ours", "pyro"):
        pyro.clear_param_store()
        vae.zero_grad()
        torch.manual_seed(0)
        if which == "ours":
            loss = ELBO(vae, num_particles=particles)(PART)
        else:
            index, size = PART.index, PART.size
            loss = pyros.differentiable_loss(vae, vae.guide, PART.x, size=size, index=index) / size
        loss.backward()
        values.append(loss.detach())
        gradients.append([p.grad.clone() for p in vae.parameters()])
    assert_close(values[0], values[1], rtol=1e-10, atol=1e-10)
    assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-10)


def test_an_enclosing_handler_acts_as_it_does_in_pyro():
    vae = make()
    torch.manual_seed(0)
    plain = ELBO(vae)(X)
    torch.manual_seed(0)
    with poutine.scale(scale=2.0):
        assert_close(ELBO(vae)(X), 2 * plain)


def test_a_vae_with_a_forward_of_its_own_is_traced():
    class Tempered(VAE):
        def forward(self, x=None, context=None, **kwargs):
            with poutine.scale(scale=3.0):
                return super().forward(x, context, **kwargs)

    vae = Tempered(MLPDecoder(3, (4,)), 3, guide=normal()).double()
    torch.manual_seed(0)
    ours = ELBO(vae)(X)
    torch.manual_seed(0)
    assert_close(ours, Trace_ELBO().differentiable_loss(vae, vae.guide, X) / len(X))


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_analytic_and_sampled_divergence_agree_within_three_standard_errors(kind):
    vae = make(kind)
    posterior, prior = vae.guide.posterior(X), vae.prior()
    z = posterior.sample((20000,))
    draws = posterior.log_prob(z) - prior.log_prob(z)
    error = draws.std(0) / math.sqrt(20000)
    assert ((draws.mean(0) - kl_divergence(posterior, prior)).abs() < 3 * error).all()


@pytest.mark.parametrize("full", [False, True])
def test_the_closed_form_is_that_of_torch_for_two_normals(full):
    posterior = make("full" if full else "diagonal").guide.posterior(X)
    if full:
        other = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    else:
        other = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(3).double(), 1.0), 1)
    standard = StandardNormal(torch.zeros(3).double())
    assert_close(kl_divergence(posterior, standard), kl_divergence(posterior, other))


def test_the_analytic_bound_is_what_the_mean_field_elbo_computes():
    vae = make()
    torch.manual_seed(0)
    ours = ELBO(vae, kl="analytic")(X)
    torch.manual_seed(0)
    assert_close(ours, TraceMeanField_ELBO().differentiable_loss(vae, vae.guide, X) / len(X))


def test_beta_weighs_the_divergence_and_the_parts_are_reported():
    vae = make()
    torch.manual_seed(0)
    objective = ELBO(vae, kl="analytic", beta=4.0)
    loss = objective(X)
    assert_close(loss, objective.terms["reconstruction"] + 4 * objective.terms["kl"])
    assert_close(objective.terms["kl"], kl_divergence(vae.guide.posterior(X), vae.prior()).mean())


def test_beta_zero_leaves_the_reconstruction():
    objective = ELBO(make(), beta=0.0)
    assert_close(objective(X), objective.terms["reconstruction"])


def test_the_divergence_warms_up_over_training_steps_and_evaluation_is_the_bound():
    objective = ELBO(make(), kl="analytic", warm_up=4)
    factors = []
    for _ in range(6):
        loss = objective(X)
        factors.append(((loss - objective.terms["reconstruction"]) / objective.terms["kl"]).item())
    assert factors == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    fresh = ELBO(make(), kl="analytic", warm_up=4)
    value = fresh.evaluate_loss(X)
    assert value == pytest.approx(sum(term.item() for term in fresh.terms.values()))
    assert fresh.steps == 0


def test_the_warm_up_is_part_of_the_state_and_of_the_history():
    objective = ELBO(make(), warm_up=10)
    history = fit(objective, X, steps=7, batch_size=3, progress=False)
    assert objective.state_dict()["steps"] == 7
    assert {"reconstruction", "kl"} <= set(history.columns)


def test_free_bits_cost_nothing_below_the_threshold_and_all_above():
    vae = make()
    by_dimension = (lambda q: 0.5 * (q.variance + q.mean.square() - 1 - q.variance.log()).mean(0))(
        vae.guide.posterior(X)
    )
    threshold = by_dimension.sort().values[1].item() + 1e-9
    objective = ELBO(vae, kl="analytic", free_bits=threshold)
    loss = objective(X)
    charged = loss - objective.terms["reconstruction"]
    assert_close(charged, by_dimension.clamp(min=threshold).sum())
    vae.zero_grad()
    ELBO(vae, kl="analytic", free_bits=1e6, beta=3.0)(X).backward()
    free = [p.grad.clone() for p in vae.guide.parameters()]
    vae.zero_grad()
    torch.manual_seed(0)
    assert all(g.isfinite().all() for g in free)


def test_free_bits_do_not_enter_the_evaluation():
    vae = make()
    torch.manual_seed(0)
    free = ELBO(vae, kl="analytic", free_bits=5.0).evaluate_loss(X)
    torch.manual_seed(0)
    assert free == pytest.approx(ELBO(vae, kl="analytic").evaluate_loss(X))


def test_there_is_no_closed_form_for_a_flow_and_the_error_says_what_to_use():
    with pytest.raises(TypeError, match="kl='sampled'"):
        ELBO(make("iaf"), kl="analytic")(X)
    with pytest.raises(TypeError, match="standard normal prior"):
        ELBO(make("mixture prior"), free_bits=0.1)(X)


@pytest.mark.parametrize("bad", [{"kl": "exact"}, {"beta": -1.0}, {"warm_up": -1}, {"free_bits": -0.1}])
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ELBO(make(), **bad)


def test_the_options_are_for_vaes_alone():
    class Model(pyro.nn.PyroModule):
        def forward(self, x):
            pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))

    with pytest.raises(TypeError, match="options for a VAE"):
        ELBO(Model(), Model(), beta=2.0)
