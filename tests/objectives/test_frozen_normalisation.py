"""Batch normalisation of a generator: frozen at the statistics of its draws, it stays a fixed map."""

import copy

import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import MLP, ConditionalGenerator, JointCritic, MLPCritic
from pyro_dgm.objectives import Adversarial, Batch
from pyro_dgm.objectives.normalisation import batch_norms
from pyro_dgm.training import Every, fit


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
    game.step(rows())
    with torch.no_grad():
        game.model.generator[0].weight.mul_(7)
    game.freeze_normalisation(rows(1000), passes=200)
    drawn = game.averaged.sample(200_000, seed=1)
    assert_close(drawn.mean(0), torch.zeros(3).double(), atol=0.01, rtol=0)
    assert_close(drawn.std(0), torch.ones(3).double(), atol=0.01, rtol=0)


def test_frozen_layers_stay_and_their_scale_and_shift_go_on():
    game = new_game()
    game.step(rows())
    game.freeze_normalisation(rows())
    [norm] = batch_norms(game.model)
    statistics, scale = (norm.running_mean.clone(), norm.running_var.clone()), norm.weight.detach().clone()
    fit(game, rows(), steps=3, batch_size=16, progress=False)
    game.train()
    assert game.model.training
    assert not norm.training
    assert_close((norm.running_mean, norm.running_var), statistics, rtol=0, atol=0)
    assert not torch.equal(norm.weight, scale)
    assert_close(game.averaged.state_dict()["generator.1.running_var"], statistics[1])


def test_draws_of_training_and_evaluation_are_the_same_once_frozen():
    game = new_game()

    def draws():
        for mode in (True, False):
            torch.manual_seed(3)
            yield game.train(mode).model.draw(8).detach()

    assert not torch.allclose(*draws())
    game.freeze_normalisation(rows())
    assert_close(*draws(), rtol=0, atol=0)


def test_freezing_twice_or_without_such_layers_changes_nothing_and_takes_no_random_number():
    game = new_game()
    stream = torch.get_rng_state()
    game.freeze_normalisation(torch.zeros(8, 3).double())
    assert torch.equal(torch.get_rng_state(), stream)
    before, average = tensors(game.model), game.average
    game.freeze_normalisation(torch.ones(8, 3).double())
    assert_close(game.model.state_dict(), before, rtol=0, atol=0)
    assert game.average is average

    model = ImplicitGenerator(MLP(2, 3, (8,)), 2, data_shape=(3,)).double()
    plain = Adversarial(model, MLPCritic((3,), (8,)).double(), average=0.9)
    average = plain.average
    plain.freeze_normalisation(rows())
    assert plain.average is average


def test_a_frozen_game_goes_on_from_its_state_as_if_never_stopped():
    first, second = new_game(), new_game()
    first.step(rows())
    first.freeze_normalisation(rows())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    outcome = []
    for game in (first, second):
        torch.manual_seed(2)
        outcome.append([[game.step(rows()) for _ in range(3)], tensors(game.model), tensors(game.averaged)])
    assert_close(*outcome, rtol=0, atol=0)


def test_a_callback_freezes_in_the_middle_of_fit_and_a_resumed_run_knows(tmp_path):
    x = rows(128)

    def interrupt(state):
        if state.step == 6:
            raise KeyboardInterrupt

    def play(*, broken=False, **options):
        torch.manual_seed(0)
        game = new_game()
        freeze = Every(4, lambda state: state.objective.freeze_normalisation(x[:32]))
        callbacks = [freeze, Every(1, interrupt)] if broken else [freeze]
        fit(game, x, steps=10, batch_size=32, callbacks=callbacks, progress=False, seed=3, **options)
        return game

    whole = play()
    play(broken=True, checkpoint=tmp_path / "run")
    resumed = play(checkpoint=tmp_path / "run", resume=True)
    assert resumed.steps == whole.steps == 10
    assert_close(tensors(resumed.model), tensors(whole.model), rtol=0, atol=0)
    assert_close(tensors(resumed.averaged), tensors(whole.averaged), rtol=0, atol=0)


def test_a_conditional_generator_is_measured_at_the_contexts_of_the_batch():
    net = ConditionalGenerator(nn.Sequential(nn.Linear(2 + 1, 1), nn.BatchNorm1d(1)))
    model = ImplicitGenerator(net, 2, data_shape=(1,)).double()
    with torch.no_grad():
        net.network[0].weight.copy_(torch.tensor([[1.0, 0.0, 5.0]]))
        net.network[0].bias.zero_()
    critic = JointCritic(MLPCritic((2,), (8,))).double()
    context = torch.tensor([[0.0], [2.0]]).double().repeat(500, 1)
    Adversarial(model, critic).freeze_normalisation(Batch(torch.zeros(1000, 1).double(), context=context))
    [norm] = batch_norms(model)
    assert_close(norm.running_mean.item(), 5.0, atol=0.05, rtol=0)  # the mean of 0 and 10
    assert_close(norm.running_var.item(), 1.0 + 25.0, atol=0.1, rtol=0)
