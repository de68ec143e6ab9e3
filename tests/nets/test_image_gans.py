"""DCGAN and residual networks: sizes, initial weights, rows by themselves, gradients everywhere."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets import DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator
from pyro_dgm.nets.leaky_relu import LeakyReLU

SHAPES = [(1, 8, 8), (3, 16, 32), (1, 28, 28), (3, 64, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("generator", [DCGANGenerator, ResNetGenerator])
def test_generators_give_images_of_any_halving_shape_in_range(generator, shape):
    network = generator(5, shape, width=4)
    images = network(3 * torch.randn(2, 3, 5))
    assert images.shape == (2, 3, *shape)
    assert images.abs().max() <= 1
    images.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("critic", [DCGANCritic, ResNetCritic])
def test_critics_score_each_row_by_itself_without_batch_normalisation(critic, shape):
    network = critic(shape, width=4, norm="layer").double()
    x = torch.rand(4, *shape).double()
    scores = network(x)
    assert scores.shape == (4,)
    assert_close(torch.cat([network(row[None]) for row in x]), scores)
    scores.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_dcgan_starts_from_normal_weights_and_has_no_norm_at_its_ends():
    critic, generator = DCGANCritic(), DCGANGenerator()
    assert [type(part) for part in critic.layers[:2]] == [nn.Conv2d, LeakyReLU]
    assert isinstance(generator.layers[-1], nn.Tanh)
    assert isinstance(generator.layers[-2], nn.ConvTranspose2d)
    for layer in (critic.layers[2], generator.layers[3]):
        assert abs(layer.weight.std().item() - 0.02) < 0.001
        assert layer.bias is None  # batch normalisation follows
    assert sum(p.numel() for p in generator.parameters()) == 3_576_707
    assert sum(p.numel() for p in critic.parameters()) == 2_765_633


def test_a_residual_block_keeps_its_shortcut():
    network = ResNetCritic((1, 8, 8), width=4).double()
    block = network.layers[-2]
    for part in (block.two.weight, block.two.bias):
        nn.init.zeros_(part)
    x = torch.randn(2, 4, 4, 4).double()
    assert_close(block(x), x)


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 30, 32), (28, 28)])
def test_images_that_do_not_halve_are_an_error(shape):
    for network in (DCGANCritic, ResNetCritic):
        with pytest.raises(ShapeError, match=r"shape|halve"):
            network(shape)


def test_wrong_codes_and_images_are_errors():
    for generator in (DCGANGenerator, ResNetGenerator):
        with pytest.raises(ShapeError, match="latent_dim=5"):
            generator(5, (1, 8, 8), width=4)(torch.randn(2, 6))
    for critic in (DCGANCritic, ResNetCritic):
        with pytest.raises(ShapeError, match="channels first"):
            critic((1, 8, 8), width=4)(torch.rand(2, 8, 8, 1))
