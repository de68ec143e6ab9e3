"""Priors that train: their densities, and that they learn inside a VAE."""

import copy

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions import NormalMixture, VampPrior
from pyro_dgm.distributions.mixture_of_normals import MixtureOfNormals
from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO


def test_the_mixture_is_the_weighted_sum_of_its_components():
    prior = NormalMixture(2, 3).double()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        prior.log_scale.normal_()
    z = torch.randn(7, 2).double()
    components = dist.Normal(prior.loc, prior.log_scale.exp()).to_event(1)
    expected = components.log_prob(z[:, None]).exp() @ prior.logits.softmax(0)
    assert_close(prior().log_prob(z).exp(), expected)


def test_the_vamp_prior_is_the_mean_of_the_posteriors_at_its_pseudo_inputs():
    guide, u, z = AmortizedNormal(MLPEncoder((4,), 2)).double(), torch.rand(5, 4).double(), torch.randn(3, 2)
    prior = VampPrior(guide, u).double()
    expected = guide.posterior(u).log_prob(z.double()[:, None]).exp().mean(1)
    assert_close(prior().log_prob(z.double()).exp(), expected)


def narrow_mixture(dtype=torch.double):
    torch.manual_seed(0)
    loc, logits = 3 * torch.randn(6, 4, dtype=dtype), torch.randn(6, dtype=dtype)
    scale = torch.linspace(0.05, 1.0, 24, dtype=dtype).view(6, 4)
    z = loc[:3] + 0.1 * torch.randn(2, 3, 4, dtype=dtype)
    return [t.requires_grad_() for t in (logits, loc, scale, z)]


def mixture(kind, logits, loc, scale):
    return kind(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))


def test_products_of_matrices_score_a_mixture_and_its_gradients_as_the_components_do():
    *parameters, z = narrow_mixture()
    found = []
    for kind in (MixtureOfNormals, dist.MixtureSameFamily):
        log_prob = mixture(kind, *parameters).log_prob(z)
        found.append([log_prob, *torch.autograd.grad(log_prob.sin().sum(), [*parameters, z])])
    assert found[0][0].shape == (2, 3)
    assert_close(found[0], found[1], rtol=1e-8, atol=1e-8)


def test_products_of_matrices_keep_their_digits_in_single_precision():
    single = [t.detach().float() for t in narrow_mixture()]
    double = [t.double() for t in single]
    ours = mixture(MixtureOfNormals, *single[:3]).log_prob(single[3])
    expected = mixture(dist.MixtureSameFamily, *double[:3]).log_prob(double[3])
    assert_close(ours.double(), expected, rtol=0, atol=5e-3)  # squares reach 2 (9 / 0.05)^2


def test_other_mixtures_are_scored_as_ever():
    logits, loc, scale, z = (t.detach() for t in narrow_mixture())
    ours = mixture(MixtureOfNormals, logits, loc, scale)
    assert_close(ours.expand((2, 3)).log_prob(z), ours.log_prob(z), rtol=1e-8, atol=1e-8)
    laplace = MixtureOfNormals(dist.Categorical(logits=logits), dist.Laplace(loc, scale).to_event(1))
    expected = dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Laplace(loc, scale).to_event(1))
    assert_close(laplace.log_prob(z), expected.log_prob(z))
    with pytest.raises(ValueError, match="support"):
        ours.log_prob(torch.full_like(z, torch.nan))


def test_a_vae_holds_each_parameter_of_its_vamp_prior_once_and_a_copy_uses_its_own_guide():
    guide = AmortizedNormal(MLPEncoder((4,), 2))
    vae = VAE(MLPDecoder(2, (4,)), 2, guide=guide, prior=VampPrior(guide, torch.rand(5, 4)))
    assert len(vae.state_dict()) == len(list(vae.parameters()))
    twin = copy.deepcopy(vae)
    assert twin.learned_prior._guide[0] is twin.guide


def mixture_prior(guide):
    return NormalMixture(2, 4)


def vamp_prior(guide):
    return VampPrior(guide, torch.rand(6, 4))


def flow_prior(guide):
    return RealNVP(2, hidden_dims=(16,))


@pytest.mark.parametrize("make", [mixture_prior, vamp_prior, flow_prior])
def test_every_parameter_of_a_prior_gets_a_gradient_and_the_vae_still_draws(make):
    guide = AmortizedNormal(MLPEncoder((4,), 2))
    vae = VAE(MLPDecoder(2, (4,)), 2, guide=guide, prior=make(guide))
    with torch.no_grad():
        for p in vae.parameters():
            p.add_(0.1 * torch.randn_like(p))
    ELBO(vae)(torch.bernoulli(torch.full((8, 4), 0.5))).backward()
    missing = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing
    assert vae.sample(3).shape == (3, 4)


def test_a_prior_of_another_size_is_refused():
    vae = VAE(nn.Linear(2, 3), 2, prior=NormalMixture(3))
    with pytest.raises(ShapeError, match="latent_dim=2"):
        vae.sample(1)
