"""Masked autoregressive flows over a mixture of normals."""

import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import MAF
from pyro_dgm.transforms import MixtureOfNormals
from tests.contract.cases import perturbed


def mixture(parameters, max_log_scale):
    """Pyro's own mixture with the parameters of the elementwise map, ``(3 K, N)``."""
    raw_w, mean, raw_scale = parameters.T.unflatten(-1, (3, -1)).unbind(-2)
    scale = (max_log_scale * torch.tanh(raw_scale / max_log_scale)).exp()
    return dist.MixtureSameFamily(dist.Categorical(logits=raw_w), dist.Normal(mean, scale))


def test_latent_is_the_normal_quantile_of_pyros_mixture():
    family, parameters = MixtureOfNormals(3), torch.randn(9, 50, dtype=torch.double)
    y, theirs = torch.randn(50, dtype=torch.double), mixture(parameters, 3.0)
    x, log_slope = family.inverse(y, parameters)
    assert_close(x, torch.special.ndtri(theirs.cdf(y)))
    assert_close(dist.Normal(torch.zeros(50).double(), 1.0).log_prob(x) + log_slope, theirs.log_prob(y))


def test_without_layers_the_density_is_the_product_of_pyros_mixtures():
    flow = perturbed(MAF(2, num_layers=0, num_components=4, hidden_dims=(8,)).double(), 0.5)
    y = torch.randn(20, 2, dtype=torch.double)
    parameters = flow.conditioners[0](y.T).unflatten(0, (12, 2))
    expected = sum(mixture(parameters[:, i], 3.0).log_prob(y[:, i]) for i in range(2))
    assert_close(flow().log_prob(y), expected)


def test_draws_between_far_components_are_finite_and_return_to_their_latents():
    # Between the two normals the function is flat to rounding: a Newton step there would go anywhere.
    family = MixtureOfNormals(2)
    parameters = torch.tensor([0.0, 0.0, -5.0, 5.0, -9.0, -9.0])[:, None]
    x = torch.cat((torch.randn(1000), 1e-7 * torch.randn(1000), torch.zeros(1)))
    y = family.call(x, parameters.expand(-1, len(x)))[0]
    assert y.abs().max() < 6
    assert_close(family.inverse(y, parameters.expand(-1, len(x)))[0], x, atol=1e-5, rtol=1e-5)


def test_fresh_mixture_has_the_moments_of_a_standard_normal():
    theirs = mixture(MixtureOfNormals(7).identity()[:, None], 3.0)
    assert_close(theirs.mean, torch.zeros(1), atol=1e-6, rtol=0)
    assert_close(theirs.variance, torch.ones(1))


def test_sizes_that_make_no_mixture_are_refused():
    for make in (
        lambda: MAF(2, num_components=-1),
        lambda: MAF(2, num_layers=0),
        lambda: MixtureOfNormals(0),
    ):
        with pytest.raises(ValueError, match="needs num_"):
            make()
