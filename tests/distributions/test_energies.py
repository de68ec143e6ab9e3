"""The four energies: their formulas and normalisers, and flows fitted to them by reverse KL."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.distributions import Energy
from pyro_dgm.errors import UnknownNameError
from pyro_dgm.flows import Planar

NAMES = ["U1", "U2", "U3", "U4"]


def published(name, x, y):
    """Table 1 of the paper, in numbers, within the square that it shows."""
    w1 = math.sin(2 * math.pi * x / 4)
    w2, w3 = 3 * math.exp(-0.5 * ((x - 1) / 0.6) ** 2), 3 / (1 + math.exp(-(x - 1) / 0.3))
    e = lambda t, s: math.exp(-0.5 * (t / s) ** 2)  # noqa: E731
    if name == "U1":
        return 0.5 * ((math.hypot(x, y) - 2) / 0.4) ** 2 - math.log(e(x - 2, 0.6) + e(x + 2, 0.6))
    if name == "U2":
        return 0.5 * ((y - w1) / 0.4) ** 2
    if name == "U3":
        return -math.log(e(y - w1, 0.35) + e(y - w1 + w2, 0.35))
    return -math.log(e(y - w1, 0.4) + e(y - w1 + w3, 0.35))


@pytest.mark.parametrize("name", NAMES)
def test_energy_is_the_published_formula_within_the_square(name):
    z = torch.rand(20, 2, dtype=torch.double) * 7 - 3.5
    expected = torch.tensor([published(name, *row) for row in z.tolist()], dtype=torch.double)
    assert_close(Energy(name).energy(z), expected)


@pytest.mark.parametrize("name", NAMES)
def test_density_integrates_to_one_on_another_grid(name):
    axis = torch.linspace(-7.5, 7.5, 613, dtype=torch.double)
    log_prob = Energy(name).log_prob(torch.cartesian_prod(axis, axis))
    assert log_prob.exp().sum().item() * (15 / 612) ** 2 == pytest.approx(1, abs=1e-6)


def test_wave_has_its_closed_form_normaliser():
    # Across: 0.4 sqrt(2 pi). Along: 8 between the walls, and half a Gaussian of width 0.4 beyond each.
    across = 0.4 * math.sqrt(2 * math.pi)
    assert Energy("U2").log_normaliser == pytest.approx(math.log(across * (8 + across)), abs=1e-6)


def test_gradient_is_finite_at_the_origin_and_names_are_checked():
    z = torch.zeros(2, requires_grad=True)
    Energy("U1").energy(z).backward()
    assert z.grad.isfinite().all()
    with pytest.raises(UnknownNameError, match="did you mean 'U1'"):
        Energy("u1")
    with pytest.raises(NotImplementedError, match="Fit a flow"):
        Energy("U1").sample()


def divergence(flow, energy, particles=4000):
    """The reverse KL divergence and its standard error."""
    with torch.no_grad():
        z, log_q = flow().rsample_and_log_prob((particles,))
        terms = log_q - energy.log_prob(z)
    return terms.mean().item(), terms.std().item() / math.sqrt(particles)


def by_site(energy):
    pyro.sample("z", energy)


def by_factor(energy):
    z = pyro.sample("z", dist.ImproperUniform(constraints.real_vector, (), (2,)))
    pyro.factor("energy", -energy.energy(z))


@pytest.mark.parametrize("model", [by_site, by_factor])
def test_svi_with_a_planar_guide_lowers_the_divergence_which_is_minus_the_elbo(model):
    energy, flow = Energy("U2"), Planar(2, num_layers=8)
    before, _ = divergence(flow, energy)
    elbo = Trace_ELBO(num_particles=128, vectorize_particles=True)
    svi = SVI(
        lambda: model(energy), lambda: pyro.sample("z", flow()), pyro.optim.ClippedAdam({"lr": 2e-2}), elbo
    )
    for _ in range(150):
        svi.step()
    after, error = divergence(flow, energy)
    assert 0 - 3 * error < after < 0.6 * before
    constant = energy.log_normaliser if model is by_factor else 0.0
    losses = [svi.evaluate_loss() + constant for _ in range(30)]
    spread = torch.tensor(losses).std().item() / math.sqrt(30)
    assert sum(losses) / 30 == pytest.approx(after, abs=4 * math.hypot(spread, error))
