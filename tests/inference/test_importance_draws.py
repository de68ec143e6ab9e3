"""Importance draws and independence Metropolis against closed forms."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.inference import importance_draws, independence_metropolis

X = torch.tensor([0.5, 1.1, -0.3], dtype=torch.double)
PRECISION = 1 + 4 * len(X)
MEAN, SD = 4 * X.sum() / PRECISION, PRECISION**-0.5
LOG_EVIDENCE = dist.MultivariateNormal(
    torch.zeros(3).double(), torch.ones(3, 3).double() + torch.eye(3).double() / 4
).log_prob(X)


def model():
    z = pyro.sample("z", dist.Normal(torch.tensor(0.0).double(), 1.0))
    with pyro.plate("data", len(X)):
        pyro.sample("x", dist.Normal(z, 0.5), obs=X)


def guide_of(scale, shift=0.0):
    return lambda: pyro.sample("z", dist.Normal(MEAN + shift * SD, scale * SD))


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("num", [1, 7])
def test_every_weight_of_the_exact_guide_is_the_evidence(vectorize, num):
    drawn = importance_draws(model, guide_of(1.0), num_samples=num, chunk=4, vectorize=vectorize)
    assert_close(drawn.log_weights, LOG_EVIDENCE.expand(num), atol=1e-10, rtol=0)
    assert drawn.samples["z"].shape == (num,)
    assert drawn.effective_sample_size == pytest.approx(num)


def test_weights_correct_the_mean_and_the_evidence_of_a_wrong_guide():
    drawn = importance_draws(model, guide_of(2.0, shift=0.5), num_samples=20_000)
    weights = drawn.log_weights.exp()
    error = (weights.std() / weights.mean() / math.sqrt(20_000)).item()
    assert abs(drawn.log_evidence - LOG_EVIDENCE) < 4 * error
    assert drawn.elbo < drawn.log_evidence
    assert abs(drawn.mean("z") - MEAN) < 4 * SD / math.sqrt(drawn.effective_sample_size)


def test_resampled_draws_have_the_posterior():
    drawn = importance_draws(model, guide_of(2.0), num_samples=20_000)
    z = drawn.resample(5_000, seed=1)["z"]
    assert abs(z.mean() - MEAN) < 4 * SD / math.sqrt(4_000)
    assert z.std().item() == pytest.approx(SD, rel=0.05)
    assert_close(z, drawn.resample(5_000, seed=1)["z"])


def test_sites_of_every_shape_come_back_in_it():
    def wide():
        with pyro.plate("a", 2, dim=-2), pyro.plate("b", 3, dim=-1):
            pyro.sample("ab", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with pyro.plate("b2", 5, dim=-1):
            pyro.sample("c", dist.Normal(0.0, 1.0))
        pyro.sample("d", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    for num in (1, 6):
        drawn = importance_draws(wide, wide, num_samples=num)
        assert {name: value.shape for name, value in drawn.samples.items()} == {
            "ab": (num, 2, 3, 4),
            "c": (num, 5),
            "d": (num, 2),
        }
        assert_close(drawn.log_weights, torch.zeros(num), atol=1e-4, rtol=0)
        assert len(drawn.samples["c"].unique()) == 5 * num


def test_metropolis_with_the_exact_guide_accepts_all():
    chains = independence_metropolis(model, guide_of(1.0), num_samples=20, num_chains=3)
    assert chains.acceptance_rate == 1
    assert chains.longest_stay == 0
    assert chains.samples["z"].shape == (3, 20)


def test_metropolis_corrects_a_wrong_guide():
    chains = independence_metropolis(
        model, guide_of(2.0, shift=0.5), num_samples=2_000, num_chains=10, seed=0
    )
    z = chains.samples["z"]
    means = z.mean(1)
    assert abs(means.mean() - MEAN) < 4 * means.std() / math.sqrt(10)
    assert z.std().item() == pytest.approx(SD, rel=0.05)
    # the share for two normals of scale ratio 2 and shift 1/2, by simulation of the chain
    assert 0.4 < chains.acceptance_rate < 0.8
    assert 0 < chains.longest_stay < 40


def test_seed_decides_the_chains_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, two = (independence_metropolis(model, guide_of(2.0), num_samples=50, seed=3) for _ in range(2))
    assert_close(one.samples["z"], two.samples["z"])
    assert torch.equal(state, torch.get_rng_state())


def test_guide_that_misses_the_posterior_is_refused():
    def far():
        pyro.sample("z", dist.Uniform(0.0, 1.0))

    def elsewhere():
        return pyro.sample("z", dist.Uniform(2.0, 3.0))

    with pyro.validation_enabled(False), pytest.raises(DataError, match="density zero"):
        importance_draws(far, elsewhere, num_samples=5)


def test_weight_that_is_no_number_is_refused():
    def broken():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.factor("nan", z * math.nan)

    with pyro.validation_enabled(False), pytest.raises(DataError, match="no number"):
        importance_draws(broken, lambda: pyro.sample("z", dist.Normal(0.0, 1.0)), num_samples=5)
