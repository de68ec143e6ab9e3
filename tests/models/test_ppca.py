"""Proof by the one VAE with a known optimum: the linear-Gaussian one is probabilistic PCA."""

import pytest
import torch
from pyro.distributions import MultivariateNormal
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit

SIZE, LATENT = 5, 2


class LinearEncoder(nn.Module):
    """Location linear in x, one covariance for all rows: the family of the exact posterior."""

    def __init__(self):
        super().__init__()
        self.loc, self.rest = nn.Linear(SIZE, LATENT), nn.Parameter(torch.zeros(LATENT + 1))

    def forward(self, x):
        loc = self.loc(x)
        return loc, self.rest[:LATENT].expand_as(loc), self.rest[LATENT:].expand(len(x), 1)


def rows():
    generator = torch.Generator().manual_seed(1)
    loadings = torch.randn(SIZE, LATENT, generator=generator).double()
    z, noise = (torch.randn(1000, k, generator=generator).double() for k in (LATENT, SIZE))
    return z @ loadings.T + 0.5 * noise + 1.0


def ppca(x):
    """The maximum-likelihood solution of Tipping and Bishop, from the eigenvalues of the covariance."""
    mean, covariance = x.mean(0), x.T.cov(correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    variance = values[:-LATENT].mean()
    principal = vectors[:, -LATENT:] * (values[-LATENT:] - variance).sqrt()
    full = principal @ principal.T + variance * torch.eye(SIZE).double()
    return MultivariateNormal(mean, full).log_prob(x).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_the_linear_vae_reaches_the_exact_likelihood_and_its_guide_the_exact_posterior(kl):
    x = rows()
    guide = AmortizedNormal(LinearEncoder(), full_covariance=True)
    likelihood = Gaussian(scale=1.0, learned=True)
    vae = VAE(nn.Linear(LATENT, SIZE), LATENT, likelihood=likelihood, guide=guide).double()
    fit(ELBO(vae, kl=kl), x, steps=6000, batch_size=250, lr=0.02, schedule="cosine", progress=False)
    with torch.no_grad():
        weights, variance = vae.decoder.weight, likelihood.scale.square()
        covariance = weights @ weights.T + variance * torch.eye(SIZE).double()
        learned = MultivariateNormal(vae.decoder.bias, covariance).log_prob(x).mean().item()
        best = ppca(x)
        bound = torch.stack([vae.log_prob_bound(x) for _ in range(200)]).mean().item()
        posterior = guide.posterior(x)
        precision = torch.eye(LATENT).double() + weights.T @ weights / variance
        exact = torch.linalg.solve(precision, weights.T @ (x - vae.decoder.bias).T / variance).T
    assert learned == pytest.approx(best, abs=0.01)
    assert bound == pytest.approx(best, abs=0.01)
    assert_close(posterior.mean, exact, atol=0.05, rtol=0)
    assert_close(posterior.covariance_matrix[0], torch.linalg.inv(precision), atol=0.01, rtol=0)
