import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import ConvCritic, ConvDecoder
from pyro_dgm.objectives import Adversarial, GradientPenalty


def rows(n, *event):
    return torch.randn(n, *event, dtype=torch.double), torch.randn(n, *event, dtype=torch.double)


def linear(slope, *event):
    """A critic with the same gradient, of norm ``slope``, everywhere."""
    direction = torch.randn(event, dtype=torch.double)
    weight = (slope * direction / direction.norm()).requires_grad_()
    return lambda x: (x * weight).flatten(1).sum(1)


@pytest.mark.parametrize("n", [4, 64])
@pytest.mark.parametrize("event", [(5,), (1, 4, 4)])
def test_penalty_is_zero_for_a_critic_of_slope_one(n, event):
    loss, slope = GradientPenalty(10.0)(linear(1.0, *event), *rows(n, *event))
    assert loss.item() < 1e-25
    assert_close(slope, torch.ones_like(slope))


@pytest.mark.parametrize("n", [4, 64])
@pytest.mark.parametrize("c", [0.25, 3.0])
def test_penalty_is_the_squared_distance_of_the_slope_from_the_target(n, c):
    for target in (0.0, 1.0):
        penalty = GradientPenalty(2.0, target=target)(linear(c, 3, 2), *rows(n, 3, 2))
        assert_close(penalty.loss.item(), 2.0 * (c - target) ** 2)
        assert_close(penalty.slope.item(), c)


def test_one_sided_penalty_lets_small_slopes_be():
    penalty = GradientPenalty(1.0, one_sided=True)
    assert penalty(linear(0.3, 4), *rows(8, 4)).loss == 0
    assert_close(penalty(linear(3.0, 4), *rows(8, 4)).loss.item(), 4.0)


def test_points_lie_between_the_pairs_with_one_epsilon_for_each_row():
    real, fake = rows(50, 2, 3)
    epsilon = (GradientPenalty().points(real, fake) - fake) / (real - fake)
    assert_close(epsilon, epsilon[:, :1, :1].expand_as(epsilon))
    assert epsilon.min() >= 0
    assert epsilon.max() <= 1
    assert len(epsilon[:, 0, 0].unique()) == 50


def test_penalty_has_gradients_to_the_critic_and_none_to_the_rows():
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    real, fake = rows(8, 3)
    fake.requires_grad_()
    GradientPenalty()(critic, real, fake).loss.backward()
    assert fake.grad is None
    assert all(p.grad.abs().max() > 0 for p in critic[0].parameters())


def game(norm, regularisers):
    model = ImplicitGenerator(ConvDecoder(2, (1, 8, 8), width=8), latent_dim=2)
    return Adversarial(model, ConvCritic((1, 8, 8), width=8, norm=norm), regularisers=regularisers)


def test_batch_normalisation_in_a_critic_with_a_gradient_penalty_warns():
    with pytest.warns(UserWarning, match=r"BatchNorm2d \(layers\.1\).*norm=None") as seen:
        game("batch", [GradientPenalty()])
    assert seen[0].filename == __file__  # where the game was set up, not inside the library


@pytest.mark.parametrize(("norm", "penalties"), [("layer", [GradientPenalty()]), ("batch", [])])
def test_other_critics_do_not_warn(norm, penalties):
    game(norm, penalties)


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"target": -1.0}])
def test_negative_settings_are_errors(wrong):
    with pytest.raises(ValueError, match=">= 0"):
        GradientPenalty(**wrong)
