"""Which direction of a flow is cheap, by the number of passes and of sequential solves of its networks."""

import pytest
import torch

from pyro_dgm.nets import LayerParameters, MaskedMLP
from tests.contract.cases import CASES, context_for, data_for, perturbed

PASS, SOLVE = "pass", "solve"
# What a layer does for a density and for a draw.
TABLE = {
    "maf-5d": (PASS, SOLVE),
    "maf-mixture-2d-context": (PASS, SOLVE),
    "iaf-5d-context": (SOLVE, PASS),
    "spline-ar-5d-context": (PASS, SOLVE),
    "naf-2d-context": (PASS, SOLVE),
    "unaf-2d": (PASS, SOLVE),
    "bernstein-2d": (PASS, SOLVE),
    "sum-of-squares-3d-context": (PASS, SOLVE),
    "interval-2d-context": (PASS, SOLVE),
}


@pytest.fixture
def counted(monkeypatch):
    """What the networks have done, in order."""
    done = []
    for network, method, what in (
        (MaskedMLP, "forward", PASS),
        (MaskedMLP, "solve", SOLVE),
        (LayerParameters, "forward", PASS),
    ):
        original = getattr(network, method)

        def counting(self, *args, original=original, what=what):
            done.append(what)
            return original(self, *args)

        monkeypatch.setattr(network, method, counting)
    return done


@pytest.mark.parametrize("name", TABLE)
def test_autoregressive_flow_is_cheap_where_the_table_says(name, counted):
    flow = perturbed(CASES[name]())
    d, layers, y = flow(context_for(flow)), len(flow.conditioners), data_for(flow, 4)
    density, draw = TABLE[name]
    d.log_prob(y)
    assert counted == [density] * layers
    counted.clear()
    d.sample((4,))
    assert counted == [draw] * layers
    counted.clear()
    d.log_prob(d.rsample((4,)))
    assert counted == [draw] * layers


@pytest.mark.parametrize("name", ["planar-2d-context", "radial-2d-context", "sylvester-2d-context"])
def test_residual_flows_read_their_context_once_for_any_number_of_uses(name, counted):
    flow = perturbed(CASES[name]())
    d = flow(context_for(flow, 4))
    d.log_prob(d.sample())
    d.log_prob(torch.zeros(4, 2))
    assert counted == [PASS]
