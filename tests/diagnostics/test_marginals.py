"""A density may be another's: draws beside data, column by column."""

import math
import warnings

import pytest
import torch

from pyro_dgm.diagnostics import audit
from pyro_dgm.diagnostics.marginals import FAR, furthest_marginal
from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.flows import Flow, NeuralSpline, RealNVP, Whitened
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import DensityWarning, fit
from pyro_dgm.transforms import Bijection

SHIFTED = torch.tensor([0.0, 60.0])


def normal(n, scale=1.0, loc=0.0, seed=0):
    return loc + scale * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed))


def cdf(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


@pytest.mark.parametrize(("scale", "loc"), [(1.0, 0.0), (1.0, 0.5), (2.0, 0.0), (10.0, 0.0), (0.1, 3.0)])
def test_distance_is_that_of_the_distribution_functions(scale, loc):
    found = furthest_marginal(normal(40_000, scale, loc), normal(40_000, seed=1)).distance
    grid = torch.linspace(-8, 8, 4001).tolist()
    exact = max(abs(cdf(x) - cdf((x - loc) / scale)) for x in grid)
    assert found == pytest.approx(exact, abs=0.015)  # beyond which two such samples are once in 50 000


def test_distance_agrees_with_scipy_and_no_scale_changes_it():
    from scipy.stats import ks_2samp

    a, b = normal(700, 1.3), normal(500, seed=1)
    exact = ks_2samp(a[:, 0].double().numpy(), b[:, 0].double().numpy()).statistic
    assert furthest_marginal(a, b).distance == pytest.approx(exact, abs=1e-12)
    assert furthest_marginal(1e-8 * a, 1e-8 * b).distance == pytest.approx(exact, abs=1e-12)


def test_the_worst_column_is_named_with_its_quartiles():
    rows = torch.cat((normal(1000), normal(1000, 2.0, 60.0, seed=1), normal(1000, seed=2)), 1)
    found = furthest_marginal(torch.cat([normal(1000, seed=s) for s in (3, 4, 5)], 1), rows)
    assert (found.column, found.distance) == (1, 1.0)
    assert found.of_data == pytest.approx((58.65, 60.0, 61.35), abs=0.3)
    assert "in column 1 the data have median 6" in found.words


def test_weights_of_far_modes_that_are_a_little_off_raise_no_alarm():
    def modes(n, share):
        return torch.where(torch.rand(n, 1) < share, normal(n, 0.01), normal(n, 0.01, 100.0))

    torch.manual_seed(0)
    assert furthest_marginal(modes(2000, 0.74), modes(2000, 0.80)).distance < FAR


def test_an_audit_says_whose_density_it_is_not():
    rows = torch.randn(3000, 2) + SHIFTED
    report = audit(RealNVP(2), rows)
    assert report.passed
    assert report.sentence.startswith("This flow is a density: ")
    assert "It is not that of these data: in column 1 the data have median 6" in report.sentence
    own = audit(Whitened.fitted_to(RealNVP(2), rows), rows)
    assert own["marginals"].figure < 0.1
    assert "not that" not in own.sentence


class Moved(Bijection):
    """Adds the context."""

    def __init__(self, context):
        super().__init__()
        self.context = context

    def call_and_ladj(self, x):
        y = x + self.context
        return y, y.new_zeros(y.shape[:-1])

    def inverse_and_ladj(self, y):
        x = y - self.context
        return x, x.new_zeros(x.shape[:-1])


class MovedFlow(Flow):
    """A normal around the context."""

    def unconstrained(self, context=None):
        return Moved(context)


def test_of_a_conditional_flow_each_row_has_its_draw():
    context = 20 * torch.randn(2000, 1).expand(2000, 2)
    flow, rows = MovedFlow(2, context_dim=2), context + torch.randn(2000, 2)
    assert audit(flow, rows, context=context, num_draws=2000)["marginals"].figure < 0.1
    assert audit(flow, rows, context=context[0], num_draws=2000)["marginals"].figure > FAR


def test_rows_of_another_size_are_the_users_mistake():
    with pytest.raises(ShapeError, match=r"events of shape \(2,\), but the data have rows of shape \(3,\)"):
        audit(RealNVP(2), torch.randn(100, 3))


def test_training_that_leaves_the_flow_where_it_was_warns():
    rows = torch.randn(2000, 2) + SHIFTED
    with pytest.warns(DensityWarning, match="in column 1 the data have median 6.*Whitened.fitted_to"):
        fit(NormalizingFlow(NeuralSpline(2, hidden_dims=(8,))), rows, steps=500, progress=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: Whitened.fitted_to(NeuralSpline(2, hidden_dims=(8,)), rows),
        lambda rows: NeuralSpline(2, hidden_dims=(8,), affine=True),
    ],
)
def test_what_the_warning_advises_helps(make):
    rows = torch.randn(2000, 2) * torch.tensor([1.0, 0.2]) + torch.tensor([0.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", DensityWarning)
        fit(NormalizingFlow(make(rows)), rows, steps=500, lr=1e-2, progress=False)


def test_looking_at_draws_leaves_the_random_state_alone():
    def state_after(steps):
        torch.manual_seed(3)
        fit(
            NormalizingFlow(RealNVP(2, num_layers=2, hidden_dims=(4,))),
            torch.randn(50, 2),
            steps=steps,
            progress=False,
        )
        return torch.get_rng_state()

    assert torch.equal(state_after(1), state_after(500))


def test_whitened_says_what_it_takes():
    with pytest.raises(ArgumentTypeError, match="takes a flow and then a tensor of rows, but got a Tensor"):
        Whitened.fitted_to(torch.randn(5, 2), NeuralSpline(2))
