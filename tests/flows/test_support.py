"""Flows on constrained supports: known densities, sizes, what is refused, and inference in Pyro."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch.distributions import biject_to, constraints
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import MAF, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.transforms import StickBreaking
from tests.contract.cases import POSITIVE_AND_REAL, REALS_AND_SIMPLEX, perturbed


def fresh(size, support):
    """A fresh flow is the identity before its support: a pushed-forward standard normal."""
    return RealNVP(size, num_layers=2, hidden_dims=(8,), support=support).double()


NORMAL = dist.Normal(torch.zeros(3).double(), 1.0)
KNOWN = {
    "log-normal": (constraints.positive, dist.LogNormal(torch.zeros(3).double(), 1.0).to_event(1)),
    "read off a site": (
        dist.Gamma(1.0, 1.0).support,
        dist.LogNormal(torch.zeros(3).double(), 1.0).to_event(1),
    ),
    "logit-normal": (
        constraints.unit_interval,
        dist.TransformedDistribution(NORMAL, dist.transforms.SigmoidTransform()).to_event(1),
    ),
    "simplex": (
        constraints.simplex,
        dist.TransformedDistribution(
            dist.Normal(torch.zeros(2).double(), 1.0), dist.transforms.StickBreakingTransform()
        ),
    ),
}


@pytest.mark.parametrize(("support", "known"), KNOWN.values(), ids=KNOWN.keys())
def test_fresh_flow_on_a_support_is_the_known_distribution(support, known):
    d, y = fresh(3, support)(), known.sample((20,))
    assert_close(d.log_prob(y), known.log_prob(y))
    assert d.support.check(d.sample((20,))).all()


def test_each_dimension_has_its_own_support():
    y = torch.tensor([[0.5, -2.0], [3.0, 1.0]]).double()
    expected = dist.LogNormal(0.0, 1.0).log_prob(y[:, 0]) + dist.Normal(0.0, 1.0).log_prob(y[:, 1])
    assert_close(fresh(2, POSITIVE_AND_REAL)().log_prob(y), expected)


def test_tiny_pieces_of_a_stick_keep_their_digits():
    x = torch.tensor([12.0, -15.0, 20.0, 30.0, -4.0]).double()
    t = StickBreaking()
    y, ladj = t.call_and_ladj(x)
    assert_close(t.inv(y), x, rtol=1e-11, atol=1e-11)
    assert_close(t.inverse_and_ladj(y)[1], -ladj, rtol=1e-11, atol=1e-11)


OUTSIDE = {
    "positive": (constraints.positive, [1.0, -0.1, 2.0]),
    "interval": (constraints.interval(0, 1), [0.1, 1.5, 0.2]),
    "simplex": (constraints.simplex, [0.5, 0.2, 0.2]),
    "cat": (constraints.cat([constraints.positive, constraints.real], -1, [1, 2]), [-1.0, 0.0, 0.0]),
}


@pytest.mark.parametrize(("support", "outside"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_value_outside_is_refused_by_name_or_has_density_zero_alone(support, outside):
    flow = perturbed(fresh(3, support))
    y = flow().sample((4,))
    clean = flow().log_prob(y)
    y[1] = torch.tensor(outside)
    with pytest.raises(DataError, match=r"1 of \d+ values lie outside of the flow's support.*index \(1"):
        flow().log_prob(y)
    with pyro.validation_enabled(False):
        log_prob = flow().log_prob(y)
        log_prob[log_prob.isfinite()].sum().backward()
    assert log_prob[1] == -torch.inf
    assert torch.equal(log_prob[[0, 2, 3]], clean[[0, 2, 3]])
    assert all(p.grad.isfinite().all() for p in flow.parameters())


def test_supports_without_a_bijection_or_of_wrong_lengths_are_refused():
    with pytest.raises(DataError, match="dequantised"):
        RealNVP(2, support=constraints.nonnegative_integer)
    with pytest.raises(DataError, match="add up to 3"):
        RealNVP(3, support=POSITIVE_AND_REAL)
    with pytest.raises(DataError, match="two entries"):
        RealNVP(1, support=constraints.simplex)
    with pytest.raises(DataError, match="lower_cholesky"):
        RealNVP(2, support=constraints.positive_definite)


@pytest.mark.parametrize(
    "support",
    [
        constraints.interval(3, 1),
        constraints.interval(2.0, 2.0),
        constraints.interval(0.0, math.inf),
        constraints.interval(torch.zeros(2), torch.tensor([1.0, -1.0])),
        constraints.greater_than(math.nan),
        constraints.stack([constraints.real, constraints.interval(1, 0)], dim=-1),
    ],
    ids=str,
)
def test_bounds_that_enclose_nothing_are_refused(support):
    with pytest.raises(DataError, match="lower below the upper"):
        RealNVP(2, support=support)


def test_value_of_another_dtype_is_refused():
    for dtype in (torch.float32, torch.long):
        with pytest.raises(DataError, match=r"flow computes in torch\.float64.*" + str(dtype)):
            fresh(2, None)().log_prob(torch.ones(3, 2, dtype=dtype))


def test_value_whose_batch_does_not_fit_the_context_is_refused():
    d = MAF(2, context_dim=1, hidden_dims=(8,))(torch.zeros(4, 1))
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        d.log_prob(torch.zeros(3, 2))


def test_model_knows_the_size_of_the_latent_of_a_simplex():
    model = NormalizingFlow(fresh(3, constraints.simplex))
    x = model.sample(5)
    assert (model.capabilities.latent_dim, model.capabilities.data_dim) == (2, 3)
    assert model.encode(x).shape == (5, 2)
    assert_close(x.sum(-1), torch.ones(5).double())


SUPPORTS = {
    "simplex": (3, constraints.simplex),
    "stack": (2, POSITIVE_AND_REAL),
    "cat": (5, REALS_AND_SIMPLEX),
    "cholesky": (2, constraints.lower_cholesky),
}


@pytest.mark.parametrize(("size", "support"), SUPPORTS.values(), ids=SUPPORTS.keys())
def test_pyro_unconstrains_the_support(size, support):
    d = perturbed(fresh(size, support))()
    t, y = biject_to(d.support), d.sample((6,))
    assert_close(t(t.inv(y)), y)
    assert t(torch.randn(t.inv(y)[0].shape).double()).shape == d.event_shape


@pytest.mark.parametrize(("size", "support"), SUPPORTS.values(), ids=SUPPORTS.keys())
def test_latent_on_a_support_under_nuts_and_autonormal(size, support):
    flow = perturbed(fresh(size, support)).freeze()

    def model():
        z = pyro.sample("z", flow())
        pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=torch.tensor(1.0).double())
        return z

    mcmc = MCMC(NUTS(model, max_tree_depth=3), num_samples=4, warmup_steps=4, disable_progbar=True)
    mcmc.run()
    assert flow().support.check(mcmc.get_samples()["z"]).all()
    guide = AutoNormal(model)
    SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step()
    assert flow().support.check(guide.median()["z"]).all()


@pytest.mark.parametrize(
    ("support", "rows", "on_edge"),
    [
        (constraints.interval(-1.0, 2.0), [[-1.0, 0.0], [1e-7, 1.9], [0.0, 2.0], [3.0, -1.0]], [1, 0, 1, 0]),
        (constraints.nonnegative, [[0.0, 1.0], [1e-30, 5.0]], [1, 0]),
        (
            constraints.positive,
            [[0.0, 1.0], [1e-30, 5.0]],
            [0, 0],
        ),  # zero is outside, which is said elsewhere
        (constraints.simplex, [[0.0, 0.4, 0.6], [0.2, 0.2, 0.6]], [1, 0]),
        (POSITIVE_AND_REAL, [[1.0, 0.0], [2.0, 1.0]], [0, 0]),
        (
            constraints.stack([constraints.real, constraints.interval(0.0, torch.tensor(3.0))], dim=-1),
            [[0.0, 1.0], [3.0, 0.0], [7.0, 3.0]],
            [0, 1, 1],
        ),
        (constraints.lower_cholesky, [[[1.0, 0.0], [0.0, 2.0]]], [0]),
    ],
)
def test_events_on_a_closed_edge_are_known(support, rows, on_edge):
    y = torch.tensor(rows, dtype=torch.double)
    outer = fresh(y.shape[-1], support).outer
    assert outer.on_edge(y).tolist() == [bool(n) for n in on_edge]
    assert outer.on_edge(y.expand(4, *y.shape)).shape == (4, len(y))
