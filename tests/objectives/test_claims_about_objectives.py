"""What is said of the three objectives, each claim put to a model in which it can be computed."""

import math

import pyro.distributions as dist
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.nets import MLPCritic
from pyro_dgm.objectives import ELBO, Adversarial


def test_the_gradient_of_the_likelihood_is_that_of_the_divergence():
    # J_ML = H(X) + KL(X || model), and H(X) has no parameters: the same minimum, by quadrature over x
    model = NormalizingFlow(RealNVP(1, num_layers=1, hidden_dims=(4,))).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    x = torch.linspace(-12, 14, 4001, dtype=torch.double)[:, None]
    truth = dist.Normal(1.0, 2.0).log_prob(x[:, 0]).double()
    weight = truth.exp() * (x[1, 0] - x[0, 0])
    parameters = [p for p in model.parameters() if p.requires_grad]
    j_ml = -(weight * model.log_prob(x)).sum()
    divergence = (weight * (truth - model.log_prob(x))).sum()
    used = {"allow_unused": True, "materialize_grads": True}
    for a, b in zip(
        torch.autograd.grad(j_ml, parameters, **used),
        torch.autograd.grad(divergence, parameters, **used),
        strict=True,
    ):
        assert_close(a, b)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 4)
    assert_close((j_ml - divergence).item(), entropy, rtol=1e-6, atol=1e-6)
    assert divergence > 0


@pytest.fixture
def linear():
    """z ~ N(0, 1), x = z + N(0, 1), the guide N(0.3 x, 0.6^2): log p, posterior, ELBO in closed form."""

    class Encoder(nn.Module):
        def forward(self, x):
            return 0.3 * x, torch.full_like(x, 2 * math.log(0.6))

    guide = AmortizedNormal(Encoder())
    vae = VAE(nn.Identity(), 1, likelihood=Gaussian(scale=1.0), guide=guide).double()
    x = torch.tensor([[0.7]], dtype=torch.double)
    log_p = dist.Normal(0.0, math.sqrt(2)).log_prob(x[0, 0])
    posterior, q = dist.Normal(0.5 * x[0, 0], math.sqrt(0.5)), dist.Normal(0.3 * x[0, 0], 0.6)
    return vae, x, log_p, torch.distributions.kl_divergence(q, posterior)


def test_the_bound_loses_the_divergence_of_the_guide_and_is_unbiased(linear):
    vae, x, log_p, gap = linear
    draws = vae.log_prob_bound(x.expand(40_000, 1))  # one draw of z for each copy of the row
    error = draws.std() / math.sqrt(len(draws))
    assert abs(draws.mean() - (log_p - gap)) < 3 * error
    assert draws.std() > 0.2  # and noisy


def test_more_draws_and_a_closed_divergence_make_the_bound_less_noisy(linear):
    vae, x, _, _ = linear

    def spread(**options):
        objective = ELBO(vae, **options)
        with torch.no_grad():
            return torch.stack([objective(x) for _ in range(2000)]).var().item()

    one, four = spread(kl="sampled"), spread(kl="sampled", num_particles=4)
    assert 0.2 < four / one < 0.32  # 1 / 4, with two standard errors of a variance ratio
    # in closed form: var of -(x - z)^2 / 2 alone, with z ~ N(0.21, 0.36)
    shift, s2 = 0.7 - 0.21, 0.36
    assert spread(kl="analytic") == pytest.approx(shift**2 * s2 + s2**2 / 2, rel=0.12)


def test_a_game_needs_no_correspondence_between_rows_and_draws():
    generator, critic = ImplicitGenerator(nn.Linear(2, 3), 2), MLPCritic((3,), (8,))
    game = Adversarial(generator, critic, loss="non-saturating")
    x = torch.randn(64, 3)
    found = []
    for rows in (x, x[torch.randperm(64)]):
        torch.manual_seed(0)
        found.append(torch.tensor(game.evaluate_loss(rows)[:3]))
    assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_at_equilibrium_the_best_discriminator_knows_nothing():
    # equal distributions: d = 1/2 is the optimum, J = -2 log 2, and the generator's gradient is zero in mean
    class Data(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, num=1):
            return self.shift + torch.randn(num, 1)

    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(1))
            self.slope = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.logit + self.slope * x.squeeze(-1)

    game = Adversarial(Data(), Even(), loss="minimax", critic_steps=10**9)
    for _ in range(400):
        game.step(torch.randn(512, 1))
    value = game.evaluate_loss(torch.randn(20_000, 1)).value
    assert value == pytest.approx(-2 * math.log(2), abs=5e-3)
    assert game.critic(torch.linspace(-2, 2, 9)[:, None]).sigmoid().sub(0.5).abs().max() < 0.06


def test_the_best_critic_has_slope_one_along_the_transport_rays():
    # N(0, I) moved by m: the rays are parallel to m, and f(x) = x . m / |m| reaches W1 = |m|
    m = torch.tensor([1.2, -1.6])
    x = torch.randn(2000, 2)
    rays = (x + torch.rand(2000, 1) * m).requires_grad_()
    linear = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(m / m.norm())
    (slope,) = torch.autograd.grad(linear(rays).sum(), rays)
    assert_close(slope.norm(dim=1), torch.ones(2000))
    gap = (linear(x + m).mean() - linear(x).mean()).item()
    assert gap == pytest.approx(2.0, rel=1e-5)


def test_a_perfect_critic_of_batches_moves_a_perfect_generator_away():
    # X and g(Z) = s Z are N(0, I) and N(0, s^2 I). The best critic of two batches, found exactly, wants
    # s < 1; the energy distance, which has no such bias, leaves the truth s = 1 where it is.
    dim, batch = 16, 32
    transport, unbiased = [], []
    for _ in range(100):
        x, z = torch.randn(2, batch, dim, dtype=torch.double)
        s = torch.ones((), dtype=torch.double, requires_grad=True)
        cost = torch.cdist(x, s * z)
        i, j = linear_sum_assignment(cost.detach())
        transport.append(torch.autograd.grad(cost[i, j].mean(), s)[0])
        s = torch.ones((), dtype=torch.double, requires_grad=True)
        within = torch.pdist(s * z).mean()
        unbiased.append(torch.autograd.grad(2 * torch.cdist(x, s * z).mean() - within, s)[0])

    def score(gradients):
        found = torch.stack(gradients)
        return found.mean() / (found.std() / len(found) ** 0.5)

    assert score(transport) > 10  # descent makes s smaller
    assert abs(score(unbiased)) < 3
