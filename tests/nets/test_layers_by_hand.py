"""Perceptrons with smooth activations as one node: values and derivatives are those of torch's layers."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.nets import MLP, layers_by_hand, products
from pyro_dgm.nets.layers_by_hand import layers_by_hand as by_hand

ACTIVATIONS = (nn.Tanh, nn.Softplus, nn.ReLU)


def layers(activation, *sizes, dtype=torch.double):
    torch.manual_seed(0)
    return MLP(sizes[0], sizes[-1], sizes[1:-1], activation=activation).to(dtype).layers


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (1, 4, 6, 3)])
def test_first_and_second_derivatives_are_those_of_finite_differences(activation, sizes):
    net, x = by_hand(layers(activation, *sizes)), torch.randn(4, sizes[0], dtype=torch.double)

    def f(x, *tensors):
        return net._replace(tensors=list(tensors))(x)

    assert torch.autograd.gradcheck(f, (x.requires_grad_(), *net.tensors))
    assert torch.autograd.gradgradcheck(f, (x, *net.tensors))


@pytest.fixture
def nodes(monkeypatch):
    """How often a perceptron was one node."""
    made, apply = [], layers_by_hand.LayersByHand.__call__

    def counted(self, x):
        made.append(x.shape)
        return apply(self, x)

    monkeypatch.setattr(layers_by_hand.LayersByHand, "__call__", counted)
    monkeypatch.setattr(products, "LARGE", 1_000_000)
    return made


LARGE = (40, 256, 256, 7)


@pytest.mark.parametrize("activation", ACTIVATIONS[:2])
@pytest.mark.parametrize("batch", [(128,), (2, 64), (4, 8, 4)])
def test_large_products_agree_with_torchs_layers(activation, batch, nodes):
    net = MLP(40, 7, LARGE[1:-1], activation=activation)
    x, weight = torch.randn(*batch, 40, requires_grad=True), torch.randn(*batch, 7)
    inputs = [x, *net.parameters()]
    ours, expected = net(x), net.layers(x)
    assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad((ours * weight).sum(), inputs)
    for one, other in zip(found, torch.autograd.grad((expected * weight).sum(), inputs), strict=True):
        assert_close(one, other, atol=2e-4, rtol=1e-4)
    if products._HAS_ONEDNN:
        assert nodes == [(*batch, 40)]


def test_second_derivatives_count_inputs_that_depend_on_the_weights():
    net = layers(nn.Tanh, 3, 5, 2)
    w = next(net.parameters())
    found = []
    for f in (net, by_hand(net)):
        (first,) = torch.autograd.grad(f(w[:4] ** 2).sin().sum(), w, create_graph=True)
        found += torch.autograd.grad(first.square().sum(), w)
    assert_close(found[1], found[0])


def test_only_what_is_asked_for_gets_a_gradient():
    net, x = layers(nn.Softplus, 3, 5, 2).requires_grad_(False), torch.randn(4, 3, dtype=torch.double)
    (g,) = torch.autograd.grad(by_hand(net)(x.requires_grad_()).sum(), x)
    assert_close(g, torch.autograd.grad(net(x).sum(), x)[0])
    net[2].weight.requires_grad_()
    by_hand(net)(x.detach()).sum().backward()
    assert [p.grad is None for p in net.parameters()] == [True, True, False, True]


def test_batched_gradients_give_the_jacobian():
    net, x = layers(nn.Tanh, 4, 6, 3), torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    directions = torch.eye(3, dtype=torch.double).expand(5, 3, 3).movedim(1, 0)
    (rows,) = torch.autograd.grad(by_hand(net)(x), x, directions, is_grads_batched=True)
    assert_close(rows.movedim(0, 1), torch.func.vmap(torch.func.jacrev(net))(x))


class Watching(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_one_node_is_made_where_it_pays_and_nobody_looks_on(nodes):
    net, x = MLP(40, 7, (256, 256), activation=nn.Tanh), torch.randn(128, 40)
    expected = net.layers(x)
    assert_close(torch.func.vmap(net)(x[:, None])[:, 0], expected, atol=1e-5, rtol=1e-5)
    with Watching():
        assert_close(net(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype == torch.bfloat16
    assert net(x[:1]).shape == (1, 7)
    copy = MLP(40, 7, (256, 256), activation=nn.Tanh).double()
    assert copy(x.double()).dtype == torch.double
    assert not nodes
    with pytest.raises(RuntimeError, match="dtype"):
        copy(x)
    net(x)
    assert len(nodes) == products._HAS_ONEDNN


def test_graphs_hold_the_layers_whatever_the_batch(nodes):
    net, x = MLP(40, 7, (256, 256), activation=nn.Tanh), torch.randn(4000, 40)
    expected = net.layers(x)
    assert_close(torch.compile(net, backend="eager", fullgraph=True)(x), expected, atol=1e-5, rtol=1e-5)
    rows = torch.export.Dim("rows", min=2, max=100_000)
    program = torch.export.export(net, (x[:7],), dynamic_shapes=({0: rows},), strict=True)
    assert_close(program.module()(x), expected, atol=1e-5, rtol=1e-5)
    assert not nodes


def test_a_listener_to_all_backward_passes_hears_each_layer(nodes):
    net, heard = MLP(40, 7, (256, 256), activation=nn.Tanh), []
    hook = nn.modules.module.register_module_full_backward_hook
    handle = hook(lambda module, *_: heard.append(type(module)))
    try:
        net(torch.randn(128, 40, requires_grad=True)).sum().backward()
    finally:
        handle.remove()
    assert heard.count(nn.Linear) == 3


def plain_weight(net):
    weight = net[0].weight
    del net[0].weight
    net[0].weight = 1.0 * weight


def watched(change):
    net = layers(nn.Tanh, 2, 3, 2)
    change(net)
    return by_hand(net)


def test_layers_that_are_not_as_torch_made_them_are_left_alone():
    assert watched(lambda net: None).activations == ("tanh",)
    assert by_hand(layers(nn.GELU, 2, 3, 2)) is None
    assert by_hand(layers(lambda: nn.Softplus(beta=2.0), 2, 3, 2)) is None
    assert by_hand(None) is None
    assert watched(lambda net: net.append(nn.Tanh())) is None
    assert watched(lambda net: net.register_full_backward_hook(lambda *_: None)) is None
    assert watched(lambda net: net[0].register_full_backward_hook(lambda *_: None)) is None
    assert watched(lambda net: net[0].register_full_backward_pre_hook(lambda *_: None)) is None
    assert watched(lambda net: net[1].register_forward_hook(lambda *_: None)) is None
    assert watched(lambda net: setattr(net[0], "bias", None)) is None
    assert watched(plain_weight) is None
    assert watched(lambda net: nn.utils.parametrizations.weight_norm(net[0])) is None
