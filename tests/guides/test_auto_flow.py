"""AutoFlow on models whose posterior is known."""

import copy
import math
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.reparam import NeuTraReparam
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import IAF, OTFlow, RealNVP
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import importance_draws
from tests.contract.cases import perturbed
from tests.pyro.flows_of_the_library import FLOWS

X = torch.tensor([[0.5, -0.6], [1.1, -0.2], [0.4, 0.1]], dtype=torch.double)
COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.double)


def conjugate_model(x=X):
    """z ~ N(0, S), x_i ~ N(z, I / 4)."""
    z = pyro.sample("z", dist.MultivariateNormal(torch.zeros(2).to(x), COVARIANCE.to(x)))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def exact_posterior(x=X):
    precision = COVARIANCE.to(x).inverse() + 4 * len(x) * torch.eye(2).to(x)
    covariance = precision.inverse()
    return covariance @ (4 * x.sum(0)), covariance


def log_evidence(x=X):
    n = len(x)
    joint = torch.eye(2 * n).to(x) / 4 + COVARIANCE.to(x).repeat(n, n)
    return dist.MultivariateNormal(torch.zeros(2 * n).to(x), joint).log_prob(x.reshape(-1))


def exact_guide(**options):
    """A guide whose affine map is set to the exact posterior; its fresh flow is the identity."""
    guide = AutoFlow(conjugate_model, **options)
    guide()
    mean, covariance = exact_posterior()
    root = torch.linalg.cholesky(covariance)
    guide.flow.affine.set(mean, root)
    return guide


def elbo_gradient(guide):
    loss = Trace_ELBO().differentiable_loss(conjugate_model, guide)
    parameters = list(guide.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss, torch.cat(
        [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(parameters, gradients, strict=True)
        ]
    )


@pytest.mark.parametrize("stick", [False, True])
def test_exact_guide_gives_the_evidence_at_every_draw(stick):
    loss, _ = elbo_gradient(exact_guide(stick_the_landing=stick))
    assert_close(-loss, log_evidence(), rtol=0, atol=1e-10)


def test_sticking_the_landing_leaves_no_gradient_at_the_exact_posterior():
    assert elbo_gradient(exact_guide(stick_the_landing=True))[1].abs().max() < 1e-10
    assert elbo_gradient(exact_guide(stick_the_landing=False))[1].abs().max() > 1e-2


def test_both_gradients_agree_in_the_mean():
    means, errors = [], []
    for stick in (False, True):
        torch.manual_seed(1)
        guide = AutoFlow(
            conjugate_model, lambda d: RealNVP(d, num_layers=2, hidden_dims=(4,)), stick_the_landing=stick
        )
        guide()
        torch.manual_seed(2)
        draws = torch.stack([elbo_gradient(guide)[1] for _ in range(100)])
        means.append(draws.mean(0))
        errors.append(draws.std(0) / math.sqrt(len(draws)))
    allowed = 4.5 * (errors[0].square() + errors[1].square()).sqrt() + 1e-9
    assert ((means[0] - means[1]).abs() < allowed).all()


def test_training_finds_the_posterior():
    x = X.float()
    guide = AutoFlow(lambda: conjugate_model(x), lambda d: RealNVP(d, num_layers=2, hidden_dims=(8,)))
    svi = SVI(
        lambda: conjugate_model(x),
        guide,
        pyro.optim.ClippedAdam({"lr": 0.02, "lrd": 0.97}),
        Trace_ELBO(4, vectorize_particles=True),
    )
    for _ in range(120):
        svi.step()
    mean, covariance = exact_posterior(x)
    draws = guide.sample_sites(20_000)["z"]
    assert_close(draws.mean(0), mean, rtol=0, atol=0.03)
    assert_close(draws.mT.cov(), covariance, rtol=0, atol=0.01)


OVER_OTHER_SPACES = {"CircularSpline", "Glow", "NeuralSplineImage", "RealNVPImage"}
CONSTRAINED = {name for name in FLOWS if name.endswith(("positive", "simplex", "interval", "ordered"))}
UNBOUNDED = sorted(set(FLOWS) - OVER_OTHER_SPACES - CONSTRAINED)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_every_flow_of_the_library_guides_and_its_weights_give_the_evidence(name):
    guide = AutoFlow(conjugate_model, lambda _: perturbed(FLOWS[name](), 0.02).double())
    guide()
    # The affine map gives the flow's draws the posterior's mean, and 1.3 times its standard deviations.
    mean, covariance = exact_posterior()
    drawn = guide.flow.flow().sample((4000,))
    root = torch.linalg.cholesky(covariance) @ torch.linalg.cholesky(drawn.mT.cov()).inverse()
    guide.flow.affine.set(mean - 1.3 * root @ drawn.mean(0), 1.3 * root)
    weights = importance_draws(conjugate_model, guide, num_samples=2000, chunk=2000).log_weights
    weights = (weights - log_evidence()).exp()
    error = weights.std() / math.sqrt(2000)
    assert error < 0.05
    assert abs(weights.mean() - 1) < 4 * error


@pytest.mark.parametrize("name", sorted(OVER_OTHER_SPACES | CONSTRAINED))
def test_flow_over_another_space_is_refused_before_any_step(name):
    with pytest.raises(DataError, match="unbounded"):
        AutoFlow(conjugate_model, lambda _: FLOWS[name]())()


def constrained_model():
    """Sites of four supports, one of them in a plate."""
    pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", 4):
        pyro.sample("rate", dist.Beta(2.0, 3.0))
    pyro.sample("mean", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(0.0, scale), obs=torch.tensor(0.3))


FACTORIES = {
    "default": None,
    "real-nvp": lambda d: RealNVP(d, num_layers=2, hidden_dims=(8,)),
    "iaf": lambda d: IAF(d, num_layers=2, hidden_dims=(8,)),
    "ot-flow": lambda d: OTFlow(d, width=4, rank=1, nt_train=4, nt_eval=4),
}


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
@pytest.mark.parametrize("stick", [False, True])
@pytest.mark.parametrize("vectorize", [False, True])
def test_any_flow_guides_sites_of_any_support(factory, stick, vectorize):
    guide = AutoFlow(constrained_model, factory, stick_the_landing=stick)
    svi = SVI(
        constrained_model,
        guide,
        pyro.optim.Adam({"lr": 1e-2}),
        Trace_ELBO(2, vectorize_particles=vectorize, max_plate_nesting=1),
    )
    before = None
    for _ in range(3):
        assert math.isfinite(svi.step())
        before = before or [p.detach().clone() for p in guide.flow.affine.parameters()]
    assert all((a != b).any() for a, b in zip(before, guide.flow.affine.parameters(), strict=True))


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_sites_in_their_supports(parallel):
    guide = AutoFlow(constrained_model)
    guide()
    drawn = Predictive(constrained_model, guide=guide, num_samples=50, parallel=parallel)()
    own = guide.sample_sites(50)
    for name, shape in {"weights": (3,), "scale": (), "rate": (4,), "mean": (2,)}.items():
        assert own[name].shape == (50, *shape)
        assert drawn[name].numel() == own[name].numel()
    assert_close(drawn["weights"].sum(-1).flatten(), torch.ones(50))
    assert (drawn["scale"] > 0).all()


def test_density_of_constrained_sites_is_that_of_the_flow_with_the_jacobian():
    guide = AutoFlow(constrained_model)
    guide()
    trace = pyro.poutine.trace(guide).get_trace()
    trace.compute_log_prob()
    latent = next(site["value"] for name, site in trace.nodes.items() if name.endswith("_latent")).detach()
    own = {name: site["log_prob"] for name, site in trace.nodes.items() if site["type"] == "sample"}
    assert_close(own["scale"], -latent[2], atol=1e-4, rtol=0)  # scale = exp(latent)
    to_simplex = torch.distributions.biject_to(dist.constraints.simplex)
    jacobian = torch.autograd.functional.jacobian(to_simplex, latent[:2])[:2]
    assert_close(own["weights"], -torch.linalg.slogdet(jacobian).logabsdet, atol=1e-4, rtol=0)
    auxiliary = next(value for name, value in own.items() if name.endswith("_latent"))
    assert_close(auxiliary, guide.flow().log_prob(latent), atol=1e-4, rtol=0)


def test_median_and_quantiles_are_those_of_the_draws():
    guide = exact_guide()
    mean, covariance = exact_posterior()
    sd = covariance.diagonal().sqrt()
    assert_close(guide.median(num_samples=20_000)["z"], mean, rtol=0, atol=0.02)
    low, high = guide.quantiles([0.1587, 0.8413], num_samples=20_000)["z"]
    assert_close(torch.stack((low, high)), torch.stack((mean - sd, mean + sd)), rtol=0, atol=0.02)


def test_two_guides_in_one_process_do_not_share_parameters():
    one, two = AutoFlow(conjugate_model), AutoFlow(conjugate_model)
    for guide in (one, two):
        SVI(conjugate_model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step()
    before = two.flow.affine.moves["loc"].clone()
    for _ in range(5):
        SVI(conjugate_model, one, pyro.optim.Adam({"lr": 1e-1}), Trace_ELBO()).step()
    assert_close(two.flow.affine.moves["loc"], before, rtol=0, atol=0)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda guide: pickle.loads(pickle.dumps(guide))])
def test_a_copy_is_the_same_guide_and_leaves_the_original_whole(twin):
    guide = exact_guide()
    other = twin(guide)
    point = torch.randn(5, 2).double()
    assert_close(other.flow().log_prob(point), guide.flow().log_prob(point))
    assert guide.model is not None
    assert other._pyro_name != guide._pyro_name
    assert other()["z"].shape == (2,)


def test_a_copy_made_before_the_first_call_can_be_built():
    guide = copy.deepcopy(AutoFlow(conjugate_model))
    assert guide()["z"].shape == (2,)


def test_neutra_with_the_exact_guide_is_a_standard_normal():
    guide = exact_guide()
    model = NeuTraReparam(guide).reparam(conjugate_model)
    for _ in range(3):
        trace = pyro.poutine.trace(model).get_trace()
        latent = trace.nodes["z_shared_latent"]["value"]
        normal = dist.Normal(torch.zeros(2).to(latent), 1.0).to_event(1)
        assert_close(trace.log_prob_sum(), normal.log_prob(latent) + log_evidence())


def test_discrete_latent_is_refused():
    def model():
        pyro.sample("k", dist.Bernoulli(0.5))
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match="'k'"):
        AutoFlow(model)()


def test_subsampled_local_latent_is_refused():
    def model():
        with pyro.plate("data", 10, subsample=torch.arange(4)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(DataError, match="subsampled plate 'data', 4 of 10"):
        AutoFlow(model)()


def test_model_without_latents_is_refused():
    with pytest.raises(DataError, match="no latent"):
        AutoFlow(lambda: pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0)))()


def test_flow_of_another_size_is_refused_before_any_step():
    with pytest.raises(ShapeError, match="2 unbounded coordinates"):
        AutoFlow(conjugate_model, lambda d: RealNVP(d + 1))()


def test_what_is_no_flow_is_refused():
    with pytest.raises(TypeError, match="from_zuko"):
        AutoFlow(conjugate_model, lambda d: torch.nn.Linear(d, d))()
