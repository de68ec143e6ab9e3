"""Products by another library are the same numbers, and nobody who listens to a layer is passed over."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from pyro_dgm.nets import MLP, products

FEW = {"AuthenticAMD": 1_600_000, "GenuineIntel": 32_000_000, "": 32_000_000}


@pytest.fixture
def always(monkeypatch):
    """Everything by oneDNN, whatever the processor."""
    monkeypatch.setattr(products, "LARGE", 0)
    if not products.by_onednn(torch.ones(1, 1), torch.ones(1, 1)):
        pytest.skip("this torch has no oneDNN")


def relative_error(found, exact):
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("batch", [(), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_a_linear_layer_is_right_to_rounding(always, batch, activation):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(*batch, 33), torch.randn(20, 33), torch.randn(20)
    exact = linear(x.double(), weight.double(), bias.double())
    found = products.linear(x, weight, bias, activation)
    assert found.shape == (*batch, 20)
    assert relative_error(found, exact.relu() if activation == "relu" else exact) < 2e-6


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_a_product_of_transposed_views_is_right_to_rounding(always, turned):
    torch.manual_seed(0)
    a, b = (torch.randn(50, n).T if t else torch.randn(n, 50) for t, n in zip(turned, (40, 30), strict=True))
    assert relative_error(products.product(a, b), a.double() @ b.double().T) < 2e-6


@pytest.mark.parametrize("x", [torch.zeros(0, 4), torch.zeros(0, 3, 4)])
def test_no_rows_give_no_rows(x):
    assert products.linear(x, torch.ones(2, 4), torch.ones(2)).shape == (*x.shape[:-1], 2)


def test_double_precision_is_left_to_torch(always):
    a = torch.randn(8, 8).double()
    assert not products.by_onednn(a, a)
    assert torch.equal(products.product(a, a), a @ a.T)


@pytest.mark.parametrize("vendor", FEW)
@pytest.mark.parametrize("capability", ["AVX512", "AVX2", "DEFAULT"])
def test_the_choice_is_a_property_of_the_processor(monkeypatch, vendor, capability):
    monkeypatch.setattr(products, "_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products._least_product() == (FEW[vendor] if capability == "AVX512" else 32_000_000)


class Times(nn.Module):
    def forward(self, x):
        return 2 * x


def listen(layers, kind):
    """Something that changes what the layers give."""
    last = layers[-1]
    if kind == "hook of a layer":
        last.register_forward_hook(lambda *_: torch.ones(5, 3))
    elif kind == "hook before a layer":
        last.register_forward_pre_hook(lambda *_: (torch.zeros(5, 16),))
    elif kind == "hook of all":
        layers.register_forward_hook(lambda *_: torch.ones(5, 3))
    elif kind == "another forward":
        last.forward = lambda x: torch.ones(5, 3)
    elif kind == "a parametrisation":
        nn.utils.parametrize.register_parametrization(last, "weight", Times())
    elif kind == "no bias":
        last.bias = None
    else:
        layers[-1] = Times()


KINDS = (
    "hook of a layer",
    "hook before a layer",
    "hook of all",
    "another forward",
    "a parametrisation",
    "no bias",
    "another module",
)


@pytest.mark.parametrize("kind", KINDS)
def test_without_gradients_a_network_does_what_it_does_with_them(always, kind):
    torch.manual_seed(0)
    net, x = MLP(4, 3, (16,), activation=nn.Softplus), torch.randn(5, 4)
    before = net(x).detach()
    listen(net.layers, kind)
    with_graph = net(x)
    with torch.no_grad():
        without = net(x)
    assert with_graph.shape != before.shape or not torch.allclose(with_graph, before)
    torch.testing.assert_close(without, with_graph.detach(), rtol=1e-5, atol=1e-6)


def test_a_listener_to_every_module_is_heard(always):
    net, heard = MLP(4, 3, (16,), activation=nn.Softplus), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: heard.append(type(module)))
    try:
        with torch.no_grad():
            net(torch.randn(5, 4))
    finally:
        handle.remove()
    assert heard.count(nn.Linear) == 2


class Table(nn.Module):
    """Gives the same rows each time, which are its own."""

    def __init__(self):
        super().__init__()
        self.rows = -torch.ones(5, 4)

    def forward(self, x):
        return self.rows


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Softplus])
def test_only_memory_of_its_own_is_written_to(activation):
    x, table = -torch.ones(5, 4), Table()
    for layers in (
        nn.Sequential(activation(), nn.Linear(4, 4), activation()),
        nn.Sequential(nn.Linear(4, 4), table, activation(), activation(), nn.Linear(4, 2)),
    ):
        with torch.no_grad():
            torch.testing.assert_close(products.through(layers, x), layers(x))
        assert (x == -1).all()
        assert (table.rows == -1).all()
