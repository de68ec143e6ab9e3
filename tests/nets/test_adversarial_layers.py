"""Layers that steady an adversarial game, against their formulas."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets import (
    MinibatchDiscrimination,
    MLPCritic,
    VirtualBatchNorm,
    WithReference,
    with_spectral_norm,
)
from pyro_dgm.nets.leaky_relu import LeakyReLU
from pyro_dgm.nets.row_mixing import mixing_part, treats_rows_alone
from pyro_dgm.objectives.penalties import slope_at


def conv_net(norm):
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).double()


def perturb(network):
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return network


def test_minibatch_discrimination_is_its_double_sum():
    layer, h = MinibatchDiscrimination(5, 3, 2).double(), torch.randn(6, 5).double()
    kernels = (h @ layer.weight).view(6, 3, 2).tolist()
    wanted = torch.zeros(6, 3).double()
    for i, b, j in itertools.product(range(6), range(3), range(6)):
        distance = sum(abs(p - q) for p, q in zip(kernels[i][b], kernels[j][b], strict=True))
        wanted[i, b] += math.exp(-distance) if i != j else 0.0
    assert_close(layer(h), torch.cat((h, wanted), 1))


def test_minibatch_discrimination_tells_a_collapsed_batch_from_a_varied_one():
    layer = MinibatchDiscrimination(5, 3, 2).double()
    varied, collapsed = torch.randn(32, 5).double(), torch.randn(1, 5).double().expand(32, 5)
    assert_close(layer(collapsed)[:, 5:], torch.full((32, 3), 31.0).double())
    assert layer(varied)[:, 5:].max() < 25


@pytest.mark.parametrize("event", [(3,), (3, 4, 4)])
def test_virtual_batch_norm_uses_the_statistics_of_reference_and_row(event):
    reference, x = torch.randn(7, *event).double(), 2 + torch.randn(4, *event).double()
    layer = perturb(VirtualBatchNorm(3).double())
    y = WithReference(layer, reference)(x)
    shape = (3, *(1,) * (len(event) - 1))
    for row, out in zip(x, y, strict=True):
        together = torch.cat((reference, row[None]))
        over = [0, *range(2, together.dim())]
        variance, mean = torch.var_mean(together, over, correction=0)
        normed = (row - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
        assert_close(out, normed * layer.weight.view(shape) + layer.bias.view(shape))


def test_a_row_under_virtual_batch_norm_does_not_feel_the_others():
    network = perturb(WithReference(conv_net(VirtualBatchNorm(4)), torch.randn(9, 1, 8, 8).double()))
    x = torch.randn(6, 1, 8, 8).double()
    together = network(x)
    alone = torch.cat([network(row[None]) for row in x])
    assert_close(together, alone)
    assert_close(network(x.flip(0)).flip(0), together)
    assert_close(network(x), together)  # nor how often it was used: the reference stays
    batch_normed = perturb(conv_net(nn.BatchNorm2d(4)))
    assert not torch.allclose(batch_normed(x)[:1], batch_normed(x[:1]))


def test_the_reference_travels_with_the_weights_and_gets_its_share_of_the_gradient():
    network = WithReference(conv_net(VirtualBatchNorm(4)), torch.randn(9, 1, 8, 8).double())
    assert "reference" in network.state_dict()
    network(torch.randn(2, 1, 8, 8).double()).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in network.network[:1].parameters())


def test_virtual_batch_norm_without_reference_or_with_another_shape_is_an_error():
    with pytest.raises(ShapeError, match="WithReference"):
        VirtualBatchNorm(3)(torch.randn(4, 3))
    with pytest.raises(ShapeError, match="reference rows of shape"):
        WithReference(VirtualBatchNorm(3), torch.randn(8, 3))(torch.randn(4, 5))


def test_a_spectrally_normed_perceptron_is_1_lipschitz():
    network = with_spectral_norm(perturb(MLPCritic((4,), (16, 16))).double(), iterations=30)
    network(torch.randn(1, 4).double())
    network.eval()
    slopes = slope_at(network, 3 * torch.randn(500, 4).double())
    assert slopes.max() <= 1 + 1e-6
    assert slopes.max() > 0.05
    for layer in network.mlp.layers[::2]:
        assert_close(torch.linalg.svdvals(layer.weight)[0], torch.ones(()).double())


def test_networks_that_mix_rows_are_known():
    vector = nn.Sequential(nn.Linear(3, 4), MinibatchDiscrimination(4, 2), nn.Linear(6, 1))
    assert mixing_part(vector)[0] == "1"
    assert not treats_rows_alone(vector)
    assert not treats_rows_alone(conv_net(nn.BatchNorm2d(4)))
    assert treats_rows_alone(with_spectral_norm(MLPCritic((4,))))
    assert treats_rows_alone(WithReference(conv_net(VirtualBatchNorm(4)), torch.randn(9, 1, 8, 8)))

    class Foreign(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    assert mixing_part(Foreign()) is None
    assert not treats_rows_alone(Foreign())


def test_leaky_relu_is_torchs_with_the_penaltys_gradient_and_without_its_pass_of_zeros():
    ours = nn.Sequential(nn.Linear(3, 8), LeakyReLU(0.2), nn.Linear(8, 1), nn.Flatten(0)).double()
    torchs = nn.Sequential(ours[0], nn.LeakyReLU(0.2), ours[2], ours[3])
    x = torch.randn(16, 3).double()
    x[0] = 0.0
    assert_close(ours(x), torchs(x))
    weight, bias = ours[0].weight, ours[0].bias
    gradients = [
        (
            torch.autograd.grad(network(x).square().sum(), (weight, bias)),
            torch.autograd.grad(slope_at(network, x).square().sum(), weight),
        )
        for network in (ours, torchs)
    ]
    assert_close(*gradients)
    (unused,) = torch.autograd.grad(slope_at(ours, x).sum(), bias, allow_unused=True)
    assert unused is None  # a bias does not change the slope, and the graph knows it


def test_leaky_relu_has_its_derivatives_and_works_under_vmap():
    layer = LeakyReLU(0.2)
    x = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    slopes = torch.vmap(torch.func.grad(lambda row: layer(row).sum()))(x.detach())
    assert_close(slopes, torch.where(x > 0, 1.0, 0.2).double())
    with pytest.raises(ValueError, match="above 0"):
        LeakyReLU(0.0)
