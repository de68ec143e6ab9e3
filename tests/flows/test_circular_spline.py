"""Flows over angles: on the circle, the torus and the cylinder."""

import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.flows import CircularSpline
from pyro_dgm.transforms import Affine, CircularRationalQuadratic, PerRow, RationalQuadratic
from tests.contract.cases import perturbed

TURN = 2 * math.pi


def used(*args, **sizes):
    return perturbed(CircularSpline(*args, num_layers=3, hidden_dims=(8,), num_bins=4, **sizes).double(), 0.4)


def angles(n):
    return torch.linspace(-math.pi, math.pi, n + 1, dtype=torch.double)[:-1]


@pytest.mark.parametrize("dim", [1, 2])
@torch.no_grad()
def test_mass_on_the_torus_is_one(dim):
    y = torch.cartesian_prod(*[angles(400)] * dim).reshape(-1, dim)
    assert abs(used(dim)().log_prob(y).exp().mean().item() * TURN**dim - 1) < 1e-3


@torch.no_grad()
def test_mass_on_the_cylinder_is_one():
    y = torch.cartesian_prod(torch.linspace(-30, 30, 1201, dtype=torch.double), angles(300))
    assert abs(used(2, circular=[1])().log_prob(y).exp().mean().item() * 60 * 1201 / 1200 * TURN - 1) < 2e-3


@pytest.mark.parametrize("circular", [[0, 1, 2], [0, 2]])
def test_density_and_transform_are_continuous_across_the_seam(circular):
    flow, y = used(3, circular=circular), torch.randn(20, 3, dtype=torch.double).clamp(-3, 3)
    for place in circular:
        left, right = y.clone(), y.clone()
        left[:, place], right[:, place] = -math.pi + 1e-9, math.pi - 1e-9
        assert_close(flow().log_prob(left), flow().log_prob(right), atol=1e-6, rtol=0)
        x, other = flow.transform().inv(left), flow.transform().inv(right)
        assert_close(torch.cos(x - other), torch.ones_like(x))


def test_spline_has_one_slope_at_both_ends_of_the_circle_and_turns_once():
    family, parameters = CircularRationalQuadratic(5), torch.randn(16, 1, dtype=torch.double)
    x = angles(4000)
    y = family.call(x, parameters.expand(-1, 4000))[0]
    steps = torch.remainder(y.roll(-1) - y, TURN)
    assert (steps > 0).all()
    assert_close(steps.sum().item(), TURN)
    ends = torch.tensor([-math.pi, math.pi], dtype=torch.double)
    at_ends, slopes = family.call(ends, parameters.expand(-1, 2))
    assert_close(slopes[0], slopes[1])
    assert_close(torch.cos(at_ends[0] - at_ends[1]).item(), 1.0)
    assert slopes[0].abs() > 1e-3  # not that of a spline with linear tails


def test_fresh_flow_is_uniform_in_its_angles():
    y = angles(50).float()[:, None]
    assert_close(CircularSpline(1)().log_prob(y), torch.full((50,), -math.log(TURN)))


def test_angles_beyond_half_a_turn_are_refused_or_have_density_zero():
    flow, y = used(2), torch.zeros(5, 2, dtype=torch.double)
    with pytest.raises(DataError, match="outside of the flow's support"):
        flow().log_prob(y + TURN)
    d = flow()
    d._validate_args = False
    assert (d.log_prob(y + TURN) == -torch.inf).all()
    assert d.log_prob(y).isfinite().all()


def test_places_that_are_none_and_unequal_families_are_refused():
    for circular in ([2], [0, 0], [-1]):
        with pytest.raises(ValueError, match="places of the angles"):
            CircularSpline(2, circular=circular)
    with pytest.raises(ValueError, match="equal numbers"):
        PerRow(Affine(), RationalQuadratic(4), [True])
