import math

import pyro.distributions as dist
import pytest
import torch

from pyro_dgm.diagnostics.importance_mass import importance_mass
from pyro_dgm.diagnostics.quadrature import integrate_density

DENSITIES = {
    "normal-1d": dist.Normal(torch.zeros(1), 1.0).to_event(1),
    "narrow-1d": dist.Normal(torch.full((1,), 7.0), 1e-4).to_event(1),
    "cauchy-1d": dist.Cauchy(torch.zeros(1), 1.0).to_event(1),
    "normal-2d": dist.MultivariateNormal(torch.ones(2), torch.tensor([[1.0, 0.99], [0.99, 1.0]])),
    "student-2d": dist.StudentT(3.0, torch.zeros(2), 1.0).to_event(1),
}


@pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES.keys())
def test_mass_is_one_and_mean_log_prob_minus_the_entropy(density):
    found = integrate_density(density.log_prob, density.sample((4000,)))
    assert abs(found.mass - 1) < 1e-4
    assert found.error < 1e-4
    if hasattr(density, "base_dist"):
        entropy = density.base_dist.entropy().sum().item()
    else:
        entropy = density.entropy().item()
    assert found.mean_log_prob == pytest.approx(-entropy, abs=2e-3)


def test_two_narrow_modes_far_apart_are_both_found():
    modes = torch.tensor([[-100.0, 0.0], [100.0, 50.0]])
    mixture = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.9, 0.1])), dist.MultivariateNormal(modes, 1e-4 * torch.eye(2))
    )
    found = integrate_density(mixture.log_prob, mixture.sample((4000,)))
    assert found.mass == pytest.approx(1, abs=1e-4)


def test_jump_of_the_density_is_resolved():
    found = integrate_density(
        lambda x: torch.where((x.abs() < 1).all(-1), 0.0, -math.inf), 2 * torch.rand(4000, 2) - 1
    )
    assert found.mass == pytest.approx(4, rel=1e-3)


def test_point_budget_is_kept_and_the_error_says_so():
    found = integrate_density(
        lambda x: torch.where(x.norm(dim=-1) < 1, 0.0, -math.inf),
        2 * torch.rand(4000, 2) - 1,
        max_points=50_000,
    )
    assert found.num_points < 60_000
    assert abs(found.mass - math.pi) < found.error


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_value_is_reported_with_its_place(bad):
    found = integrate_density(
        lambda x: torch.where(x[:, 0] > 1, bad, -x.square().sum(-1)), torch.randn(4000, 2)
    )
    assert found.bad_point[0] > 1


def test_importance_mass_of_a_scaled_density_is_its_scale_within_three_standard_errors():
    density = dist.MultivariateNormal(torch.zeros(4), torch.eye(4) + 0.5)
    found = importance_mass(lambda x: density.log_prob(x) + math.log(7), density.sample((4000,)))
    assert abs(found.mass - 7) < 3 * found.standard_error < 0.1
    assert found.is_reliable
    assert found.mean_log_prob - math.log(7) == pytest.approx(
        -density.entropy().item(), abs=3 * found.mean_log_prob_error
    )


def test_tail_index_gives_warning_where_the_weights_have_no_variance():
    heavy = dist.StudentT(0.5, torch.zeros(3, dtype=torch.double), 1.0).to_event(1)
    found = importance_mass(heavy.log_prob, torch.randn(4000, 3, dtype=torch.double))
    assert found.k_hat > 0.7
    assert not found.is_reliable
