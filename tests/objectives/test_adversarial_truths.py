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


def discriminate(model, data, steps):
    net = critic(1, nn.Tanh)
    game = Adversarial(model, net, (None, Adam(net.parameters(), 1e-2)), loss="minimax", critic_steps=NEVER)
    train(game, data, steps, 512)
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


def test_a_trained_discriminator_is_the_ratio_of_the_densities():
    x = torch.linspace(-4, 5, 901, dtype=torch.double)
    p, q = dist.Normal(0.0, 1.0).log_prob(x).exp(), dist.Normal(1.0, 1.0).log_prob(x).exp()
    game = discriminate(LocationScale([1.0], [1.0]), lambda n: normal(n, [0.0], [1.0]), steps=300)
    error = game.critic(x[:, None]).sigmoid() - p / (p + q)
    assert error[p + q > 0.01].abs().max() < 0.03


def test_wasserstein_value_over_slope_is_the_distance_of_two_shifted_normals():
    net = critic(2, nn.ReLU)
    optimizer = Adam(net.parameters(), 1e-2, betas=(0.5, 0.9))
    game = Adversarial(
        LocationScale([0.0, 0.0], [1.0, 1.0]),
        net,
        (None, optimizer),
        loss="wasserstein",
        regularisers=[GradientPenalty(30.0)],
        critic_steps=NEVER,
    )
    shift = [math.sqrt(2.0), math.sqrt(2.0)]
    train(game, lambda n: normal(n, shift, [1.0, 1.0]), 300, 256)
    measured = game.evaluate_loss(normal(20_000, shift, [1.0, 1.0]))
    assert 0.93 * 2 < measured.value / measured.slope < 1.02 * 2


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
