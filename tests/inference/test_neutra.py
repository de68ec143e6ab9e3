"""NUTS through a flow has the model's posterior, whatever the guide."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.ops.stats import effective_sample_size
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.flows import NeuralSpline, RealNVP
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import neutra, nuts


def model(x):
    """scale^2 has an inverse-gamma posterior: shape 3 + 2, rate 2 + sum x^2 / 2."""
    variance = pyro.sample("variance", dist.InverseGamma(3.0, 2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, variance.sqrt()), obs=x)


X = torch.tensor([0.5, -1.5, 1.0, 0.3])
EXACT_MEAN = (2 + (X.square().sum() / 2).item()) / 4


def untrained():
    guide = AutoFlow(model, lambda d: RealNVP(d, num_layers=2, hidden_dims=(4,)), init_scale=0.5)
    guide(X)
    with torch.no_grad():
        for p in guide.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return guide


@pytest.mark.slow
def test_samples_have_the_posterior_though_the_guide_has_not():
    run = neutra(model, untrained(), X, num_samples=300, warmup_steps=100, seed=0)
    variance = run.samples["variance"]
    assert (variance > 0).all()
    error = (variance.std() / run.effective_samples**0.5).item()
    assert variance.mean().item() == pytest.approx(EXACT_MEAN, abs=4 * error)
    assert run.per_second > 0


@pytest.mark.slow
def test_tails_beyond_the_box_of_a_spline_are_reached():
    """z ~ Student's t with 3 degrees of freedom, seen through splines that act on [-2, 2] alone."""

    def heavy():
        pyro.sample("z", dist.StudentT(3.0))

    guide = AutoFlow(
        heavy, lambda d: NeuralSpline(d, num_layers=2, hidden_dims=(4,), bound=2.0), init_scale=1.0
    )
    guide()
    with torch.no_grad():
        for p in guide.flow.flow.parameters():
            p.add_(0.2 * torch.randn_like(p))
    run = neutra(heavy, guide, num_samples=3000, warmup_steps=200, seed=0)
    z = run.samples["z"].double()
    beyond = (z.abs() > 5.8409).double()  # one in a hundred
    ess = effective_sample_size(beyond[None], chain_dim=0, sample_dim=1).item()
    assert abs(beyond.mean().item() - 0.01) < 3 * (0.01 / min(ess, 3000)) ** 0.5
    assert beyond.mean() > 0.002


def test_samples_come_back_in_the_coordinates_of_the_model():
    guide = untrained()
    run = neutra(model, guide, X, num_samples=5, warmup_steps=5, seed=0)
    assert run.samples["variance"].shape == (5,)
    assert (run.samples["variance"] > 0).all()
    assert all(p.requires_grad for p in guide.parameters())
    assert not run.samples["variance"].requires_grad


def test_same_seed_same_samples():
    one, two = (nuts(model, X, num_samples=5, warmup_steps=5, seed=3) for _ in range(2))
    assert_close(one.samples["variance"], two.samples["variance"], rtol=0, atol=0)


def test_guide_that_has_not_run_is_refused():
    with pytest.raises(DataError, match="train it first"):
        neutra(model, AutoFlow(model), X)
