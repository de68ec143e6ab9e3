"""Batch normalisation of an averaged generator: calibrated, its statistics are those of its own draws."""

import copy

import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import MLP, ConditionalGenerator, JointCritic, MLPCritic
from pyro_dgm.objectives import Adversarial, Batch
from pyro_dgm.objectives.normalisation import batch_norms


def new_game(**options):
    """A linear generator whose last layer is batch normalisation: draws of mean 0 and deviation 1."""
    model = ImplicitGenerator(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), 2, data_shape=(3,))
    options = {"average": 0.9, **options}
    return Adversarial(model.double(), MLPCritic((3,), (8,)).double(), **options)


def rows(n=64):
    return torch.randn(n, 3, dtype=torch.double)


def tensors(module):
    return copy.deepcopy(module.state_dict())


def test_draws_of_the_average_get_the_moments_of_its_last_layer():
    game = new_game()
    for _ in range(20):
        game.step(rows())
    with torch.no_grad():
        game.averaged.generator[0].weight.mul_(7)
    before = game.averaged.sample(1000, seed=1)
    assert (before.std(0) > 3).all()
    game.calibrate_average(rows(20_000), passes=2)
    drawn = game.averaged.sample(200_000, seed=1)
    scale, shift = game.averaged.generator[1].weight, game.averaged.generator[1].bias
    assert_close(drawn.mean(0), shift, atol=0.02, rtol=0)
    assert_close(drawn.std(0), scale.abs(), atol=0.02, rtol=0)


def test_the_game_goes_on_as_it_would_have_and_no_random_number_is_taken():
    outcome = []
    for calibrated in (False, True):
        torch.manual_seed(0)
        game = new_game()
        for step in range(6):
            game.step(rows())
            if calibrated and step == 3:
                game.calibrate_average(torch.zeros(8, 3).double())
        [norm] = batch_norms(game.averaged)
        assert not norm.training
        assert norm.momentum == 0.1
        weights = [p.detach().clone() for p in game.averaged.parameters()]
        outcome.append([tensors(game.model), tensors(game.critic), weights, torch.get_rng_state()])
    assert_close(*outcome, rtol=0, atol=0)


def test_without_an_average_or_without_such_layers_nothing_changes():
    game = new_game(average=None)
    game.step(rows())
    before = tensors(game.model)
    game.calibrate_average(rows())
    assert_close(game.model.state_dict(), before, rtol=0, atol=0)

    model = ImplicitGenerator(MLP(2, 3, (8,)), 2, data_shape=(3,)).double()
    plain = Adversarial(model, MLPCritic((3,), (8,)).double(), average=0.9)
    before = tensors(plain.averaged)
    plain.calibrate_average(rows())
    assert_close(plain.averaged.state_dict(), before, rtol=0, atol=0)


def test_a_conditional_generator_is_measured_at_the_contexts_of_the_batch():
    net = ConditionalGenerator(nn.Sequential(nn.Linear(2 + 1, 1), nn.BatchNorm1d(1)))
    model = ImplicitGenerator(net, 2, data_shape=(1,)).double()
    with torch.no_grad():
        net.network[0].weight.copy_(torch.tensor([[1.0, 0.0, 5.0]]))
        net.network[0].bias.zero_()
    game = Adversarial(model, JointCritic(MLPCritic((2,), (8,))).double(), average=0.9)
    context = torch.tensor([[0.0], [2.0]]).double().repeat(500, 1)
    game.calibrate_average(Batch(torch.zeros(1000, 1).double(), context=context))
    [norm] = batch_norms(game.averaged)
    assert_close(norm.running_mean.item(), 5.0, atol=0.05, rtol=0)  # the mean of 0 and 10
    assert_close(norm.running_var.item(), 1.0 + 25.0, atol=0.1, rtol=0)
