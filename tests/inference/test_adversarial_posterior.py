"""Posteriors learned by a game: shapes and supports, what they cannot do, and a conjugate posterior."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.inference import adversarial_posterior
from pyro_dgm.nets import ConditionalGenerator
from pyro_dgm.objectives import Adversarial


def simulator():
    """A scale and weights, noise that is no parameter, and data without a density."""
    scale = pyro.sample("scale", dist.LogNormal(torch.tensor(0.0).double(), 0.5))
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3).double()))
    noise = pyro.sample("noise", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
    pyro.deterministic("x", scale[..., None] * noise + weights[..., :2], event_dim=1)


def brief(**options):
    settings = {"observed": "x", "latent": ["scale", "weights"], "num_simulations": 100, "steps": 3}
    return adversarial_posterior(simulator, **settings | options)


def test_draws_lie_in_the_supports_and_keep_their_shapes():
    drawn = brief().sample(torch.zeros(2), 50, seed=0)
    assert {name: value.shape[1:] for name, value in drawn.items()} == {"scale": (), "weights": (3,)}
    assert (drawn["scale"] > 0).all()
    assert_close(drawn["weights"].sum(-1), torch.ones(50).double())


def test_each_of_many_data_sets_has_its_own_draws():
    class Shift(nn.Module):
        """The data themselves, and no noise."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()).double())

        def forward(self, both):
            return self.weight * torch.nn.functional.pad(both[..., -2:], (0, 1))

    posterior = brief(generator=ConditionalGenerator(Shift()), steps=1)
    many = posterior.sample(torch.tensor([[0.0, 0.0], [5.0, 0.0]]), 20)
    assert many["weights"].shape == (2, 20, 3)
    alone = posterior.sample(torch.tensor([5.0, 0.0]), 20)
    assert_close(many["scale"][1], alone["scale"])
    assert (many["scale"][1] > many["scale"][0]).all()


def test_there_is_no_density_and_it_says_what_to_use():
    posterior = brief()
    assert not posterior.capabilities.has_log_prob
    assert posterior.capabilities.has_sample
    with pytest.raises(NotImplementedError, match=r"calibration.*neural_posterior"):
        posterior.log_prob({"scale": torch.ones(1)}, torch.zeros(2))


def test_seed_decides_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, two, other = brief(seed=3), brief(seed=3), brief(seed=4)
    assert torch.equal(state, torch.get_rng_state())
    drawn = [posterior.sample(torch.zeros(2), 5, seed=0)["scale"] for posterior in (one, two, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_both_players_train_on_pairs_of_latents_and_data():
    seen = []

    class Score(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 1)

        def forward(self, z, context):
            seen.append((z.shape[1:], context.shape[1:], z.mean().item()))
            return self.linear(torch.cat((z, context), -1)).squeeze(-1)

    games = []

    def game(model, critic):
        games.append(Adversarial(model, critic))
        return games[0]

    brief(critic=Score(), game=game, steps=4)
    assert games[0].steps == 4
    assert {(z, context) for z, context, _ in seen} == {((3,), (2,))}


def test_what_does_not_fit_is_named():
    with pytest.raises(UnknownNameError, match="latent site 'scales'"):
        brief(latent="scales")
    with pytest.raises(DataError, match="20 simulations or more"):
        brief(num_simulations=5)
    with pytest.raises(ShapeError, match="data at 'x' need shape"):
        brief().sample(torch.zeros(3))


def conjugate(noise=0.5):
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z, noise).to_event(1))


def test_draws_of_standard_noise_are_those_of_the_linear_regression():
    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, both):
            return self.weight * both[..., :2]

    posterior = adversarial_posterior(
        conjugate, observed="x", generator=ConditionalGenerator(Noise()), game=still, steps=1
    )
    x = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    drawn = posterior.sample(x, 4000, seed=0)["z"]
    assert_close(drawn.mean(1), x / 1.25, atol=0.05, rtol=0)
    assert_close(drawn.std(1), torch.full((2, 2), 0.2**0.5), atol=0.02, rtol=0)


def still(model, critic):
    """A game in which the generator stays as it is."""
    return Adversarial(model, critic, critic_steps=10)


@pytest.mark.slow
def test_conjugate_posterior_is_learned():
    noise = 0.5
    posterior = adversarial_posterior(conjugate, observed="x", steps=3000)
    x = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-0.5, 1.5]])
    drawn = posterior.sample(x, 4000, seed=0)["z"]
    sd = noise / math.sqrt(1 + noise**2)
    assert_close(drawn.mean(1), x / (1 + noise**2), atol=0.25 * sd, rtol=0)
    assert_close(drawn.std(1), torch.full((3, 2), sd), atol=0.2 * sd, rtol=0)
