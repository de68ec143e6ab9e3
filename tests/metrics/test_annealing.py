"""Annealed importance sampling on a linear model whose marginal likelihood is known."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.metrics import annealed_log_likelihood
from pyro_dgm.models import VAE, ImplicitGenerator
from pyro_dgm.nets import ConditionalGenerator

WEIGHTS, NOISE = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.0]]).double(), 0.3
ROWS = torch.tensor([[1.0, -1.0, 0.5], [0.0, 0.2, 0.1]]).double()
COVARIANCE = WEIGHTS @ WEIGHTS.T + NOISE**2 * torch.eye(3).double()
EXACT = dist.MultivariateNormal(torch.zeros(3).double(), COVARIANCE).log_prob(ROWS)


class Decoder(nn.Module):
    def forward(self, z):
        return z @ WEIGHTS.T


def vae(scale=NOISE):
    return VAE(Decoder(), 2, likelihood=Gaussian(scale=scale)).double()


def test_the_estimate_is_the_exact_log_likelihood():
    estimate = annealed_log_likelihood(vae(), ROWS, num_chains=64, num_temperatures=200, seed=0)
    assert_close(estimate.log_prob, EXACT, atol=0.1, rtol=0)
    assert ((estimate.acceptance > 0.4) & (estimate.acceptance < 0.95)).all()


def test_few_temperatures_underestimate():
    repeated = ROWS.repeat(200, 1)
    few = annealed_log_likelihood(vae(), repeated, num_chains=4, num_temperatures=2, seed=0)
    assert few.mean < EXACT.mean() - 0.5


def test_the_weights_are_unbiased_at_any_number_of_temperatures():
    estimate = annealed_log_likelihood(vae(1.0), ROWS, num_chains=20000, num_temperatures=3, seed=0)
    covariance = WEIGHTS @ WEIGHTS.T + torch.eye(3).double()
    exact = dist.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(ROWS)
    error = estimate.ess.rsqrt()
    assert ((estimate.log_prob - exact).abs() < 4 * error).all()


def test_the_noise_is_part_of_the_figure_and_can_be_given():
    given = annealed_log_likelihood(
        vae(5.0),
        ROWS,
        likelihood=lambda mean: dist.Normal(mean, NOISE).to_event(1),
        num_chains=64,
        num_temperatures=200,
        seed=0,
    )
    assert_close(given.log_prob, EXACT, atol=0.1, rtol=0)
    assert "Normal of scale 0.3" in str(given)


def noisy(mean):
    return dist.Normal(mean, NOISE).to_event(1)


def test_a_generator_with_stated_noise_has_the_same_likelihood_as_the_vae_with_its_network():
    gan = ImplicitGenerator(Decoder(), 2, data_shape=(3,)).double()
    settings = {"num_chains": 8, "num_temperatures": 20, "seed": 0}
    found = annealed_log_likelihood(gan, ROWS, likelihood=noisy, **settings)
    assert_close(found.log_prob, annealed_log_likelihood(vae(), ROWS, **settings).log_prob)
    assert "Normal of scale 0.3" in str(found)


class Shifted(nn.Module):
    def forward(self, z_and_context):
        return z_and_context[..., :2] @ WEIGHTS.T + z_and_context[..., 2:]


def test_each_row_is_annealed_given_its_own_context():
    context = torch.tensor([[0.5, 0.0, -1.0], [0.0, 2.0, 0.3]]).double()
    gan = ImplicitGenerator(ConditionalGenerator(Shifted()), 2, data_shape=(3,)).double()
    found = annealed_log_likelihood(
        gan, ROWS + context, context=context, likelihood=noisy, num_chains=64, num_temperatures=200, seed=0
    )
    assert_close(found.log_prob, EXACT, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("x", "likelihood", "error", "match"),
    [
        (ROWS, None, ArgumentTypeError, "no density given z.*likelihood="),
        (ROWS[:, :2], noisy, ShapeError, r"\(3,\).*\(2,\)"),
        (ROWS * torch.tensor([1.0, torch.nan, 1.0]), noisy, DataError, "row 0"),
        (ROWS.float(), noisy, DataError, "float32"),
        (ROWS.numpy(), noisy, ArgumentTypeError, "as_rows"),
        (ROWS, lambda mean: dist.Bernoulli(logits=mean).to_event(1), DataError, "outside the support"),
    ],
    ids=["no density", "other shape", "nan", "dtype", "array", "support"],
)
def test_what_has_no_density_is_refused(x, likelihood, error, match):
    with pytest.raises(error, match=match):
        annealed_log_likelihood(
            ImplicitGenerator(Decoder(), 2, data_shape=(3,)).double(), x, likelihood=likelihood
        )


def test_counts_below_one_are_refused():
    with pytest.raises(DataError, match="num_chains"):
        annealed_log_likelihood(vae(), ROWS, num_chains=0)
