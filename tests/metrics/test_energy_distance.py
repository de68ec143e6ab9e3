"""The energy distance: its closed form, its expectation, its interval, and its floor."""

import itertools
import math

import numpy as np
import pytest
import torch

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.metrics import Estimate, energy_distance, real_floor


def between_gaussians(mu):
    """The squared energy distance of N(0, 1) and N(mu, 1): means of folded normals."""
    folded = 2 * math.exp(-(mu**2) / 4) / math.sqrt(math.pi) + mu * math.erf(mu / 2)
    return 2 * folded - 4 / math.sqrt(math.pi)


def gaussians(n, mu=0.0, dim=1):
    x = torch.randn(n, dim, dtype=torch.double)
    x[:, 0] += mu
    return x


def by_pairs(a, b):
    def mean(pairs):
        distances = [torch.linalg.vector_norm(x - y).item() for x, y in pairs]
        return sum(distances) / len(distances)

    within = mean(itertools.permutations(a, 2)) + mean(itertools.permutations(b, 2))
    return 2 * mean(itertools.product(a, b)) - within


@pytest.mark.parametrize("event_shape", [(1,), (3,), (2, 5, 4)])
def test_value_is_the_mean_over_pairs_of_different_rows(event_shape):
    a = torch.randn(7, *event_shape, dtype=torch.double)
    b = 1 + torch.randn(5, *event_shape, dtype=torch.double)
    assert energy_distance(a, b).value == pytest.approx(by_pairs(a, b), rel=1e-12)


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_shifted_gaussians_have_their_closed_form(mu):
    estimate = energy_distance(gaussians(2000), gaussians(2000, mu))
    assert abs(estimate.value - between_gaussians(mu)) < 3 * estimate.standard_error
    assert estimate.low < between_gaussians(mu) < estimate.high


def test_it_is_unbiased_for_equal_distributions():
    values = torch.tensor(
        [energy_distance(gaussians(5), gaussians(4), num_bootstrap=2).value for _ in range(1000)]
    )
    assert values.mean().abs() < 3 * values.std() / math.sqrt(1000)


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_standard_error_is_the_spread_over_repetitions(mu):
    runs = [energy_distance(gaussians(60), gaussians(40, mu), num_bootstrap=2) for _ in range(500)]
    spread = torch.tensor([run.value for run in runs]).std().item()
    stated = math.sqrt(sum(run.standard_error**2 for run in runs) / len(runs))
    # up to a fifth too large for equal distributions; the spread is known to 5%
    assert 0.9 * spread < stated < (1.3 if mu == 0 else 1.1) * spread


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "mu", "at_most"), [(100, 0.0, 1.0), (100, 0.3, 0.98), (100, 1.0, 0.98), (30, 0.5, 0.98)]
)
def test_interval_covers_the_truth(n, mu, at_most):
    runs = [energy_distance(gaussians(n), gaussians(n, mu), num_bootstrap=400, seed=i) for i in range(400)]
    coverage = sum(run.low <= between_gaussians(mu) <= run.high for run in runs) / len(runs)
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400) < coverage <= at_most


def test_rows_drawn_twice_do_not_shift_the_interval():
    # In high dimension all distances are nearly equal, and zeros among them would stand out.
    estimate = energy_distance(gaussians(10, dim=500), gaussians(10, 1.0, dim=500))
    assert estimate.low < estimate.value < estimate.high
    assert estimate.high - estimate.value < 6 * estimate.standard_error


def test_no_number_depends_on_the_blocks():
    a, b = gaussians(50, dim=20), gaussians(41, 1.0, dim=20)
    whole, pieces = energy_distance(a, b, block=1000), energy_distance(a, b, block=7)
    for field in ("value", "standard_error", "low", "high"):
        assert getattr(pieces, field) == pytest.approx(getattr(whole, field), rel=1e-10)
    assert real_floor(a, block=7).high == pytest.approx(real_floor(a, block=1000).high, rel=1e-10)


def test_near_rows_far_from_the_centre_keep_their_digits():
    clusters = 1e6 * torch.randn(4, 30, dtype=torch.double).repeat_interleave(10, 0)
    a, b = (clusters[:20] + 1e-3 * torch.randn(20, 30, dtype=torch.double) for _ in range(2))
    assert energy_distance(a, b).value == pytest.approx(by_pairs(a, b), abs=1e-8)
    assert energy_distance(a[:10], b[:10]).value == pytest.approx(by_pairs(a[:10], b[:10]), rel=1e-6)


def test_many_copies_of_one_row_are_at_distance_zero():
    row, b = torch.randn(1, 30), torch.randn(50, 30, dtype=torch.double)
    a = row.double().repeat(100, 1)
    within_b = torch.pdist(b).mean()
    expected = 2 * torch.linalg.vector_norm(row.double() - b, dim=1).mean() - within_b
    assert energy_distance(a, b).value == pytest.approx(expected.item(), rel=1e-12)


def test_single_precision_and_numpy_give_the_same_as_double():
    a, b = gaussians(30, dim=3).float(), gaussians(30, 1.0, dim=3).float()
    assert energy_distance(a, b) == energy_distance(a.double().numpy(), b.double())


def test_seed_repeats_the_interval_and_leaves_the_global_state():
    a, b, before = gaussians(20), gaussians(20), torch.get_rng_state()
    first, second = energy_distance(a, b), energy_distance(a, b, seed=1)
    assert first == energy_distance(a, b)
    assert first.low != second.low
    assert real_floor(a) == real_floor(a)
    assert torch.get_rng_state().equal(before)


def test_floor_scores_every_split_as_the_energy_distance_does():
    real = gaussians(4, dim=2)
    splits = [by_pairs(real[[0, i]], real[[j for j in (1, 2, 3) if j != i]]) for i in (1, 2, 3)]
    floor = real_floor(real, level=0.9999)
    assert floor.low == pytest.approx(min(splits))
    assert floor.high == pytest.approx(max(splits))


def test_floor_is_the_spread_of_fresh_samples():
    fresh = torch.tensor(
        [energy_distance(gaussians(50), gaussians(50), num_bootstrap=2).value for _ in range(400)]
    )
    floor = real_floor(gaussians(2000), 50, num_splits=400)
    assert (floor.num_a, floor.num_b) == (50, 50)
    # one pool of 100 rows stands for all samples
    assert floor.standard_error == pytest.approx(fresh.std().item(), rel=0.3)
    assert abs(floor.value) < 3 * floor.standard_error / math.sqrt(400)
    assert fresh.quantile(0.5) < floor.high < fresh.max()


def test_floor_does_not_depend_on_the_order_of_the_rows():
    real = gaussians(200).sort(0).values
    floor, smaller = real_floor(real), real_floor(real, 25)
    assert smaller.standard_error > 2 * floor.standard_error
    assert energy_distance(real[:100], real[100:]).value > 10 * floor.high
    assert abs(floor.value) < floor.standard_error


def test_estimate_prints_its_interval_sizes_and_floor():
    floor = Estimate(0.0, 0.01, -0.02, 0.03, 9, 8)
    estimate = Estimate(0.5, 0.1, 0.25, 0.75, 10, 8, floor=floor)
    assert f"{estimate:.2f}" == (
        "0.50 [0.25, 0.75] (10 against 8 rows, 95% interval), "
        "floor 0.00 [-0.02, 0.03] (9 against 8 rows, 95% interval)"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_that_are_not_finite_are_refused(bad):
    a = torch.zeros(5, 2)
    a[3, 1] = bad
    with pytest.raises(DataError, match=r"b has 1 entries that are not finite.* row 3, column 1"):
        energy_distance(torch.zeros(5, 2), a)
    with pytest.raises(DataError, match="real has 1 entries"):
        real_floor(a)


def test_samples_that_cannot_be_compared_are_refused():
    with pytest.raises(ShapeError, match=r"a has \(2,\) and b has \(3,\)"):
        energy_distance(torch.zeros(5, 2), torch.zeros(5, 3))
    with pytest.raises(DataError, match="at least 2 rows in each sample, got 5 and 1"):
        energy_distance(torch.zeros(5, 2), torch.zeros(1, 2))
    with pytest.raises(DataError, match="num=4 and there are 7 rows"):
        real_floor(torch.zeros(7, 2), 4)


@pytest.mark.parametrize("options", [{"num_bootstrap": 0}, {"level": 1.0}, {"block": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(DataError, match="expected at least 2 resamples"):
        energy_distance(torch.zeros(5, 2), torch.zeros(5, 2), **options)
