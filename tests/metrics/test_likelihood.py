"""Importance-sampled likelihood on a model whose posterior and marginal likelihood are Gaussian."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import IAF, RealNVP
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal
from pyro_dgm.metrics import importance_log_likelihood, log_weights
from pyro_dgm.models import VAE, NormalizingFlow
from pyro_dgm.nets import MLPDecoder, MLPEncoder

LOADINGS, NOISE = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.0, 0.0]]).double(), 0.7
ROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
COVARIANCE = LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(3, dtype=torch.double)
LOG_PROB = dist.MultivariateNormal(torch.zeros(3).double(), COVARIANCE).log_prob(ROWS)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1).to_event(1))
        pyro.sample("x", dist.Normal(z @ LOADINGS.T, NOISE).to_event(1), obs=x)


def exact_guide(x, stretch=1.0):
    # diagonal, since the columns of LOADINGS are orthogonal
    precision = 1 + LOADINGS.square().sum(0) / NOISE**2
    loc = (x @ LOADINGS) / NOISE**2 / precision
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, stretch * precision.rsqrt()).to_event(1))


def wide_guide(x):
    exact_guide(x, stretch=1.6)


@pytest.mark.parametrize("num_samples", [1, 7])
def test_exact_posterior_gives_the_exact_likelihood_for_any_number_of_samples(num_samples):
    estimate = importance_log_likelihood(model, ROWS, guide=exact_guide, num_samples=num_samples)
    assert_close(estimate.log_prob, LOG_PROB)
    assert_close(estimate.ess, torch.full((6,), float(num_samples)).double())


def test_mean_weight_is_the_likelihood():
    weights = log_weights(model, wide_guide, ROWS, 20_000).exp()
    error = weights.mean(0) - LOG_PROB.exp()
    assert (error.abs() < 3 * weights.std(0) / math.sqrt(20_000)).all()


def test_estimate_is_a_bound_in_expectation_that_rises_with_the_number_of_samples():
    draws = log_weights(model, wide_guide, ROWS, 40 * 500).reshape(500, 40, 6)
    previous = torch.full((), -math.inf)
    for num in (1, 2, 5, 10, 40):
        bounds = (draws.reshape(-1, num, 6).logsumexp(1) - math.log(num)).mean(1)
        mean, error = bounds.mean(), bounds.std() / math.sqrt(len(bounds))
        assert previous < mean
        assert mean - 3 * error < LOG_PROB.mean()
        previous = mean
    assert LOG_PROB.mean() - previous < 0.05


def test_effective_sample_size_is_that_of_kish():
    with torch.random.fork_rng():
        weights = log_weights(model, wide_guide, ROWS, 50).exp()
    estimate = importance_log_likelihood(model, ROWS, guide=wide_guide, num_samples=50)
    assert_close(estimate.ess, weights.sum(0).square() / weights.square().sum(0))


def test_parallel_samples_are_those_drawn_one_after_the_other():
    torch.manual_seed(1)
    parallel = log_weights(model, wide_guide, ROWS, 5, chunk=len(ROWS))
    torch.manual_seed(1)
    one_by_one = log_weights(model, wide_guide, ROWS, 5, vectorize=False)
    assert_close(parallel, one_by_one)


class Linear(nn.Module):
    """Records how many latents are decoded at once, and in which mode."""

    def __init__(self):
        super().__init__()
        self.seen, self.modes = [], []
        self.weight = nn.Parameter(LOADINGS.clone())

    def forward(self, z):
        self.seen.append(z[..., 0].numel())
        self.modes.append(self.training)
        return z @ self.weight.T


class Encoder(nn.Module):
    def forward(self, x):
        return x[:, :2], -x[:, 1:].square()


@pytest.fixture
def vae():
    guide = AmortizedNormal(Encoder())
    vae = VAE(Linear(), 2, guide=guide, likelihood=lambda loc: dist.Normal(loc, NOISE).to_event(1))
    return vae.double()


@pytest.mark.parametrize("chunk", [1000, 40, 12, 5])
def test_chunk_bounds_what_is_decoded_at_once(vae, chunk):
    estimate = importance_log_likelihood(vae, ROWS, num_samples=20, chunk=chunk)
    assert estimate.log_prob.shape == (6,)
    assert max(vae.decoder.seen) <= chunk
    assert sum(vae.decoder.seen) == 6 * 20


def test_vae_weights_are_joint_over_posterior(vae):
    weights = importance_log_likelihood(vae, ROWS, num_samples=20_000, seed=0)
    standard_error = (1 / weights.ess - 1 / 20_000).sqrt()
    assert ((weights.log_prob - LOG_PROB).abs() < 3.5 * standard_error).all()


def test_modules_are_evaluated_and_get_their_modes_back(vae):
    vae.decoder.train()
    vae.guide.eval()
    importance_log_likelihood(vae, ROWS, num_samples=2)
    assert vae.decoder.modes == [False]
    assert vae.decoder.training
    assert not vae.guide.training


def test_a_flow_has_its_exact_likelihood():
    flow = NormalizingFlow(RealNVP(3, num_layers=2, hidden_dims=(8,))).double()
    estimate = importance_log_likelihood(flow, ROWS, num_samples=3)
    assert_close(estimate.log_prob, flow.log_prob(ROWS))
    assert_close(estimate.ess, torch.full((6,), 3.0).double())


def test_seed_repeats_the_estimate_and_leaves_the_global_state(vae):
    before = torch.get_rng_state()
    first, second = (importance_log_likelihood(vae, ROWS, num_samples=3, seed=4) for _ in range(2))
    assert first.log_prob.equal(second.log_prob)
    assert torch.get_rng_state().equal(before)


def test_estimate_prints_mean_error_and_number_of_samples():
    estimate = importance_log_likelihood(model, ROWS, guide=exact_guide, num_samples=7)
    assert estimate.mean == pytest.approx(LOG_PROB.mean().item())
    assert estimate.standard_error == pytest.approx((LOG_PROB.std() / math.sqrt(6)).item())
    assert "nats per row (6 rows, K=7 importance samples" in str(estimate)


def test_a_row_of_weight_zero_has_likelihood_zero_and_no_effective_sample():
    def impossible(x):
        model(x)
        with pyro.plate("rows", len(x)):
            pyro.factor("never", torch.where(x[:, 0] == ROWS[0, 0], -math.inf, 0.0))

    estimate = importance_log_likelihood(impossible, ROWS, guide=exact_guide, num_samples=4)
    assert estimate.log_prob[0] == -math.inf
    assert estimate.ess[0] == 0
    assert_close(estimate.log_prob[1:], LOG_PROB[1:])


def test_a_subsampled_plate_is_refused():
    def subsampled(x):
        with pyro.plate("data", 60, subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1).to_event(1))
            pyro.sample("x", dist.Normal(z @ LOADINGS.T, NOISE).to_event(1), obs=x)

    with pytest.raises(DataError, match=r"site 'z' is scaled by 10\.0"):
        importance_log_likelihood(subsampled, ROWS, guide=exact_guide, num_samples=2)


def test_a_latent_shared_by_the_rows_is_refused():
    def shared(x):
        pyro.sample("mean", dist.Normal(0.0, 1.0))
        model(x)

    def guide(x):
        pyro.sample("mean", dist.Normal(0.0, 1.0))
        exact_guide(x)

    with pytest.raises(ShapeError, match="site 'mean' needs one log-density per row"):
        importance_log_likelihood(shared, ROWS, guide=guide, num_samples=2)


@pytest.mark.parametrize("of_torch", [False, True])
def test_whether_values_are_checked_is_left_as_it_was(vae, of_torch):
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(of_torch)
    try:
        log_weights(vae, vae.guide, ROWS, 4, chunk=6)
        assert torch.distributions.Distribution._validate_args is of_torch
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def test_rows_outside_of_the_likelihoods_support_are_refused():
    vae = VAE(MLPDecoder(2, (4,), (5,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2, (5,))))
    with pytest.raises(DataError, match="support"):
        importance_log_likelihood(vae, torch.full((3, 4), 0.5), num_samples=2)
    assert importance_log_likelihood(vae, torch.ones(3, 4), num_samples=9, chunk=3).log_prob.isfinite().all()


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(DataError, match="pass guide="):
        importance_log_likelihood(model, ROWS, num_samples=2)
    with pytest.raises(DataError, match="must be at least 1"):
        importance_log_likelihood(model, ROWS, guide=exact_guide, num_samples=0)
    with pytest.raises(DataError, match="no rows"):
        importance_log_likelihood(model, ROWS[:0], guide=exact_guide, num_samples=2)
    with pytest.raises(DataError, match="x has 3 entries that are not finite"):
        importance_log_likelihood(model, torch.full((1, 3), math.nan), guide=exact_guide, num_samples=2)


@pytest.mark.parametrize("posterior", ["normal", "flow"])
def test_the_weights_of_a_vae_are_those_of_its_programs(posterior):
    class Recorded(VAE):
        """A forward of its own: traced."""

        def forward(self, x=None, context=None, **kwargs):
            return super().forward(x, context, **kwargs)

    encoder, x = MLPEncoder((4,), 2), torch.bernoulli(torch.full((3, 4), 0.5)).double()
    guide = AmortizedNormal(encoder) if posterior == "normal" else AmortizedFlow(encoder, IAF(2))
    decoder, found = MLPDecoder(2, (4,)), []
    for kind in (VAE, Recorded):
        torch.manual_seed(0)
        vae = kind(decoder, 2, guide=guide).double()
        found.append(log_weights(vae, guide, x, 7, chunk=9))
    assert_close(*found)
