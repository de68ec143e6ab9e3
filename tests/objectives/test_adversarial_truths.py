"""Games whose solution is known in closed form or by quadrature."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn
from torch.optim import Adam
from torch.testing import assert_close

from pyro_dgm.nets import MLP
from pyro_dgm.objectives import Adversarial, GradientPenalty
from pyro_dgm.objectives.losses import CTransform

NEVER = 10**9


class LocationScale(PyroModule):
    """A simulator with parameters, as one would write it without this library: x = loc + scale z."""

    def __init__(self, loc, scale):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(loc, dtype=torch.double))
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.double))

    def forward(self, num=1):
        with pyro.plate("data", num):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(self.loc), 1.0).to_event(1))
            return pyro.deterministic("x", self.loc + self.scale * z, event_dim=1)


def critic(input_dim, activation):
    return nn.Sequential(MLP(input_dim, 1, (32, 32), activation=activation), nn.Flatten(0)).double()


def normal(n, loc, scale):
    loc, scale = torch.tensor(loc, dtype=torch.double), torch.tensor(scale, dtype=torch.double)
    return loc + scale * torch.randn(n, len(loc), dtype=torch.double)


def train(game, data, steps, batch):
    start = [optimizer.param_groups[0]["lr"] for optimizer in game.optimizers]
    for step in range(steps):
        for optimizer, lr in zip(game.optimizers, start, strict=True):  # to zero, so that the players settle
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        game.step(data(batch))


def discriminate(model, data, steps, batch=512):
    net = critic(1, nn.Tanh)
    game = Adversarial(model, net, (None, Adam(net.parameters(), 1e-2)), loss="minimax", critic_steps=NEVER)
    train(game, data, steps, batch)
    return game


def densities(x):
    p, q = dist.Normal(0.0, 1.0).log_prob(x).exp(), dist.Normal(1.0, 1.5).log_prob(x).exp()
    return p, q


def test_value_of_a_trained_discriminator_is_twice_js_minus_twice_log_2():
    x = torch.linspace(-10, 12, 4001, dtype=torch.double)
    p, q = densities(x)
    value = torch.trapezoid(p * (p / (p + q)).log() + q * (q / (p + q)).log(), x)  # = 2 JS - 2 log 2
    game = discriminate(LocationScale([1.0], [1.5]), lambda n: normal(n, [0.0], [1.0]), steps=300)
    assert abs(game.evaluate_loss(normal(100_000, [0.0], [1.0])).value - value) < 0.02


@pytest.mark.parametrize(
    ("scale", "steps", "batch"), [(1.0, 300, 512), pytest.param(1.5, 2500, 1024, marks=pytest.mark.slow)]
)
def test_a_trained_discriminator_is_the_ratio_of_the_densities(scale, steps, batch):
    x = torch.linspace(-5, 7, 1201, dtype=torch.double)
    p, q = dist.Normal(0.0, 1.0).log_prob(x).exp(), dist.Normal(1.0, scale).log_prob(x).exp()
    game = discriminate(LocationScale([1.0], [scale]), lambda n: normal(n, [0.0], [1.0]), steps, batch)
    error = game.critic(x[:, None]).sigmoid() - p / (p + q)
    assert error[p + q > 0.01].abs().max() < 0.03


@pytest.mark.parametrize(("input_dim", "steps"), [(2, 300), pytest.param(16, 1500, marks=pytest.mark.slow)])
def test_wasserstein_value_over_slope_is_the_distance_of_two_shifted_normals(input_dim, steps):
    net = critic(input_dim, nn.ReLU)
    optimizer = Adam(net.parameters(), 1e-2, betas=(0.5, 0.9))
    zeros, ones = [0.0] * input_dim, [1.0] * input_dim
    game = Adversarial(
        LocationScale(zeros, ones),
        net,
        (None, optimizer),
        loss="wasserstein",
        regularisers=[GradientPenalty(30.0)],
        critic_steps=NEVER,
    )
    shift = [2.0 / math.sqrt(input_dim)] * input_dim
    train(game, lambda n: normal(n, shift, ones), steps, 256)
    measured = game.evaluate_loss(normal(20_000, shift, ones))
    assert 0.93 * 2 < measured.value / measured.slope < 1.02 * 2


class Line(PyroModule):
    """Rows (theta, u) with u uniform: a line beside that of the data, (0, u)."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.double))

    def forward(self, num=1):
        with pyro.plate("data", num):
            u = pyro.sample("u", dist.Uniform(torch.zeros(num).double(), 1.0))
        return torch.stack((self.theta.expand(num), u), -1)


def line(n):
    return torch.stack((torch.zeros(n), torch.rand(n)), -1).double()


@pytest.mark.parametrize("theta", [0.5, 2.0])
def test_parallel_lines_are_theta_apart_while_their_js_is_log_2(theta):
    net = critic(2, nn.ReLU)
    optimizer = Adam(net.parameters(), 1e-2, betas=(0.5, 0.9))
    penalty = [GradientPenalty(30.0)]
    pair = (None, optimizer)
    game = Adversarial(Line(theta), net, pair, loss="wasserstein", regularisers=penalty, critic_steps=NEVER)
    train(game, line, 200, 128)
    measured = game.evaluate_loss(line(5000))
    assert 0.93 * theta < measured.value / measured.slope < 1.02 * theta

    told = Adversarial(Line(theta), critic(2, nn.Tanh), (None, None), loss="minimax", critic_steps=NEVER)
    told.optimizers[1].param_groups[0]["lr"] = 3e-2
    train(told, line, 150, 128)
    assert 0.98 * math.log(2) < told.evaluate_loss(line(5000)).js_bound <= math.log(2)


def exact_distance(x, y):
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x, y)
    return cost[linear_sum_assignment(cost.numpy())].mean().item()


def test_the_c_transform_never_exceeds_the_distance_of_the_batches_and_reaches_it():
    x, y = normal(64, [0.0, 0.0], [1.0, 1.0]), normal(64, [1.5, 0.0], [1.0, 0.5])
    wanted, loss = exact_distance(x, y), CTransform()
    values = []
    net = critic(2, nn.Tanh)
    optimizer = Adam(net.parameters(), 2e-2)
    for _ in range(250):
        optimizer.zero_grad()
        value = -loss.critic_of_rows(net(x), net(y), x, y)
        (-value).backward()
        optimizer.step()
        values.append(value.item())
    assert max(values) <= wanted + 1e-9  # of any critic, trained or not
    assert max(values) > 0.95 * wanted


def test_the_c_transforms_generator_moves_rows_towards_the_data():
    x, y = normal(16, [0.0, 0.0], [1.0, 1.0]), normal(16, [5.0, 0.0], [1.0, 1.0]).requires_grad_()
    CTransform().generator_of_rows(lambda rows: torch.zeros(len(rows)).double(), x, y).backward()
    nearest = x[torch.cdist(y, x).argmin(1)]  # with f = 0 its c-transform is the distance to the data
    assert_close(y.grad * 16, nn.functional.normalize(y.detach() - nearest))


@pytest.mark.parametrize(
    ("loss", "penalty", "critic_steps"),
    [("non-saturating", GradientPenalty(1.0, target=0.0), 1), ("wasserstein", GradientPenalty(1.0), 2)],
)
def test_a_simulator_learns_its_parameters_from_data(loss, penalty, critic_steps):
    loc, scale = [2.0, -1.0], [0.5, 1.5]
    model = LocationScale([0.0, 0.0], [1.0, 1.0])
    net = critic(2, nn.Tanh if loss == "non-saturating" else nn.ReLU)
    game = Adversarial(
        model,
        net,
        (Adam(model.parameters(), 2e-2, betas=(0.0, 0.9)), Adam(net.parameters(), 1e-2, betas=(0.0, 0.9))),
        loss=loss,
        regularisers=[penalty],
        critic_steps=critic_steps,
        average=0.98,
    )
    train(game, lambda n: normal(n, loc, scale), 400, 256)
    assert_close(game.averaged.loc.tolist(), loc, atol=0.15, rtol=0)
    assert_close(game.averaged.scale.tolist(), scale, atol=0.15, rtol=0)
