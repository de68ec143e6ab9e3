"""Alarms ring for constructed troubles and not for health; measuring changes nothing."""

import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.testing import assert_close

from pyro_dgm.distributions import GaussianRing
from pyro_dgm.errors import DataError, TrainingDiverged
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import ConvCritic, ConvDecoder, MLPCritic
from pyro_dgm.objectives import Adversarial, GameWarning, HeldOutCoverage, Watch

RING = GaussianRing(8, radius=2.0, sd=0.1)


class Picks(nn.Module):
    """Draws from the first few components of the ring."""

    def __init__(self, modes):
        super().__init__()
        self.modes, self.shift = modes, nn.Parameter(torch.zeros(2))

    def forward(self, num=1):
        which = torch.randint(self.modes, (num,))
        return RING.centres[which].float() + 0.1 * torch.randn(num, 2) + self.shift


def game(modes=8, critic_lr=0.0, **options):
    model, net = Picks(modes), MLPCritic((2,), (8,))
    pair = SGD(model.parameters(), 0.0), SGD(net.parameters(), critic_lr)
    return Adversarial(model, net, pair, **options)


def play(played, steps, draw=lambda: RING.sample((16,))):
    return [played.step(draw()) for _ in range(steps)]


@pytest.mark.parametrize(("modes", "alarms"), [(8, set()), (7, {"mode collapse"})])
def test_a_lost_mode_rings_and_a_healthy_generator_does_not(modes, alarms):
    watch = Watch(5, held_out=RING.sample((1000,)), patience=3, on_divergence="ignore")
    played = game(modes, watch=watch)
    seen = [losses.coverage for losses in play(played, 25)]
    assert set(watch.alarms) == alarms
    measured = [c for c in seen if c is not None]
    assert len(measured) == 5
    assert abs(measured[-1] - modes / 8) < 0.03


def test_a_narrow_but_complete_generator_is_no_collapse():
    coverage = HeldOutCoverage(RING.sample((1000,)))
    narrow = RING.centres[torch.randint(8, (1000,))].float() + 0.06 * torch.randn(1000, 2)
    assert coverage(narrow) > 0.97


def test_an_alarm_warns_once_and_says_what_to_do():
    played = game(7, watch=Watch(1, held_out=RING.sample((500,)), patience=1))
    with pytest.warns(GameWarning, match=r"mode collapse at step 1 .* add a GradientPenalty") as seen:
        play(played, 4)
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_an_alarm_can_end_the_game():
    played = game(7, watch=Watch(1, held_out=RING.sample((500,)), patience=1, on_divergence="raise"))
    with pytest.raises(TrainingDiverged, match="mode collapse"):
        play(played, 4)


def sure_critic():
    class Sure(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(100.0))

        def forward(self, x):
            return self.scale * (x[:, 0] - 1.0)

    return Sure()


def test_a_perfect_discriminator_rings():
    model, net = Picks(1), sure_critic()  # generated at (2, 0), data at (0, 0)
    net.scale.data.neg_()
    pair = SGD(model.parameters(), 0.0), SGD(net.parameters(), 0.0)
    played = Adversarial(model, net, pair, watch=Watch(5, on_divergence="raise"))
    with pytest.raises(TrainingDiverged, match="perfect discriminator at step 9"):
        play(played, 20, lambda: 0.1 * torch.randn(16, 2))


def test_a_critic_whose_loss_keeps_growing_rings():
    model, net = Picks(1), sure_critic()
    net.scale.data.fill_(1.0)
    pair = SGD(model.parameters(), 0.0), SGD(net.parameters(), 0.2)
    played = Adversarial(model, net, pair, loss="wasserstein", watch=Watch(10, on_divergence="raise"))
    net.scale.register_hook(lambda g: -net.scale.detach())  # unbounded growth, as a critic without bound
    with pytest.raises(TrainingDiverged, match="divergence at step"):
        play(played, 60, lambda: torch.zeros(16, 2))


def linear_critic():
    net = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    net[0].weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    return net


@pytest.mark.parametrize(
    ("loss", "growth", "alarms"),
    [("wasserstein", 2.0, {"exploding slope": 11}), ("wasserstein", 1.0, {}), ("minimax", 2.0, {})],
)
def test_a_slope_that_explodes_rings_twice_over_a_hundredfold_and_only_without_probabilities(
    loss, growth, alarms
):
    net, model = linear_critic(), Picks(8)
    net[0].bias.data.zero_()
    pair = SGD(model.parameters(), 0.0), SGD(net.parameters(), 0.0)
    played = Adversarial(model, net, pair, watch=Watch(2, on_divergence="ignore"), loss=loss)
    for _ in range(
        16
    ):  # the slope at step n is 5 growth^n, at first measured at step 1: a hundredfold at 9, again at 11
        played.step(RING.sample((8,)) * 1e-6)
        net[0].weight.data.mul_(growth)
    found = {name: step for name, step in played.watch.alarms.items() if name == "exploding slope"}
    assert found == alarms


def test_the_slope_is_measured_where_no_penalty_does_it_and_measuring_changes_nothing():
    def run(every):
        torch.manual_seed(0)
        played = game(critic_lr=0.1, watch=Watch(every, held_out=RING.sample((300,)), on_divergence="ignore"))
        return play(played, 6), played

    (often, watched), (never, unwatched) = run(2), run(1000)
    assert [losses.slope is not None for losses in often] == [False, True] * 3
    assert all(losses.slope is None for losses in never)
    bare = [losses._replace(slope=None, coverage=None) for losses in often]
    assert_close(bare, never, rtol=0, atol=0)
    assert_close(watched.critic.state_dict(), unwatched.critic.state_dict(), rtol=0, atol=0)


def test_the_measured_slope_is_that_of_a_linear_critic():
    net = linear_critic()
    played = Adversarial(Picks(8), net, watch=Watch(1), loss="wasserstein")
    played.optimizers[1].param_groups[0]["lr"] = 0.0
    assert_close(played.step(RING.sample((8,))).slope, 5.0)


def test_too_few_held_out_rows_are_an_error():
    with pytest.raises(DataError, match="at least 200"):
        Watch(held_out=torch.randn(50, 2))


@pytest.mark.parametrize(
    ("output", "scale", "shift"), [("sigmoid", 2.0, -1.0), ("sigmoid", 255.0, 0.0), ("tanh", 3.0, -1.0)]
)
def test_data_outside_the_generators_range_are_an_error(output, scale, shift):
    model = ImplicitGenerator(ConvDecoder(2, (1, 8, 8), width=8, output=output), latent_dim=2)
    played = Adversarial(model, ConvCritic((1, 8, 8), width=8))
    with pytest.raises(DataError, match=r"last layer gives values in .* but the data lie in"):
        played.step(scale * torch.rand(4, 1, 8, 8) + shift)


def test_a_tanh_generator_of_data_above_zero_warns():
    model = ImplicitGenerator(ConvDecoder(2, (1, 8, 8), width=8, output="tanh"), latent_dim=2)
    with pytest.warns(UserWarning, match="half of its range is unused"):
        Adversarial(model, ConvCritic((1, 8, 8), width=8)).step(torch.rand(4, 1, 8, 8))


@pytest.mark.parametrize(("output", "low"), [("sigmoid", 0.0), ("tanh", -1.0), ("logits", -9.0)])
def test_data_inside_the_generators_range_pass_in_silence(output, low):
    model = ImplicitGenerator(ConvDecoder(2, (1, 8, 8), width=8, output=output), latent_dim=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Adversarial(model, ConvCritic((1, 8, 8), width=8)).step((1 - low) * torch.rand(4, 1, 8, 8) + low)
