"""What steadies a game does what its paper says."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import MLPCritic
from pyro_dgm.objectives import (
    R1,
    R2,
    Adversarial,
    FeatureMatching,
    GradientPenalty,
    HistoricalAveraging,
    InstanceNoise,
    WeightClipping,
)
from pyro_dgm.objectives.losses import NonSaturating
from pyro_dgm.objectives.regulariser import Round


def rows(n=16):
    return torch.randn(n, 3, dtype=torch.double)


def game(*regularisers, critic=None, **options):
    model = ImplicitGenerator(nn.Linear(2, 3), 2).double()
    critic = MLPCritic((3,), (8,)).double() if critic is None else critic
    return Adversarial(model, critic, regularisers=regularisers, **options)


def move(critic, real, fake):
    return Round(None, real, fake, critic, critic, None)


def test_the_generator_meets_clipped_weights_only():
    played = game(WeightClipping(0.01), loss="wasserstein")
    seen = []
    played.critic.mlp.register_forward_pre_hook(
        lambda *_: seen.append(max(p.abs().max().item() for p in played.critic.parameters()))
    )
    for _ in range(3):
        played.step(rows())
    assert len(seen) == 6  # one look by each player in a step
    assert seen[0] > 0.01  # before any update
    assert max(seen[1:]) <= 0.01


def test_clipping_with_batch_normalisation_warns():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0)).double()
    with pytest.warns(UserWarning, match="clipping its weights then bounds nothing") as seen:
        game(WeightClipping(), critic=net)
    assert seen[0].filename == __file__


def test_r1_and_r2_are_half_the_mean_squared_slope_at_their_rows():
    critic, real, fake = (lambda x: x.square().sum(1)), rows(), rows(32)
    for penalty, at in ((R1(3.0), real), (R2(3.0), fake)):  # the slope at x is 2 |x|
        term = penalty(critic, real, fake)
        assert_close(term.loss, 1.5 * (4 * at.square().sum(1)).mean())
        assert_close(term.slope, 2 * at.norm(dim=1).max())


def test_a_lazy_penalty_is_taken_now_and_then_with_more_weight():
    played = game(GradientPenalty(1.0, target=0.0, every=3))
    taken = [played.step(rows()).penalty for _ in range(6)]
    assert [value > 0 for value in taken] == [True, False, False] * 2
    critic, real, fake = played.critic, rows(), rows()
    assert_close(
        R1(1.0, every=4).critic_term(move(critic, real, fake)).loss, R1(4.0)(critic, real, fake).loss
    )


def test_feature_matching_compares_means_at_any_pairing():
    real = torch.randn(20_000, 2, dtype=torch.double)
    fake = torch.randn(20_000, 2, dtype=torch.double)
    term = FeatureMatching("mlp.layers.1")
    net = MLPCritic((2,), (16,)).double()
    values = [
        term.generator_term(move(net, real, x)).item() for x in (fake, fake.flip(0), fake.sort(0).values)
    ]
    spread = (net.mlp.layers[:2](torch.cat((real, fake))).var(0).sum() / 10_000).item()
    assert_close(values[0], values[1])
    assert values[0] < 4 * spread  # its expectation is the spread; pairs would give 10 000 times as much
    assert term.generator_term(move(net, real, fake + 1.0)) > 20 * spread


def test_feature_matching_replaces_the_generators_loss_or_adds_to_it():
    net = MLPCritic((3,), (8,)).double()
    alone, added = (FeatureMatching("mlp.layers.0", weight=2.0, alone=a) for a in (True, False))
    values = {}
    for name, terms in {"alone": [alone], "added": [added], "plain": []}.items():
        played = game(*terms, critic=copy.deepcopy(net))
        played.model.load_state_dict({k: torch.ones_like(v) for k, v in played.model.state_dict().items()})
        torch.manual_seed(0)
        values[name] = played.evaluate_loss(torch.ones(8, 3).double()).generator
    assert_close(values["added"], values["alone"] + values["plain"])
    assert values["alone"] > 0


def test_an_unknown_layer_is_an_error():
    with pytest.raises(UnknownNameError, match=r"mlp\.layers\.1"):
        game(FeatureMatching("mlp.layer.1"))


def test_historical_averaging_is_the_squared_distance_to_the_mean_of_the_past():
    term = HistoricalAveraging(0.5)
    model, net = nn.Linear(2, 1, bias=False).double(), nn.Linear(2, 1, bias=False).double()
    past = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[8.0, 0.0]])]
    for weights in past:
        net.weight.data.copy_(weights)
        term.after_step(model, net)
    net.weight.data.copy_(torch.tensor([[0.0, 0.0]]))
    seen = Round(None, rows(), rows(), net, net, model)
    assert_close(term.critic_term(seen).loss.item(), 0.5 * (4.0**2 + 2.0**2))
    term.critic_term(seen).loss.backward()
    assert_close(
        net.weight.grad, torch.tensor([[-4.0, -2.0]]).double()
    )  # a term of the loss, with a gradient
    assert_close(term.generator_term(seen).item(), 0.0)


def test_label_smoothing_is_the_cross_entropy_with_a_soft_label_on_real_rows_alone():
    real, fake = torch.randn(50).double(), torch.randn(50).double()
    bce = nn.BCEWithLogitsLoss()
    wanted = bce(real, torch.full_like(real, 0.9)) + bce(fake, torch.zeros_like(fake))
    smoothed, plain = NonSaturating(real_label=0.9), NonSaturating()
    assert_close(smoothed.critic(real, fake), wanted)
    assert_close(smoothed.js_bound(real, fake), plain.js_bound(real, fake))
    assert_close(plain.js_bound(real, fake), torch.tensor(2.0).log().double() - plain.critic(real, fake) / 2)
    with pytest.raises(ValueError, match="real_label"):
        NonSaturating(real_label=0.3)


def test_instance_noise_reaches_both_sides_and_fades_to_nothing():
    noise = InstanceNoise(0.5, steps=4)
    played = game(noise)
    seen = []
    played.critic.mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    model = played.model
    model.generator.weight.data.zero_()
    model.generator.bias.data.zero_()
    played.optimizers[0].param_groups[0]["lr"] = 0.0
    zeros = torch.zeros(4000, 3).double()
    for expected in (0.5, 0.375, 0.25, 0.125, 0.0):
        seen.clear()
        assert noise.current_sd == expected
        played.step(zeros)
        for x in torch.cat(seen).split(4000):
            assert abs(x.std().item() - expected) < 0.02


@pytest.mark.parametrize(
    "make",
    [lambda: HistoricalAveraging(0.1), lambda: InstanceNoise(0.3, steps=9), lambda: R1(1.0, every=2)],
)
def test_a_saved_game_goes_on_with_its_regularisers(make):
    first, second = game(make(), average=0.9), game(make(), average=0.9)
    for _ in range(3):
        first.step(rows())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    batch, outcome = rows(), []
    for one in (first, second):
        torch.manual_seed(3)
        outcome.append([one.step(batch) for _ in range(3)])
    assert_close(*outcome, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WeightClipping(0.0),
        lambda: R1(-1.0),
        lambda: R1(1.0, every=0),
        lambda: FeatureMatching("x", weight=-1.0),
        lambda: HistoricalAveraging(-1.0),
        lambda: InstanceNoise(-0.1),
    ],
)
def test_settings_out_of_range_are_errors(wrong):
    with pytest.raises(ValueError, match="needs"):
        wrong()
