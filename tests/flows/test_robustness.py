"""Flows as they come out of the box train on data that nobody has scaled, without a NaN."""

import warnings
from contextlib import nullcontext

import pytest
import torch

from benchmarks.every_flow import FLOWS, at_rest
from pyro_dgm.distributions import TwoMoons
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import DensityWarning, fit

# Their hundred steps take longest, and wait for the longest tests.
LONG = {"Sylvester", "UNAF", "OTFlow", "CNF", "FFJORD"}


def moons(noise, n=4000):
    return TwoMoons(noise).sample((n,))


def student(n=4000):
    return torch.distributions.StudentT(2.0).sample((n, 2))


DATA = {
    "thin moons": lambda: moons(0.01),
    "scaled by 100": lambda: 100 * moons(0.05),
    "a constant column": lambda: torch.stack((torch.randn(4000), torch.full((4000,), 3.0)), 1),
    "heavy tails": student,
}


def trained(name, data, steps):
    torch.manual_seed(0)
    flow = FLOWS[name]()
    rows = DATA[data]()
    expected = pytest.warns(DensityWarning) if "constant" in data else nullcontext()
    with expected, warnings.catch_warnings():
        # A loss that jumps, or a flow that is still far off, is not the promise here: that all is finite is.
        far = (r"\d+ updates have not brought the flow to the data", r"J_ML of \d+ rows is .* with nt_train")
        for said in ("the loss has grown", *far):
            warnings.filterwarnings("ignore", message=said, category=DensityWarning)
        history = _fit(flow, rows, steps)
    return flow, rows, history


def _fit(flow, rows, steps):
    history = fit(NormalizingFlow(flow), rows, steps=steps, progress=False)  # raises at the first NaN
    assert history.num_steps == steps
    return history


def check(name, data, steps):
    flow, rows, history = trained(name, data, steps)
    at_rest(flow, rows)
    assert torch.tensor(history.losses).isfinite().all()
    assert min(history.losses[-20:]) < history.losses[0]
    with torch.no_grad():
        assert flow().log_prob(rows).isfinite().all()
        assert flow().sample((1000,)).isfinite().all()


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", ["RealNVP"])
def test_hundred_steps_on_unkind_data_stay_finite(name, data):
    check(name, data, 100)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.soak if n in LONG else pytest.mark.slow) for n in FLOWS]
)
def test_hundred_steps_of_every_flow_stay_finite(name, data):
    check(name, data, 100)


@pytest.mark.soak
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", FLOWS)
def test_thousand_steps_of_every_flow_stay_finite(name, data):
    check(name, data, 1000)
