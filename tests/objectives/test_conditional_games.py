"""Games whose rows belong to classes."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import Adam
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import AuxiliaryCritic, ConditionalGenerator, MLPCritic, ProjectionCritic
from pyro_dgm.objectives import R1, Adversarial, AuxiliaryClassifier, Batch, GradientPenalty

CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]])


def labelled(n):
    labels = torch.arange(n) % 3
    return Batch(CENTRES[labels] + 0.2 * torch.randn(n, 2), one_hot(labels, 3).float())


def features(width=32):
    return nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2))


def affine_generator():
    return ImplicitGenerator(ConditionalGenerator(nn.Linear(2 + 3, 2)), 2, data_shape=(2,))


def learned_centres(game, steps):
    for step in range(steps):
        for optimizer in game.optimizers:
            optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        game.step(labelled(96))
    context = torch.eye(3).repeat_interleave(400, 0)
    return game.averaged.sample(1200, context=context).view(3, 400, 2).mean(1)


def adams(*modules):
    return tuple(Adam(module.parameters(), 0.01, betas=(0.0, 0.9)) for module in modules)


def test_a_projection_critic_teaches_each_class_its_own_rows():
    model, critic = affine_generator(), ProjectionCritic(features(), 32, 3)
    options = {"regularisers": [R1(0.2)], "average": 0.95}
    game = Adversarial(model, critic, adams(model, critic), **options)
    assert torch.linalg.vector_norm(learned_centres(game, 250) - CENTRES, dim=1).max() < 0.5


def test_an_auxiliary_classifier_teaches_each_class_its_own_rows():
    model, critic = affine_generator(), AuxiliaryCritic(features(), 32, 3)
    options = {"regularisers": [R1(0.2), AuxiliaryClassifier(1.0)], "average": 0.95}
    game = Adversarial(model, critic, adams(model, critic), **options)
    assert torch.linalg.vector_norm(learned_centres(game, 250) - CENTRES, dim=1).max() < 1.0


def test_the_auxiliary_terms_are_cross_entropies_on_both_sides():
    model, critic = affine_generator(), AuxiliaryCritic(features(), 32, 3)
    batch = labelled(12)
    seen = []
    for terms in ([], [AuxiliaryClassifier(2.0)]):
        torch.manual_seed(0)
        seen.append(Adversarial(model, critic, regularisers=terms).evaluate_loss(batch))
    plain, told = seen
    torch.manual_seed(0)
    with torch.no_grad():
        fake = model.rsample(12, context=batch.context)
        labels = batch.context.argmax(1)
        on_real, on_fake = (cross_entropy(critic.classify(x), labels).item() for x in (batch.x, fake))
    assert_close(told.critic - plain.critic, 2 * (on_real + on_fake), rtol=1e-4, atol=1e-5)
    assert_close(told.value, plain.value)


def test_projection_critics_score_by_their_formula():
    critic = ProjectionCritic(features(8), 8, 3).double()
    x, y = torch.randn(4, 2).double(), torch.eye(3).double()[[0, 1, 2, 2]]
    h = critic.features(x)
    wanted = (
        h @ critic.score.weight[0]
        + critic.score.bias
        + torch.einsum("nf,fc,nc->n", h, critic.embedding.weight, y)
    )
    assert_close(critic(x, y), wanted)


def test_labels_that_are_missing_or_a_critic_that_cannot_classify_are_errors():
    model = affine_generator()
    with pytest.raises(TypeError, match="AuxiliaryCritic"):
        Adversarial(model, MLPCritic((2,)), regularisers=[AuxiliaryClassifier()])
    game = Adversarial(model, AuxiliaryCritic(features(), 32, 3), regularisers=[AuxiliaryClassifier()])
    with pytest.raises(DataError, match="one-hot"):
        game.step(Batch(torch.randn(4, 2), torch.rand(4, 3)))
    with pytest.raises(DataError, match="one-hot"):  # shares that sum to one are no classes
        game.step(Batch(torch.randn(4, 2), torch.full((4, 3), 1 / 3)))
    with pytest.raises(DataError, match="got none"):
        Adversarial(
            ImplicitGenerator(nn.Linear(2, 2), 2),
            AuxiliaryCritic(features(), 32, 3),
            regularisers=AuxiliaryClassifier(),
        ).step(torch.randn(4, 2))


class NoisyGrowth(pyro.nn.PyroModule):
    """A simulator nobody has a likelihood for: noisy logistic growth, seen at four times."""

    def __init__(self, rate, noise):
        super().__init__()
        self.log_rate = nn.Parameter(torch.tensor(rate).log())
        self.log_noise = nn.Parameter(torch.tensor(noise).log())

    def forward(self, num=1):
        size, seen = torch.full((num,), 0.1), []
        with pyro.plate("data", num):
            for time in range(12):
                shock = pyro.sample(f"shock_{time}", dist.Normal(torch.zeros(num), 1.0))
                growth = self.log_rate.exp() * (1 - size)
                size = size * (growth + self.log_noise.exp() * shock).exp()
                if time % 3 == 2:
                    seen.append(size)
        return torch.stack(seen, 1)


@pytest.mark.slow
def test_a_simulator_without_likelihood_learns_its_parameters_from_data():
    torch.manual_seed(0)
    truth, model = NoisyGrowth(0.4, 0.1), NoisyGrowth(0.2, 0.3)
    with torch.no_grad():
        data = truth(num=4000)
    critic = MLPCritic((4,), (64, 64))
    game = Adversarial(
        model,
        critic,
        adams(model, critic),
        loss="wasserstein",
        regularisers=[GradientPenalty(1.0)],
        critic_steps=3,
        average=0.98,
    )
    for step in range(1500):
        for optimizer in game.optimizers:
            optimizer.param_groups[0]["lr"] = 0.005 * (1 - step / 1500)
        game.step(data[torch.randint(4000, (256,))])
    assert abs(game.averaged.log_rate.exp().item() - 0.4) < 0.04
    assert abs(game.averaged.log_noise.exp().item() - 0.1) < 0.02
