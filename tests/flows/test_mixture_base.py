"""Masked autoregressive flows over a mixture of normals."""

import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import MAF
from pyro_dgm.transforms import MixtureOfNormals
from tests.contract.cases import perturbed


def mixture(parameters, max_log_scale):
    """Pyro's own mixture with the parameters of the elementwise map, ``(3 K, N)``, and the wide normal."""
    raw_w, mean, raw_scale = parameters.T.unflatten(-1, (3, -1)).unbind(-2)
    scale = (max_log_scale * torch.tanh(raw_scale / max_log_scale)).exp()
    weights = torch.cat(((1 - 1e-4) * raw_w.softmax(-1), torch.full_like(mean[:, :1], 1e-4)), -1)
    equal = dist.MixtureSameFamily(dist.Categorical(torch.ones_like(mean)), dist.Normal(mean, scale))
    wide = equal.mean[:, None], 2 * equal.variance.sqrt()[:, None]
    normals = dist.Normal(torch.cat((mean, wide[0]), -1), torch.cat((scale, wide[1]), -1))
    return dist.MixtureSameFamily(dist.Categorical(weights), normals)


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
    family = MixtureOfNormals(2, wide_weight=0.0)
    parameters = torch.tensor([0.0, 0.0, -5.0, 5.0, -9.0, -9.0])[:, None]
    x = torch.cat((torch.randn(1000), 1e-7 * torch.randn(1000), torch.zeros(1)))
    y = family.call(x, parameters.expand(-1, len(x)))[0]
    assert y.abs().max() < 6
    assert_close(family.inverse(y, parameters.expand(-1, len(x)))[0], x, atol=1e-5, rtol=1e-5)


def test_data_between_far_components_come_back():
    # Without the wide normal the function is flat to rounding over most of these.
    family, y = MixtureOfNormals(2), torch.linspace(-6, 6, 500).double()
    parameters = torch.tensor([0.0, 0.0, -5.0, 5.0, -9.0, -9.0]).double()[:, None].expand(-1, 500)
    far = torch.tensor([0.0, 0.0, -90.0, 90.0, -9.0, -9.0]).double()[:, None].expand(-1, 500)
    assert (family.call(family.inverse(18 * y, far)[0], far)[0] - 18 * y).abs().max() < 1e-9
    back = family.call(family.inverse(y, parameters)[0], parameters)[0]
    assert ((back - y).abs() / y.abs().clamp(min=1)).max() < 1e-10
    bare = MixtureOfNormals(2, wide_weight=0.0)
    assert (bare.call(bare.inverse(y, parameters)[0], parameters)[0] - y).abs().max() > 0.1


def test_fresh_mixture_has_the_moments_of_a_standard_normal():
    theirs = mixture(MixtureOfNormals(7).identity()[:, None], 3.0)
    assert_close(theirs.mean, torch.zeros(1), atol=1e-6, rtol=0)
    assert_close(theirs.variance, torch.ones(1) + 1e-4 * (4 - 1))


def test_sizes_that_make_no_mixture_are_refused():
    for make in (
        lambda: MAF(2, num_components=-1),
        lambda: MAF(2, num_layers=0),
        lambda: MixtureOfNormals(0),
    ):
        with pytest.raises(ValueError, match="needs num_"):
            make()
