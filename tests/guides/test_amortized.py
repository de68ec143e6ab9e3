"""Amortized guides: their densities, and what they say when an encoder does not fit."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import IAF, Planar, RealNVP
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO
from pyro_dgm.transforms import Autoregressive

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(3)).double()


def perturbed(module):
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return module


def guides():
    return {
        "diagonal": AmortizedNormal(MLPEncoder((4,), 3)),
        "full": AmortizedNormal(MLPEncoder((4,), 3, extra_dim=3), full_covariance=True),
        "iaf": AmortizedFlow(MLPEncoder((4,), 3, extra_dim=5), IAF(3, 5, num_layers=2, hidden_dims=(16,))),
        "planar": AmortizedFlow(MLPEncoder((4,), 3, extra_dim=5), Planar(3, 5, num_layers=3)),
        "features": AmortizedFlow(nn.Linear(4, 5), RealNVP(3, 5, num_layers=2, hidden_dims=(16,))),
        "no-context": AmortizedFlow(MLPEncoder((4,), 3), IAF(3, num_layers=2, hidden_dims=(16,))),
    }


@pytest.fixture(params=guides().keys())
def guide(request):
    return perturbed(guides()[request.param])


def test_the_density_of_the_own_draw_is_that_of_the_same_value_as_a_stranger(guide):
    posterior = guide.posterior(X)
    z = posterior.rsample((2,))
    assert_close(posterior.log_prob(z), guide.posterior(X).log_prob(z.detach().clone()), atol=1e-8, rtol=1e-8)


def test_every_parameter_of_a_guide_trains_in_a_vae_under_svi(guide):
    vae = VAE(MLPDecoder(3, (4,)), 3, guide=guide).double()
    before = {name: p.detach().clone() for name, p in guide.named_parameters()}
    svi = SVI(vae, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    for _ in range(2):
        svi.step(torch.bernoulli(X.sigmoid()))
    same = [name for name, p in guide.named_parameters() if torch.equal(p, before[name])]
    assert not same


def test_the_constant_density_is_the_same_and_passes_gradients_to_z_alone(guide):
    posterior = guide.posterior(X)
    z = posterior.rsample().detach().requires_grad_()
    log_q = guide.constant_log_prob(posterior, z, X)
    assert_close(log_q, posterior.log_prob(z), atol=1e-8, rtol=1e-8)
    log_q.sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(p.grad is None for p in guide.parameters())
    assert all(p.requires_grad for p in guide.parameters())


def test_a_guide_for_one_row_does_not_see_the_others(guide):
    z = torch.randn(6, 3).double()
    alone = torch.cat([guide.posterior(X[i : i + 1]).log_prob(z[i : i + 1]) for i in range(6)])
    assert_close(guide.posterior(X).log_prob(z), alone, atol=1e-8, rtol=1e-8)


def test_an_inverse_autoregressive_posterior_is_not_inverted_in_training(monkeypatch):
    calls, invert = [], Autoregressive.inverse
    monkeypatch.setattr(Autoregressive, "inverse", lambda self, *a: calls.append(self) or invert(self, *a))
    guide = guides()["iaf"]
    vae = VAE(MLPDecoder(3, (4,)), 3, guide=guide)
    x = torch.bernoulli(X.float().sigmoid())
    ELBO(vae)(x).backward()
    Trace_ELBO().differentiable_loss(vae, guide, x).backward()
    assert not calls


def test_the_full_covariance_has_the_encoders_standard_deviations_on_the_factors_diagonal():
    guide = perturbed(guides()["full"])
    loc, logvar, below = guide.encoder(X)
    posterior = guide.posterior(X)
    assert_close(posterior.mean, loc)
    factor = posterior.scale_tril / (logvar / 2).exp().unsqueeze(-1)
    assert_close(torch.diagonal(factor, dim1=-2, dim2=-1), torch.ones(6, 3).double())
    assert_close(torch.stack([factor[:, 1, 0], factor[:, 2, 0], factor[:, 2, 1]], -1), below)


def test_an_encoder_sees_zero_where_an_entry_is_missing():
    guide, mask = AmortizedNormal(MLPEncoder((4,), 3)).double(), torch.rand(6, 4) < 0.5
    with pyro.poutine.trace() as filled:
        guide(X.where(mask, torch.zeros(()).double()))
    with pyro.poutine.trace() as masked:
        guide(X.masked_fill(~mask, torch.nan), mask=mask)
    sites = [trace.trace.nodes["z"]["fn"].base_dist.loc for trace in (filled, masked)]
    assert_close(*sites)


BAD = {
    "one tensor": (lambda: AmortizedNormal(nn.Linear(4, 3)), "location and a log-variance"),
    "no lower entries": (lambda: AmortizedNormal(MLPEncoder((4,), 3), full_covariance=True), "extra_dim=3"),
    "no features": (lambda: AmortizedFlow(MLPEncoder((4,), 3), IAF(3, 5)), "context_dim=5"),
    "other latent": (lambda: AmortizedFlow(MLPEncoder((4,), 2), IAF(3)), "latent_dim"),
    "wrong features": (lambda: AmortizedFlow(nn.Linear(4, 2), IAF(3, 5)), "context_dim=5"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_an_encoder_that_does_not_fit_is_refused(case):
    make, message = case
    with pytest.raises(ShapeError, match=message):
        make().posterior(X.float())


def test_rows_of_another_shape_are_refused_by_the_encoder():
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        AmortizedNormal(MLPEncoder((4,), 3)).posterior(torch.zeros(2, 5))


def test_the_context_reaches_the_encoder_that_takes_it():
    guide = AmortizedNormal(MLPEncoder((4,), 3, context_dim=2), takes_context=True).double()
    here, there = (guide.posterior(X, c * torch.ones(6, 2).double()).mean for c in (0.0, 1.0))
    assert (here - there).abs().sum() > 0
    assert isinstance(guide.posterior(X, torch.zeros(6, 2).double()), dist.Independent)
