"""Coordinates found one after the other: in place, without a graph, as with one."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.nets import MaskedMLP


def network(size, context_dim, reverse):
    torch.manual_seed(0)
    net = MaskedMLP(size, 2, (9, 7), context_dim=context_dim, reverse=reverse).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return net


def step(value, parameters):
    return value * parameters[0].tanh().exp() + parameters[1], parameters[0].tanh()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("size", "context_dim"), [(1, 0), (4, 0), (4, 3), (12, 0)])
def test_solution_in_place_is_the_one_with_a_graph(size, context_dim, reverse):
    net = network(size, context_dim, reverse)
    value = torch.randn(size, 5, dtype=torch.double)
    context = torch.randn(context_dim, 5, dtype=torch.double) if context_dim else None
    expected = net.solve(value, step, context)
    with torch.no_grad():
        found, total = net.solve(value, step, context)
    assert_close((found, total), expected)
    log_scale, shift = net(found, context).view(2, size, 5)
    assert_close(found, value * log_scale.tanh().exp() + shift)


def test_solution_changes_neither_weights_nor_inputs():
    net, value = network(4, 0, False), torch.randn(4, 5, dtype=torch.double)
    before = [t.clone() for t in (value, *net.state_dict().values())]
    with torch.no_grad():
        net.solve(value, step)
    assert_close([value, *net.state_dict().values()], before, rtol=0, atol=0)
