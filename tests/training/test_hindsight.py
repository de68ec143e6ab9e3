"""Data without a density, and losses that no density has, are said aloud."""

import math
import warnings

import pytest
import torch

from pyro_dgm.flows import CNF, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import FlowMatching
from pyro_dgm.training import DensityWarning, fit
from pyro_dgm.training.hindsight import look_back
from pyro_dgm.training.history import History
from tests.training.families import vae
from tests.training.toys import Mean, rows, small_flow


def with_constants(*columns):
    x = rows(40, 4)
    x[:, list(columns)] = 3.0
    return x


def recorded(losses):
    history = History()
    for step, loss in enumerate(losses):
        history.record(step, {"loss": loss})
    return history


def test_constant_columns_are_named_before_a_flow_trains_on_them():
    flow = NormalizingFlow(RealNVP(4, num_layers=2, hidden_dims=(4,))).double()
    said = r"2 of 4 columns of the data are constant \(column 0, 2\)"
    with pytest.warns(DensityWarning, match=said) as caught:
        fit(flow, with_constants(0, 2), steps=1, progress=False)
    assert caught[0].filename == __file__
    assert all(p.isfinite().all() for p in flow.parameters())


def test_constant_columns_of_what_learns_no_density_are_nobodys_business():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Mean(4), with_constants(0), steps=1, progress=False)
        fit(vae(), with_constants(0)[:, :2], steps=1, progress=False)
        fit(small_flow(), with_constants(0)[:1, :2], steps=1, progress=False)  # one row varies in nothing


UNIT = torch.distributions.constraints.unit_interval


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_rows_on_an_edge_of_the_support_are_named_before_a_flow_trains_on_them(end):
    x = torch.rand(40, 3)
    x[[5, 9], 1] = end
    flow = NormalizingFlow(RealNVP(3, num_layers=2, hidden_dims=(4,), support=UNIT))
    said = "2 of 40 rows, the first at index 5, have an entry on an edge"
    with pytest.warns(DensityWarning, match=said) as caught:
        fit(flow, x, steps=1, progress=False)
    assert caught[0].filename == __file__  # it points to the line that called fit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(flow, x.clamp(1e-3, 1 - 1e-3), steps=1, progress=False)


def two_points():
    return torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.double).repeat(100, 1)


def test_a_flow_that_collapses_onto_rows_that_repeat_is_warned_of():
    flow = NormalizingFlow(RealNVP(2, num_layers=4, hidden_dims=(16,))).double()
    with pytest.warns(DensityWarning, match="density diverges: 2 of 200 rows are distinct"):
        fit(flow, two_points(), steps=250, lr=0.01, progress=False)


def normal_loss(x):
    """The loss of the normal distribution of the columns."""
    return (x.std(0).log() + 0.5 * math.log(2 * math.pi * math.e)).sum().item()


@pytest.mark.parametrize(
    ("data", "below", "said"),
    [
        ("points", 3.1, "2 of 200 rows are distinct"),
        ("points", 2.9, None),
        ("line", 3.1, "the columns depend on one another"),
        ("line", 2.9, None),
        ("normal", 9.0, None),  # a density as good as that may well be the true one
    ],
)
def test_what_repeats_or_depends_is_looked_for_where_the_loss_is_too_good(data, below, said):
    x = torch.randn(500, 2, dtype=torch.double)
    x = {"points": two_points(), "line": x[:, :1].repeat(1, 2), "normal": x}[data]
    objective = type("Objective", (), {"model": small_flow()})()
    loss = normal_loss(x) - below
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look_back(objective, x, recorded([3.0, loss, loss]))
    assert [said in str(w.message) for w in caught] == ([] if said is None else [True])


@pytest.mark.parametrize(
    ("losses", "warned"), [([1.0, 0.5], False), ([1.0, 20.0], False), ([1.0, 22.0], True)]
)
def test_a_loss_that_has_grown_is_warned_of(losses, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look_back(Mean(), None, recorded(losses))
    assert [w.category for w in caught] == [DensityWarning] * warned


def stretched(seed, nt_train=1):
    """A flow whose velocity changes fast, so that few steps make an error of either sign."""
    torch.manual_seed(seed)
    flow = CNF(2, hidden_dims=(8,), nt_train=nt_train, nt_eval=max(16, nt_train)).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(2 * torch.randn_like(p))
    return NormalizingFlow(flow)


def j_ml(model, x, num):
    model.flow.nt_eval = num
    return -model.log_prob(x).mean().item()


def test_steps_that_flatter_the_likelihood_are_said_and_others_are_not():
    x, said = torch.randn(150, 2, dtype=torch.double), []
    for seed in range(8):
        model = stretched(seed)
        flattered = j_ml(model, x, 4) - j_ml(model, x, 1) > 0.05
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(model, x, steps=1, lr=1e-12, progress=False)
        assert [w.category for w in caught] == [DensityWarning] * flattered
        said += [str(w.message) for w in caught]
    assert 0 < len(said) < 8
    assert "StepControl" in said[0]


@pytest.mark.parametrize("source", ["fresh", "rows", "other objective", "many steps"])
def test_the_look_at_steps_takes_rows_from_where_they_are(source):
    x = torch.randn(150, 2, dtype=torch.double)
    seed = next(s for s in range(20) if j_ml(stretched(s), x, 4) - j_ml(stretched(s), x, 1) > 1)
    model = stretched(seed, nt_train=64 if source == "many steps" else 1)
    data = {"fresh": torch.distributions.Normal(torch.zeros(2), 1.0)}.get(source, x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        objective = FlowMatching(model.flow) if source == "other objective" else model
        fit(objective, data, steps=1, lr=1e-12, progress=False)
    assert bool(caught) == (source in ("fresh", "rows"))


def test_an_exploding_run_is_warned_of_with_what_to_change():
    loss = Mean()
    with pytest.warns(DensityWarning, match="the loss has grown.*Lower lr"):
        fit(loss, rows(), steps=12, clip=None, optimizer=torch.optim.SGD, lr=3.0, progress=False)
    assert loss.point.isfinite().all()
