"""Every measure of samples refuses what it cannot measure, before any linear algebra or transport."""

import math

import pytest
import torch

from pyro_dgm import diagnostics, metrics
from pyro_dgm.errors import DataError, PyroDGMError, ShapeError

N, D = 40, 3
TWO = {
    "energy": lambda a, b: metrics.energy_distance(a, b, num_bootstrap=5).value,
    "mmd": lambda a, b: metrics.mmd(a, b, num_bootstrap=5).value,
    "sliced": lambda a, b: metrics.sliced_wasserstein(a, b).value,
    "max sliced": lambda a, b: metrics.max_sliced_wasserstein(a, b, steps=3).value,
    "frechet": lambda a, b: metrics.frechet_distance(a, b).value,
    "kernel": lambda a, b: metrics.kernel_distance(a, b, num_bootstrap=5).value,
    "batch wasserstein": lambda a, b: metrics.batch_wasserstein(a, b, batch=20).value,
    "sinkhorn": lambda a, b: metrics.sinkhorn_divergence(a, b).value,
    "classifier": lambda a, b: metrics.classifier_test(a, b, num_permutations=20).value,
    "permutations": lambda a, b: metrics.permutation_p_value(a, b, num_permutations=20),
    "manifolds": lambda a, b: metrics.manifolds(a, b).coverage.value,
    "modes": lambda a, b: metrics.modes_hit(a, b, radius=1.0).hit,
    "memorisation": lambda a, b: metrics.nearest_train_ratio(a, b, a, num_bootstrap=5).value,
}
ONE = {
    "two nearest": lambda a: diagnostics.two_nn(a).value,
    "levina-bickel": lambda a: diagnostics.levina_bickel(a).value,
}


def sample(n=N, size=D):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(n), dtype=torch.double)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("measure", TWO.values(), ids=TWO)
def test_a_sample_that_is_not_finite_is_refused_on_either_side(measure, bad):
    wrong = sample()
    wrong[7, 1] = bad
    for a, b in ((wrong, sample(50)), (sample(50), wrong)):
        with pytest.raises(DataError, match="row 7, column 1"):
            measure(a, b)


@pytest.mark.parametrize("measure", ONE.values(), ids=ONE)
def test_rows_that_are_not_finite_have_no_dimension(measure):
    wrong = sample()
    wrong[7, 1] = math.nan
    with pytest.raises(DataError, match="row 7"):
        measure(wrong)


@pytest.mark.parametrize("measure", TWO.values(), ids=TWO)
def test_samples_of_another_width_or_of_no_rows_are_refused(measure):
    with pytest.raises(ShapeError):
        measure(sample(), sample(50, D + 1))
    for a, b in ((sample(0), sample()), (sample(), sample(0))):
        with pytest.raises(DataError, match=r"empty|at least|no "):
            measure(a, b)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("measure", TWO.values(), ids=TWO)
def test_very_few_rows_are_measured_or_refused_and_never_nan(measure, n):
    try:
        value = measure(sample(n), sample(n))
    except PyroDGMError as error:
        said = str(error)
    else:
        said = "" if math.isfinite(value) else "not finite"
    assert said != "not finite"


# the others compare halves or batches of the sample, as their documentation says
SELF = ["energy", "mmd", "sliced", "frechet", "sinkhorn"]


@pytest.mark.parametrize("name", SELF)
def test_a_sample_is_at_no_distance_from_itself(name):
    # unbiased estimates of a squared distance may lie below zero, by as much as they vary
    value = TWO[name](sample(), sample())
    assert -0.2 < value < 1e-6


def test_frechet_distance_needs_more_rows_than_features():
    with pytest.raises(DataError, match="rows"):
        metrics.frechet_distance(sample(3, 8), sample(3, 8))


def test_weights_that_are_all_zero_or_no_numbers_are_refused():
    for bad in (torch.full((50,), -math.inf), torch.full((50,), math.nan)):
        with pytest.raises(DataError):
            diagnostics.psis(bad)


def test_one_weight_that_dominates_is_said():
    weights = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    weights[3] = 200.0
    found = diagnostics.psis(weights)
    assert found.k > 0.7
    assert found.effective_sample_size < 1.1
    assert found.verdict == "bad"
    assert found.log_weights.isfinite().all()
