"""Wasserstein distances: closed forms, POT's figures, their bias, and their standard errors."""

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pyro_dgm.errors import DataError
from pyro_dgm.metrics import (
    batch_wasserstein,
    energy_distance,
    floor_of,
    max_sliced_wasserstein,
    sinkhorn_divergence,
    sliced_wasserstein,
)
from pyro_dgm.metrics.pot import import_pot


def gaussians(n, dim=2, mu=0.0):
    x = torch.randn(n, dim, dtype=torch.double)
    x[:, 0] += mu
    return x


def test_along_one_line_it_is_scipys():
    from scipy.stats import wasserstein_distance

    a, b = gaussians(30, 1), gaussians(17, 1, 0.5)
    expected = wasserstein_distance(a[:, 0], b[:, 0])
    assert sliced_wasserstein(a, b, num_directions=3).value == pytest.approx(expected, rel=1e-12)


def test_a_shift_is_seen_by_the_mean_length_of_its_shadow():
    # E |theta_1| in three dimensions is 1/2, and a shift moves every projection alike
    a = gaussians(40, 3)
    shifted = a + torch.tensor([4.0, 0.0, 0.0])
    found = sliced_wasserstein(a, shifted, num_directions=4000)
    assert abs(found.value - 2.0) < 3 * 4 / math.sqrt(12 * 4000)


@pytest.mark.slow  # importing POT takes seconds
def test_sliced_distance_is_pots_for_its_directions():
    ot = import_pot()
    a, b = gaussians(20), gaussians(25, mu=1.0)
    generator = torch.Generator().manual_seed(3)
    lines = torch.nn.functional.normalize(torch.randn(7, 2, generator=generator, dtype=torch.double), dim=1)
    expected = ot.sliced_wasserstein_distance(a.numpy(), b.numpy(), projections=lines.T.numpy(), p=1)
    found = sliced_wasserstein(a, b, num_directions=7, seed=3, block=3)
    assert found.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_standard_errors_are_the_spread_over_repetitions():
    kinds = {
        "sliced": lambda a, b, seed: sliced_wasserstein(a, b, num_directions=16, seed=seed),
        "batch": lambda a, b, seed: batch_wasserstein(a, b, batch=40, seed=seed),
        "sinkhorn": lambda a, b, seed: sinkhorn_divergence(a, b, blur=0.5),
    }
    samples = [(gaussians(80), gaussians(80, mu=2.0)) for _ in range(60)]
    for name, of in kinds.items():
        runs = [of(a, b, seed) for seed, (a, b) in enumerate(samples)]
        spread = torch.tensor([run.value for run in runs]).std().item()
        stated = math.sqrt(sum(run.standard_error**2 for run in runs) / len(runs))
        assert 0.7 * spread < stated < 1.4 * spread, name  # the spread is known to 9%


def test_the_worst_line_is_that_of_the_difference():
    a, b = gaussians(400, 10), gaussians(400, 10)
    b[:, 3] *= 3
    # W1 of N(0, 1) and N(0, 9) is 2 E|z|
    found = max_sliced_wasserstein(a, b)
    assert abs(found.value - 2 * math.sqrt(2 / math.pi)) < 4 * found.standard_error
    assert found.value > 2 * sliced_wasserstein(a, b).value


def test_the_worst_line_is_measured_on_other_rows():
    # along the worst line of the very rows it would be above 1 in 60 dimensions
    assert max_sliced_wasserstein(gaussians(60, 60), gaussians(60, 60)).value < 0.6


@pytest.mark.slow
def test_transport_of_batches_is_pots():
    ot = import_pot()
    a, b = gaussians(12, 3), gaussians(12, 3, 1.0)
    expected = ot.emd2([], [], ot.dist(a.numpy(), b.numpy(), "euclidean"))
    assert batch_wasserstein(a, b).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_batches_of_one_distribution_are_far_apart_and_centres_are_nearer():
    real = gaussians(600, 20)
    floor = floor_of(lambda a, b: batch_wasserstein(a, b, batch=100), real, num_splits=3)
    collapsed = torch.zeros(300, 20)
    assert 0 < batch_wasserstein(collapsed, real[:300], batch=100).value < floor.low
    assert energy_distance(collapsed + 1e-6 * gaussians(300, 20), real[:300]).low > 0.1


@pytest.mark.slow
def test_sinkhorn_divergence_is_made_of_pots_plans():
    ot = import_pot()
    a, b, blur = gaussians(15), gaussians(20, mu=1.0), 0.3

    def entropic(x, y):
        cost = torch.cdist(x, y)
        p, q = (torch.full((len(z),), 1 / len(z), dtype=torch.double) for z in (x, y))
        plan = ot.bregman.sinkhorn_log(p, q, cost, blur, numItermax=20_000, stopThr=1e-13)
        return (plan * cost).sum() + blur * torch.xlogy(plan, plan / (p[:, None] * q)).sum()

    expected = entropic(a, b) - (entropic(a, a) + entropic(b, b)) / 2
    found = sinkhorn_divergence(a, b, blur=blur, tolerance=1e-9, max_iterations=20_000, block=7)
    assert found.value == pytest.approx(expected.item(), rel=1e-6)


def test_sinkhorn_divergence_passes_from_transport_to_the_energy_distance():
    a, b = gaussians(12), gaussians(12, mu=2.0)
    far = sinkhorn_divergence(a, b, blur=1e4).value
    biased = torch.cdist(a, b).mean() - (torch.cdist(a, a).mean() + torch.cdist(b, b).mean()) / 2
    assert far == pytest.approx(biased.item(), rel=1e-3)
    near = sinkhorn_divergence(a, b, blur=0.003, tolerance=1e-3, max_iterations=20_000).value
    i, j = linear_sum_assignment(torch.cdist(a, b))
    assert near == pytest.approx(torch.cdist(a, b)[i, j].mean().item(), rel=1e-2)


def test_what_does_not_converge_is_said():
    with pytest.raises(DataError, match="larger blur"):
        sinkhorn_divergence(gaussians(20), gaussians(20), blur=1e-4, max_iterations=5)


@pytest.mark.parametrize(
    "of", [sliced_wasserstein, max_sliced_wasserstein, batch_wasserstein, sinkhorn_divergence]
)
def test_entries_that_are_not_finite_are_refused_first(of):
    with pytest.raises(DataError, match="not finite"):
        of(gaussians(5), torch.tensor([[math.nan, 0.0]] * 5))
