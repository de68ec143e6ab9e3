"""Acceptance (d) to (g): the density integrates to one, and the samples follow it."""

import math

import pytest
import torch

from pyro_dgm.metrics import permutation_p_value
from tests.contract.cases import CASES, chart, context_for, perturbed


class Unconstrained:
    """A flow's distribution in the coordinates of real vectors: the same where there is no support."""

    def __init__(self, flow, context):
        self.flow, self.d, self.chart = flow, flow(context), chart(flow)

    def sample(self, shape):
        y = self.d.sample(shape)
        return y.flatten(len(shape)) if self.chart is None else self.chart.inv(y)

    def log_prob(self, u):
        if self.chart is None:
            return self.d.log_prob(u.view(*u.shape[:-1], *self.flow.event_shape))
        y, ladj = self.chart.call_and_ladj(u)
        return self.d.log_prob(y) + ladj


def grid(d):
    """Points over 8 standard deviations on either side, and the size of one cell."""
    drawn = d.sample((4000,))
    points = 1601 if drawn.shape[-1] == 1 else 161  # splines have kinks, which need a fine grid
    axes = [
        torch.linspace(-8, 8, points, dtype=torch.double) * s + m
        for m, s in zip(drawn.mean(0), drawn.std(0), strict=True)
    ]
    cell = math.prod((axis[1] - axis[0]).item() for axis in axes)
    return torch.cartesian_prod(*axes).reshape(-1, len(axes)), cell


def small(name):
    return name.split("-context")[0].endswith(("1d", "2d"))


@pytest.fixture(params=[name for name in CASES if small(name)])
def small_flow(request):
    return perturbed(CASES[request.param]().double())


@torch.no_grad()
def test_mass_is_one_in_one_and_two_dimensions(small_flow):
    for _ in range(2):  # two contexts of a conditional flow
        d = Unconstrained(small_flow, context_for(small_flow))
        y, cell = grid(d)
        assert abs(d.log_prob(y).exp().sum().item() * cell - 1) < 1e-3


@torch.no_grad()
def test_samples_have_the_moments_of_the_density(small_flow):
    d = Unconstrained(small_flow, context_for(small_flow))
    y, cell = grid(d)
    weights = d.log_prob(y).exp() * cell
    drawn = d.sample((20_000,))
    for f in (lambda v: v, lambda v: v.square(), lambda v: d.log_prob(v)[:, None]):
        expected, sampled = (weights[:, None] * f(y)).sum(0), f(drawn)
        error = sampled.std(0) / math.sqrt(len(drawn))
        assert ((sampled.mean(0) - expected).abs() < 4 * error + 1e-3).all()


def weighted(d, flow, num=20_000):
    """Draws of a wide Student t, and the weights that make them draws of the density."""
    drawn = d.sample((4000,))
    loc, scale_tril = drawn.mean(0), torch.linalg.cholesky(drawn.T.cov().reshape(flow.latent_dim, -1))
    proposal = torch.distributions.StudentT(torch.tensor(4.0, dtype=torch.double)).expand([flow.latent_dim])
    z = proposal.sample((num,))
    log_q = proposal.log_prob(z).sum(-1) - scale_tril.diagonal().log().sum()
    points = loc + z @ scale_tril.T
    return points, (d.log_prob(points) - log_q).exp()


@pytest.mark.parametrize("name", [name for name in CASES if not small(name)])
@torch.no_grad()
def test_importance_sampled_mass_is_one_in_higher_dimensions(name):
    flow = perturbed(CASES[name]().double())
    weights = weighted(Unconstrained(flow, context_for(flow)), flow)[1]
    error = weights.std().item() / math.sqrt(len(weights))
    assert error < 0.05
    assert abs(weights.mean().item() - 1) < 3 * error


RESAMPLED = {"maf-2d-context", "real-nvp-5d"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in RESAMPLED else pytest.mark.slow) for name in CASES]
)
@torch.no_grad()
def test_samples_pass_a_two_sample_test_against_resampling_by_the_density(name):
    flow = perturbed(CASES[name]().double())
    d = Unconstrained(flow, context_for(flow))
    points, weights = weighted(d, flow)
    effective = weights.sum().square() / weights.square().sum()
    assert effective > 2000  # so that few of the 400 are the same point twice
    chosen = points[torch.multinomial(weights, 400, replacement=True)]
    assert permutation_p_value(d.sample((400,)), chosen, num_permutations=200) > 0.005


@torch.no_grad()
def test_no_density_is_likelier_than_the_entropy_of_the_data(flow):
    data = torch.randn(20_000, flow.latent_dim, dtype=torch.double)
    surprise = -Unconstrained(flow, context_for(flow)).log_prob(data)
    entropy = 0.5 * flow.latent_dim * math.log(2 * math.pi * math.e)
    assert surprise.mean() >= entropy - 3 * surprise.std() / math.sqrt(len(data))
