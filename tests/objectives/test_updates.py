"""Four kinds of updates on the bilinear game min_x max_y x y, whose only equilibrium is the origin."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.testing import assert_close

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.objectives import R1, Adversarial, WeightClipping

LR = 0.1


class Point(nn.Module):
    """A generator of one point, its parameter x: draws without any randomness."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, dtype=torch.double))

    def forward(self, num=1):
        return self.x.expand(num, 1)


class Slope(nn.Module):
    """The critic f(x) = y x, its parameter y."""

    def __init__(self):
        super().__init__()
        self.y = nn.Parameter(torch.ones(1, dtype=torch.double))

    def forward(self, x):
        return (self.y * x).squeeze(-1)


def bilinear(updates, make=lambda p: SGD(p, LR), **options):
    # With data at 0 the Wasserstein critic minimises y x and the generator -y x.
    model, net = Point(), Slope()
    pair = make(model.parameters()), make(net.parameters())
    return Adversarial(model, net, pair, loss="wasserstein", updates=updates, **options)


def play(game, steps):
    data = torch.zeros(4, 1, dtype=torch.double)
    points = []
    for _ in range(steps):
        game.step(data)
        points.append(torch.stack([game.model.x.detach()[0], game.critic.y.detach()[0]]))
    return torch.stack(points)


def recursion(updates, steps):
    """The same games written down by hand."""
    x = y = 1.0
    gx_last, gy_last = -y, x
    points = []
    for _ in range(steps):
        if updates == "simultaneous":
            x, y = x + LR * y, y - LR * x
        elif updates == "alternating":
            y = y - LR * x
            x = x + LR * y
        elif updates == "extragradient":
            x, y = x + LR * (y - LR * x), y - LR * (x + LR * y)
        else:
            gx, gy = -y, x
            x, y = x - LR * (2 * gx - gx_last), y - LR * (2 * gy - gy_last)
            gx_last, gy_last = gx, gy
        points.append((x, y))
    return torch.tensor(points, dtype=torch.double)


@pytest.mark.parametrize("updates", ["simultaneous", "alternating", "extragradient", "optimistic"])
def test_updates_are_those_written_by_hand(updates):
    assert_close(play(bilinear(updates), 30), recursion(updates, 30))


def test_simultaneous_spirals_out_alternating_circles_and_the_others_converge():
    far = {name: play(bilinear(name), 300).norm(dim=1) for name in ("simultaneous", "alternating")}
    near = {name: play(bilinear(name), 600).norm(dim=1) for name in ("extragradient", "optimistic")}
    assert far["simultaneous"][-1] > 4 * 2**0.5
    assert_close(far["simultaneous"][1:] / far["simultaneous"][:-1], torch.full((299,), 1.01**0.5).double())
    assert 1.2 < far["alternating"].min() < far["alternating"].max() < 1.7
    assert all(norms[-1] < 0.1 for norms in near.values())


@pytest.mark.parametrize("updates", ["extragradient", "optimistic"])
def test_saved_updates_go_on_as_if_never_stopped(updates):
    def adam(parameters):
        return Adam(parameters, 0.05)

    first, second = bilinear(updates, adam), bilinear(updates, adam)
    play(first, 5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert_close(play(first, 5), play(second, 5), rtol=0, atol=0)


@pytest.mark.parametrize("updates", ["alternating", "simultaneous", "extragradient", "optimistic"])
def test_clipped_weights_stay_in_their_box(updates):
    game = bilinear(updates, regularisers=[WeightClipping(0.3)])
    assert play(game, 40)[:, 1].abs().max() <= 0.3


def test_a_critic_that_moves_more_often_keeps_its_own_last_step():
    game = bilinear("optimistic", critic_steps=2)
    moved = play(game, 6)
    assert_close(moved[0::2, 0][1:], moved[1::2, 0][:-1])  # the generator rests in every other step
    assert moved.isfinite().all()


def test_a_lazy_penalty_is_in_the_step_itself_and_not_in_the_look_ahead_alone():
    game = bilinear("extragradient", regularisers=[R1(8.0, every=2)])  # R1 is 4 y^2, taken twofold
    x, y = play(game, 1)[0].tolist()
    ahead_x, ahead_y = 1 + LR, 1 - LR * (1 + 16)
    assert_close(y, 1 - LR * (ahead_x + 16 * ahead_y))
    assert_close(x, 1 + LR * ahead_y)


def test_unknown_updates_are_an_error():
    with pytest.raises(UnknownNameError, match="did you mean 'extragradient'"):
        bilinear("extra-gradient")
