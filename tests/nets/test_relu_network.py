"""The network written as one operation: values and derivatives are those of torch's layers."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.nets import MLP
from pyro_dgm.nets.relu_network import relu_network


def network(sizes, dtype=torch.double):
    torch.manual_seed(0)
    parts = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1]).to(dtype)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (1, 4, 6, 3)])
def test_first_and_second_derivatives_are_those_of_finite_differences(sizes, columns):
    net, x = network(sizes), torch.randn(4, sizes[0], dtype=torch.double, requires_grad=True)

    def f(x, *parameters):
        return relu_network(x, parameters, columns=columns)

    assert torch.autograd.gradcheck(f, (x, *net.parameters()))
    assert torch.autograd.gradgradcheck(f, (x, *net.parameters()))


@pytest.mark.parametrize("columns", [False, True])
def test_large_single_precision_products_agree_with_torchs_layers(columns):
    net, x = network((40, 96, 96, 40), torch.float32), torch.randn(512, 40, requires_grad=True)
    y, expected = relu_network(x, list(net.parameters()), columns=columns), net(x)
    assert_close(y.T if columns else y, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(y)
    inputs = [x, *net.parameters()]
    expected = torch.autograd.grad((expected * (weight.T if columns else weight)).sum(), inputs)
    for ours, theirs in zip(torch.autograd.grad((y * weight).sum(), inputs), expected, strict=True):
        assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert_close(relu_network(x, list(net.parameters()), columns=columns), y)


def test_second_derivatives_count_inputs_that_depend_on_the_weights():
    net = network((3, 5, 2))
    w = next(net.parameters())
    for f in (net, lambda x: relu_network(x, list(net.parameters()))):
        x = w[:4] ** 2
        (first,) = torch.autograd.grad(f(x).sin().sum(), w, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), w)
        if f is net:
            expected = second
    assert_close(second, expected)


def test_only_what_is_asked_for_gets_a_gradient():
    net, x = network((3, 5, 2)).requires_grad_(False), torch.randn(4, 3, dtype=torch.double)
    (g,) = torch.autograd.grad(
        relu_network(x.requires_grad_(), list(net.parameters())).sum(), x, create_graph=True
    )
    assert_close(g, torch.autograd.grad(net(x).sum(), x)[0])
    assert all(p.grad is None for p in net.parameters())


def test_batched_gradients_give_the_jacobian():
    net, x = network((40, 256, 256, 3), torch.float32), torch.randn(64, 40, requires_grad=True)
    y = relu_network(x, list(net.parameters()))
    directions = torch.eye(3).expand(64, 3, 3).movedim(1, 0)
    (rows,) = torch.autograd.grad(y, x, directions, is_grads_batched=True)
    assert_close(rows.movedim(0, 1), torch.func.vmap(torch.func.jacrev(net))(x), atol=1e-5, rtol=1e-5)


def test_perceptron_with_a_listener_calls_its_layers():
    net, heard = MLP(3, 2, (5,)).double(), []
    x = torch.randn(4, 3, dtype=torch.double)
    silent = net(x)
    net.layers[0].register_forward_hook(lambda *_: heard.append(1))
    assert_close(net(x), silent)
    assert heard


def test_perceptron_with_another_activation_uses_it():
    net, x = MLP(3, 2, (5,), activation=nn.Tanh).double(), torch.randn(4, 3, dtype=torch.double)
    assert_close(net(x), net.layers(x))
    assert_close(net.columns(x.T), net.layers(x).T)
