"""The MMD: its closed form, its expectation, its relatives, and the test by permutations."""

import itertools
import math

import pytest
import torch
from scipy import stats

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.metrics import KERNELS, energy_distance, kernel_distance, mmd, mmd_floor, permutation_p_value


def gaussians(n, mu=0.0, dim=1):
    x = torch.randn(n, dim, dtype=torch.double)
    x[:, 0] += mu
    return x


def between_gaussians(mu, h, dim):
    """Squared MMD of N(0, I) and N(mu e_1, I) under exp(-|x - y|^2 / 2 h^2)."""
    return 2 * (h**2 / (h**2 + 2)) ** (dim / 2) * -math.expm1(-(mu**2) / (2 * (h**2 + 2)))


def test_shifted_gaussians_have_their_closed_form():
    estimate = mmd(gaussians(1500, dim=3), gaussians(1000, 1.0, dim=3), bandwidth=1.5, num_bootstrap=100)
    truth = between_gaussians(1.0, 1.5, 3)
    assert abs(estimate.value - truth) < 3 * estimate.standard_error < 0.5 * truth
    assert estimate.low < truth < estimate.high


KERNEL_VALUES = {
    "gaussian": lambda x, y: math.exp(-((x - y).norm().item() ** 2) / 8),
    "laplace": lambda x, y: math.exp(-(x - y).norm().item() / 2),
    "rational-quadratic": lambda x, y: 1 / (1 + (x - y).norm().item() ** 2 / 8),
    "gaussian-mixture": lambda x, y: (
        sum(math.exp(-((x - y).norm().item() ** 2) / (8 * s)) for s in (1 / 16, 1, 16)) / 3
    ),
    "polynomial": lambda x, y: (x @ y / 3 + 1).item() ** 3,
    "linear": lambda x, y: (x @ y).item(),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_kernel_is_averaged_over_pairs_of_different_rows(kernel):
    k, a, b = KERNEL_VALUES[kernel], gaussians(6, dim=3), gaussians(5, 1.0, dim=3)

    def mean(pairs):
        values = [k(x, y) for x, y in pairs]
        return sum(values) / len(values)

    expected = mean(itertools.permutations(a, 2)) + mean(itertools.permutations(b, 2))
    expected -= 2 * mean(itertools.product(a, b))
    found = mmd(a, b, kernel=kernel, bandwidth=2.0, num_bootstrap=2, block=4).value
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "polynomial"])
def test_it_is_unbiased_for_equal_distributions_with_the_median_bandwidth(kernel):
    values = [mmd(gaussians(5), gaussians(4), kernel=kernel, num_bootstrap=2).value for _ in range(300)]
    mean, spread = torch.tensor(values).mean(), torch.tensor(values).std()
    assert mean.abs() < 3 * spread / math.sqrt(300)


def test_standard_error_is_the_spread_over_repetitions():
    runs = [mmd(gaussians(40), gaussians(30, 0.7), bandwidth=1.0, num_bootstrap=2) for _ in range(300)]
    spread = torch.tensor([run.value for run in runs]).std().item()
    stated = math.sqrt(sum(run.standard_error**2 for run in runs) / len(runs))
    assert 0.87 * spread < stated < 1.13 * spread  # the spread is known to 4%


def test_a_wide_gaussian_kernel_sees_the_means_only():
    a, b = gaussians(50, dim=2), gaussians(50, 1.0, dim=2)
    wide = mmd(a, b, bandwidth=1e4, num_bootstrap=2).value * 1e8
    assert wide == pytest.approx(mmd(a, b, kernel="linear", num_bootstrap=2).value, rel=1e-5)


@pytest.mark.slow  # importing torchmetrics takes seconds
def test_kernel_distance_is_that_of_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    a, b = gaussians(40, dim=5), gaussians(40, 0.5, dim=5)
    expected = poly_mmd(a, b, degree=3, gamma=None, coef=1.0)
    assert kernel_distance(a, b, num_bootstrap=2).value == pytest.approx(expected.item(), rel=1e-6)


def test_permutation_p_value_is_the_share_of_splits_that_score_as_high():
    a, b = gaussians(3), gaussians(3, 1.0)
    pooled, scores = torch.cat([a, b]), []
    for first in itertools.combinations(range(6), 3):
        rest = [i for i in range(6) if i not in first]
        scores.append(energy_distance(pooled[list(first)], pooled[rest], num_bootstrap=2).value)
    exact = sum(score >= scores[0] - 1e-12 for score in scores) / len(scores)
    found = permutation_p_value(a, b, num_permutations=4000)
    assert abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000


@pytest.mark.parametrize("kernel", ["energy", "gaussian"])
def test_p_values_of_equal_distributions_are_uniform(kernel):
    values = [
        permutation_p_value(gaussians(20), gaussians(15), kernel=kernel, num_permutations=99, seed=i)
        for i in range(200)
    ]
    assert stats.kstest(values, "uniform").pvalue > 0.01


@pytest.mark.soak
@pytest.mark.parametrize("kernel", ["energy", *KERNELS])
def test_p_values_of_a_thousand_nulls_are_uniform(kernel, record_property):
    values = [
        permutation_p_value(gaussians(60, dim=4), gaussians(40, dim=4), kernel=kernel, seed=i)
        for i in range(1000)
    ]
    found = stats.kstest(values, "uniform").pvalue
    record_property("Kolmogorov-Smirnov p", f"{found:.3f}")
    record_property("share below 0.05", f"{sum(value < 0.05 for value in values) / 1000:.3f}")
    assert found > 0.01


def test_floor_holds_what_another_sample_of_the_truth_scores():
    floor = mmd_floor(gaussians(200), 60, bandwidth=1.0)
    others = [mmd(gaussians(60), gaussians(60), bandwidth=1.0, num_bootstrap=2).value for _ in range(100)]
    inside = sum(floor.low <= value <= floor.high for value in others)
    assert floor.low < 0 < floor.high
    assert inside >= 88  # 95 expected, of which the sample behind the floor leaves some more outside


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"b": torch.full((3, 1), math.nan)}, DataError, "not finite"),
        ({"b": torch.zeros(3, 2)}, ShapeError, "one shape"),
        ({"a": torch.zeros(3, 1), "b": torch.zeros(3, 1)}, DataError, "give a bandwidth"),
        ({"bandwidth": -1.0}, DataError, "positive"),
        ({"kernel": "gausian"}, UnknownNameError, "did you mean 'gaussian'"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments, error, words):
    with pytest.raises(error, match=words):
        mmd(**({"a": gaussians(3), "b": gaussians(3)} | arguments))
