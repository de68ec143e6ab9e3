"""The rules of the game: who moves when, what stays still, what is refused."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError, TrainingDiverged, UnknownNameError
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import MLP
from pyro_dgm.objectives import Adversarial, Batch, GradientPenalty


def generator(context_dim=0):
    net = MLP(2, 3, (8,), context_dim=context_dim)
    net.layers.append(nn.BatchNorm1d(3))
    return ImplicitGenerator(net, 2, data_shape=(3,)).double()


def critic(norm=nn.BatchNorm1d):
    first = spectral_norm(nn.Linear(3, 8))
    return nn.Sequential(first, norm(8), nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Flatten(0)).double()


def rows(n=16):
    return torch.rand(n, 3, dtype=torch.double)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return sorted(name for name, value in module.state_dict().items() if not torch.equal(value, before[name]))


def gradients(module):
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def test_nothing_of_the_generator_changes_while_the_critic_trains():
    model, net = generator(), critic()
    before, critic_before = state(model), state(net)
    Adversarial(model, net, critic_steps=2).step(rows())
    assert changed(model, before) == []
    assert gradients(model) == [None] * len(list(model.parameters()))
    assert changed(net, critic_before) == sorted(critic_before)  # running and spectral statistics too


def test_nothing_of_the_critic_changes_while_the_generator_trains():
    model, net = generator(), critic()
    game, before = Adversarial(model, net), state(model)
    seen = []
    game.optimizers[1].register_step_post_hook(lambda *_: seen.append((state(net), gradients(net))))
    game.step(rows())
    assert changed(net, seen[0][0]) == []
    assert all(torch.equal(a, b) for a, b in zip(gradients(net), seen[0][1], strict=True))
    assert changed(model, before) == sorted(before)
    assert model.generator.layers[-1].num_batches_tracked == 1


def test_frozen_parameters_stay_frozen():
    model, net = generator(), critic()
    net[0].requires_grad_(False)
    frozen = net[0].parametrizations.weight.original.clone()
    for _ in range(3):
        Adversarial(model, net).step(rows())
    assert torch.equal(net[0].parametrizations.weight.original, frozen)
    assert [p.requires_grad for p in net[0].parameters()] == [False, False]
    assert all(p.requires_grad for p in net[3].parameters())


def test_evaluation_changes_nothing_and_sees_what_the_next_step_sees():
    game = Adversarial(generator(), critic(nn.LayerNorm), regularisers=[GradientPenalty()], critic_steps=2)
    game.step(rows())
    before = copy.deepcopy(game.state_dict())
    kept = gradients(game.model), gradients(game.critic)
    batch = rows()
    torch.manual_seed(1)
    evaluated = game.evaluate_loss(batch)
    after = game.state_dict()
    assert_close(after, before, rtol=0, atol=0)
    assert_close(kept, (gradients(game.model), gradients(game.critic)), rtol=0, atol=0)
    torch.manual_seed(1)
    assert_close(game.step(batch).critic, evaluated.critic)
    assert evaluated.generator is not None
    assert evaluated.critic_gradient is None


def test_generator_moves_every_kth_step():
    game = Adversarial(generator(), critic(), critic_steps=3)
    idle = [losses.generator is None for losses in (game.step(rows()) for _ in range(6))]
    assert idle == [True, True, False] * 2
    assert game.steps == 6


def test_reported_numbers_are_those_of_their_definitions():
    model, net = generator(), critic(nn.LayerNorm)
    x = rows()
    torch.manual_seed(1)
    seen = Adversarial(model, net, regularisers=[GradientPenalty(5.0)]).evaluate_loss(x)
    torch.manual_seed(1)
    with torch.no_grad():
        real, fake = net(x).sigmoid(), net(model.rsample(len(x))).sigmoid()
    assert_close((seen.real, seen.fake), (real.mean().item(), fake.mean().item()), rtol=1e-2, atol=0)
    assert_close(seen.value, (real.log().mean() + (1 - fake).log().mean()).item(), rtol=1e-2, atol=0)
    assert_close(seen.critic, seen.penalty - seen.value)
    assert seen.penalty > 0
    assert seen.slope > 0


def test_without_penalties_no_slope_is_claimed():
    losses = Adversarial(generator(), critic()).step(rows())
    assert (losses.penalty, losses.slope) == (0.0, None)
    assert losses.critic_gradient > 0
    assert losses.generator_gradient > 0


def test_each_loss_module_registers_its_own_network_alone():
    model, net = generator(), critic()
    game = Adversarial(model, net)
    assert {*game.critic_loss.parameters()} == {*net.parameters()}
    assert {*game.generator_loss.parameters()} == {*model.parameters()}


def test_the_critic_loss_alone_gives_the_generator_no_gradient():
    model = generator()
    Adversarial(model, critic()).critic_loss(Batch(rows())).loss.backward()
    assert gradients(model) == [None] * len(list(model.parameters()))


def test_a_seed_repeats_the_run():
    def run():
        torch.manual_seed(5)
        game = Adversarial(generator(), critic(), loss="hinge", average=0.9)
        return [game.step(rows()) for _ in range(3)], state(game.model), state(game.averaged)

    assert_close(run(), run(), rtol=0, atol=0)


def test_a_saved_state_goes_on_as_if_never_stopped():
    def game():
        return Adversarial(generator(), critic(), average=0.9, critic_steps=2)

    first, second = game(), game()
    first.step(rows())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    outcome = []
    for one in (first, second):
        torch.manual_seed(2)
        outcome.append([[one.step(rows()) for _ in range(3)], state(one.model), state(one.averaged)])
    assert_close(*outcome, rtol=0, atol=0)


def test_default_optimisers_are_those_published_with_the_loss():
    for loss, lr, betas in (("non-saturating", 2e-4, (0.5, 0.999)), ("wasserstein", 1e-4, (0.0, 0.9))):
        for optimizer in Adversarial(generator(), critic(), loss=loss).optimizers:
            assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (lr, betas)


def test_samples_come_from_the_averaged_model_where_there_is_one():
    plain, averaged = (Adversarial(generator(), critic(), average=a) for a in (None, 0.9))
    assert plain.averaged is plain.model
    assert averaged.averaged is not averaged.model
    assert averaged.averaged.sample(4).shape == (4, 3)


def test_a_context_reaches_both_players():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = MLP(3, 1, (8,), context_dim=2)

        def forward(self, x, context):
            return self.net(x, context).squeeze(-1)

    game = Adversarial(generator(context_dim=2), Conditional().double(), regularisers=[GradientPenalty()])
    losses = game.step(Batch(rows(), context=torch.randn(16, 2, dtype=torch.double)))
    assert math.isfinite(losses.critic)
    assert losses.critic_gradient > 0


class Simulator(PyroModule):
    def __init__(self, scale):
        super().__init__()
        self.scale = PyroParam(torch.tensor(scale, dtype=torch.double), constraints.positive)

    def forward(self, num=1):
        with pyro.plate("data", num):
            return pyro.sample("x", dist.Normal(torch.zeros(3).double(), self.scale).to_event(1))


def test_constrained_parameters_of_two_unnamed_models_train_apart_and_off_the_store():
    for _ in range(2):
        model = Simulator(2.0)
        before = model.scale.item()
        Adversarial(model, critic()).step(rows())
        assert model.scale.item() not in (before, 2.0)
    assert not list(pyro.get_param_store())


def test_a_generator_that_is_a_pyro_module_leaves_the_store_alone():
    class Scaled(PyroModule):
        def __init__(self):
            super().__init__("scaled")
            self.scale = PyroParam(torch.ones(3).double(), constraints.positive)

        def forward(self, z):
            return self.scale * torch.cat((z, z[..., :1]), -1)

    model = ImplicitGenerator(Scaled(), 2, data_shape=(3,)).double()
    before = model.generator.scale.detach().clone()
    pyro.clear_param_store()
    Adversarial(model, critic()).step(rows())
    assert not list(pyro.get_param_store())
    assert (model.generator.scale != before).any()


def test_a_critic_loss_that_is_not_finite_stops_before_anything_changes():
    model, net, x = generator(), critic(), rows()
    x[0, 0] = torch.nan
    before, net_before = state(model), state(net)
    with pytest.raises(TrainingDiverged, match="the critic's loss is nan at step 0") as error:
        Adversarial(model, net).step(x)
    assert (error.value.where, error.value.step) == ("critic", 0)
    assert changed(model, before) == changed(net, net_before) == []


def test_a_generator_loss_that_is_not_finite_stops_before_the_generator_changes():
    model, net = generator(), critic()
    game, before = Adversarial(model, net), state(model)
    game.optimizers[1].register_step_post_hook(lambda *_: net[3].bias.data.fill_(torch.nan))
    with pytest.raises(TrainingDiverged, match="the generator's loss is nan") as error:
        game.step(rows())
    assert error.value.where == "generator"
    assert changed(model, before) == []


def test_a_gradient_that_is_not_finite_stops_before_the_update():
    model, net = generator(), critic()
    net[3].weight.register_hook(lambda g: g * torch.nan)
    with pytest.raises(TrainingDiverged, match="the critic's gradient is nan"):
        Adversarial(model, net).step(rows())
    assert all(p.isfinite().all() for p in net.parameters())


def test_a_critic_with_another_output_shape_is_an_error():
    with pytest.raises(ShapeError, match=r"one score for each row.*\(16,\).*\(16, 1\)"):
        Adversarial(generator(), nn.Linear(3, 1).double()).step(rows())


def test_data_of_another_shape_than_the_draws_are_an_error():
    with pytest.raises(ShapeError, match=r"\(3,\).*\(4,\)"):
        Adversarial(generator(), critic()).step(torch.rand(16, 4).double())


def test_draws_without_gradients_are_an_error():
    class Discrete(Simulator):
        def forward(self, num=1):
            return dist.Poisson(self.scale).expand((num, 3)).sample()

    with pytest.raises(DataError, match=r"no gradient.*reparameterised"):
        Adversarial(Discrete(1.0), critic()).step(rows())


def test_parameters_that_only_pyro_knows_are_an_error():
    class Hidden(Simulator):
        def forward(self, num=1):
            return super().forward(num) + pyro.param("shift", torch.zeros(3).double())

    with pytest.raises(TypeError, match=r"shift.*nn\.Parameter"):
        Adversarial(Hidden(1.0), critic()).step(rows())


def test_a_plain_function_or_nothing_to_train_is_an_error():
    with pytest.raises(TypeError, match=r"model must be an nn\.Module.*PyroModule"):
        Adversarial(lambda num=1: rows(num), critic())
    with pytest.raises(ValueError, match="critic has no parameter to train"):
        Adversarial(generator(), nn.Flatten(0))


def test_unknown_losses_and_counts_are_errors():
    with pytest.raises(UnknownNameError, match="did you mean 'non-saturating'"):
        Adversarial(generator(), critic(), loss="nonsaturating")
    with pytest.raises(ValueError, match="at least 1"):
        Adversarial(generator(), critic(), critic_steps=0)
    with pytest.raises(ArgumentTypeError, match=r"list of objects such as GradientPenalty.*'gp'"):
        Adversarial(generator(), critic(), regularisers=["gp"])
