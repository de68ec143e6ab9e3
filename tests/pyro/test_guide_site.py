"""A flow as a guide site: its own draw is scored without inverting."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Importance, Trace_ELBO, TraceMeanField_ELBO

from pyro_dgm.transforms import AffineCoupling
from tests.pyro.sites import exact_posterior, prior_model, small_flow


@pytest.fixture
def inversions(monkeypatch):
    """A list with one entry for every coupling that was inverted."""
    calls, invert = [], AffineCoupling.inverse_and_ladj
    monkeypatch.setattr(
        AffineCoupling, "inverse_and_ladj", lambda self, y: calls.append(self) or invert(self, y)
    )
    return calls


def normal_model(rows=4):
    with pyro.plate("data", rows):
        pyro.sample("z", dist.Normal(torch.ones(2).double(), 1.0).to_event(1))


ELBOS = {
    "trace": Trace_ELBO,
    "particles": lambda: Trace_ELBO(num_particles=3),
    "vectorised": lambda: Trace_ELBO(num_particles=3, vectorize_particles=True),
    "mean-field": TraceMeanField_ELBO,
}


@pytest.mark.parametrize("elbo", ELBOS.values(), ids=ELBOS.keys())
@pytest.mark.parametrize("context_dim", [0, 3])
def test_guide_scores_its_own_draw_without_inverting(inversions, elbo, context_dim):
    flow = small_flow(context_dim=context_dim)
    context = torch.randn(4, context_dim).double() if context_dim else None

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", flow(context))

    SVI(normal_model, guide, pyro.optim.Adam({"lr": 1e-3}), elbo()).step()
    assert not inversions


def test_subsampled_guide_in_nested_plates_does_not_invert(inversions):
    flow = small_flow()

    def program(fn):
        with pyro.plate("groups", 3, dim=-2), pyro.plate("data", 10, subsample=torch.arange(4), dim=-1):
            pyro.sample("z", fn())

    def model():
        program(lambda: dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    loss = SVI(model, lambda: program(flow), pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step()
    assert math.isfinite(loss)
    assert not inversions


def test_svi_with_a_flow_guide_reaches_the_evidence():
    flow, x = small_flow().freeze(), torch.tensor([[0.5, -0.6], [1.1, -0.2]]).double()
    _, _, log_evidence = exact_posterior(flow, x)
    posterior = small_flow()

    def guide():
        pyro.sample("z", posterior())

    elbo = Trace_ELBO(num_particles=32, vectorize_particles=True)
    svi = SVI(lambda: prior_model(flow, x), guide, pyro.optim.ClippedAdam({"lr": 1e-2, "lrd": 0.99}), elbo)
    losses = [svi.step() for _ in range(300)]
    assert losses[0] > -log_evidence + 0.3
    assert sum(losses[-50:]) / 50 == pytest.approx(-log_evidence, abs=0.05)


def test_importance_sampling_with_a_flow_guide_gives_the_evidence():
    flow, x = small_flow().freeze(), torch.tensor([[0.5, -0.6]]).double()
    _, _, log_evidence = exact_posterior(flow, x)
    importance = Importance(lambda: prior_model(flow, x), lambda: pyro.sample("z", flow()), num_samples=400)
    weights = torch.stack([torch.as_tensor(w) for w in importance.run().log_weights]).exp()
    error = (weights.std() / math.sqrt(len(weights))).item()
    assert weights.mean().item() == pytest.approx(math.exp(log_evidence), abs=4 * error)
