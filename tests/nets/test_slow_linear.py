"""A slow layer starts as torch's, and under Adam its map moves by so much less."""

import pytest
import torch
from torch.optim import Adam
from torch.testing import assert_close

from pyro_dgm.nets import MLP
from pyro_dgm.nets.slow_linear import SlowLinear


def maps(network, x):
    return network(x), network.columns(x.T).T


@pytest.mark.parametrize("zero_last", [False, True])
def test_a_perceptron_with_slow_layers_starts_as_the_same_map(zero_last):
    made = []
    for rate in (1.0, 0.1):
        torch.manual_seed(0)
        made.append(MLP(2, 3, (8, 8), zero_last=zero_last, later_rate=rate).double())
    x = torch.randn(5, 2).double()
    for ours, theirs in zip(maps(made[0], x), maps(made[1], x), strict=True):
        assert_close(ours, theirs, rtol=1e-6, atol=1e-8)  # weights are drawn in single precision


def test_the_network_by_hand_is_the_one_of_its_layers_with_gradients():
    net, x = MLP(2, 3, (8, 8), later_rate=0.3).double(), torch.randn(5, 2).double()
    found = [torch.autograd.grad(y.square().sum(), list(net.parameters())) for y in (net(x), net.layers(x))]
    assert_close(*found)
    assert net.by_hand() is not None


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_one_step_of_adam_moves_the_map_by_the_rate_times_the_learning_rate(rate):
    layer = SlowLinear(3, 2, rate=rate).double()
    before = [t.detach().clone() for t in layer.tensors()]
    optimizer = Adam(layer.parameters(), lr=1e-3)
    layer(torch.randn(7, 3).double()).square().sum().backward()
    optimizer.step()
    for now, then in zip(layer.tensors(), before, strict=True):
        assert_close((now - then).abs(), torch.full_like(then, rate * 1e-3), rtol=1e-4, atol=0)
