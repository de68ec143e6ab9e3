"""Intrinsic dimension from nearest neighbours: known dimensions, ties, and the scale of noise."""

import math

import pytest
import torch

from pyro_dgm.diagnostics import levina_bickel, two_nn
from pyro_dgm.errors import DataError

ESTIMATORS = {
    "two-nn": two_nn,
    "k=3": lambda x: levina_bickel(x, k=3),
    "k=10": lambda x: levina_bickel(x, k=10),
}


@pytest.fixture(params=ESTIMATORS.values(), ids=ESTIMATORS.keys())
def estimate(request):
    return request.param


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_a_flat_torus_in_more_dimensions_has_its_own(estimate, dim):
    angle = 2 * math.pi * torch.rand(1500, dim, dtype=torch.double)
    torus = torch.cat([angle.cos(), angle.sin()], 1)  # without boundary
    found = estimate(torus)
    # k = 10 of 1500 points in four dimensions already feels the curvature
    assert abs(found.value - dim) < 4 * found.standard_error + 0.05 * dim


def test_standard_error_is_the_spread_over_repetitions():
    runs = [two_nn(torch.rand(100, 2, dtype=torch.double)) for _ in range(200)]
    spread = torch.tensor([run.value for run in runs]).std().item()
    assert runs[0].standard_error == pytest.approx(spread, rel=0.25)


def test_noise_counts_where_it_is_wider_than_the_distance_of_neighbours():
    t = torch.rand(1000, dtype=torch.double)
    noise = torch.randn(1000, 2, dtype=torch.double)
    line = torch.stack([t, t], 1)
    assert two_nn(line + 1e-1 * noise).value > 1.8
    assert two_nn(line + 1e-6 * noise).value < 1.1


def test_evenly_spaced_points_are_refused(estimate):
    angle = torch.arange(400, dtype=torch.double) * (2 * math.pi / 400)
    with pytest.raises(DataError, match="evenly spaced"):
        estimate(torch.stack([angle.cos(), angle.sin()], 1))


def test_duplicates_are_left_out_and_counted():
    x = torch.rand(300, 2, dtype=torch.double)
    found = two_nn(torch.cat([x, x[:40]]))
    assert found.num_duplicates == 40
    assert found.value == pytest.approx(two_nn(x).value, rel=1e-9)
