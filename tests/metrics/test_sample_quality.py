"""Classifier tests, manifolds, modes, memorisation and distances of features."""

import math

import pytest
import torch

from pyro_dgm.data import eight_gaussians
from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.metrics import (
    CLASSIFIERS,
    classifier_test,
    expected_coverage,
    floor_of,
    frechet_distance,
    manifolds,
    metric,
    metric_names,
    modes_hit,
    nearest_train_ratio,
)


def gaussians(n, dim=2, mu=0.0):
    x = torch.randn(n, dim, dtype=torch.double)
    x[:, 0] += mu
    return x


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_classifier_reaches_the_accuracy_of_bayes(classifier):
    # the best of all classifiers of N(0, I) and N(2 e_1, I) is right with probability Phi(1)
    best = 0.5 * math.erfc(-1 / math.sqrt(2))
    found = classifier_test(gaussians(1000), gaussians(1000, mu=2.0), classifier=classifier)
    assert best - 0.05 - 3 * found.standard_error < found.value < best + 3 * found.standard_error
    assert found.p_value == 0.001


def test_p_values_of_a_classifier_are_uniform_or_larger_for_equal_distributions():
    values = torch.tensor(
        [
            classifier_test(gaussians(60), gaussians(60), num_permutations=99, seed=i).p_value
            for i in range(100)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        assert (values <= level).double().mean() < level + 3 * math.sqrt(level * (1 - level) / 100)
    assert 0.35 < values.mean() < 0.75


def test_manifolds_are_their_definitions():
    fake, real, k = gaussians(20, mu=0.5), gaussians(30), 3
    within_real = torch.cdist(real, real).sort(1).values[:, k]
    within_fake = torch.cdist(fake, fake).sort(1).values[:, k]
    inside = torch.cdist(fake, real) <= within_real
    found = manifolds(fake, real, k=k, block=8)
    assert found.precision.value == pytest.approx(inside.any(1).double().mean().item())
    assert found.density.value == pytest.approx(inside.double().sum(1).mean().item() / k)
    assert found.coverage.value == pytest.approx(inside.any(0).double().mean().item())
    recalled = (torch.cdist(real, fake) <= within_fake).any(1).double().mean().item()
    assert found.recall.value == pytest.approx(recalled)


def test_equal_distributions_have_density_one_and_the_expected_coverage():
    runs = [manifolds(gaussians(60), gaussians(40), k=3) for _ in range(60)]
    for name, truth in (("density", 1.0), ("coverage", expected_coverage(60, 40, 3))):
        values = torch.tensor([getattr(run, name).value for run in runs])
        assert (values.mean() - truth).abs() < 3 * values.std() / math.sqrt(60)


def test_frechet_distance_of_normals_has_its_closed_form():
    a = gaussians(4000, 3)
    b = gaussians(4000, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([1.0, 0.0, 0.0])
    found = frechet_distance(a, b)
    assert abs(found.value - (1 + 0 + 1 + 4)) < 3 * found.standard_error < 0.5


@pytest.mark.slow  # importing torchmetrics takes seconds
def test_frechet_distance_is_that_of_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    mix = torch.randn(4, 4, dtype=torch.double)
    a, b = gaussians(50, 4), gaussians(60, 4, 1.0) @ mix
    expected = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet_distance(a, b).value == pytest.approx(expected.item(), rel=1e-6)


def test_frechet_standard_error_is_the_spread_over_repetitions():
    mix = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.double)
    runs = [frechet_distance(gaussians(200), gaussians(150, mu=1.0) @ mix) for _ in range(300)]
    spread = torch.tensor([run.value for run in runs]).std().item()
    stated = math.sqrt(sum(run.standard_error**2 for run in runs) / len(runs))
    assert 0.85 * spread < stated < 1.15 * spread


def test_frechet_distance_refuses_singular_covariances_and_takes_dead_features():
    with pytest.raises(DataError, match="more than 5 rows"):
        frechet_distance(gaussians(5, 5), gaussians(9, 5))
    a, b = gaussians(30), gaussians(30, mu=1.0)
    dead = torch.zeros(30, 1, dtype=torch.double)
    with_dead = frechet_distance(torch.cat([a, dead], 1), torch.cat([b, dead], 1))
    assert with_dead.value == pytest.approx(frechet_distance(a, b).value, rel=1e-8)
    assert math.isfinite(with_dead.standard_error)


def ring(n):
    """Eight Gaussians, which of them each row is from, and the centres."""
    target = eight_gaussians()
    x = target.sample(n)
    angle = torch.arange(8) * (math.pi / 4)
    centres = x.norm(dim=1).mean() * torch.stack([angle.cos(), angle.sin()], 1)
    return x, torch.cdist(x, centres).argmin(1), centres


def test_one_lost_mode_of_eight_is_seen():
    x, which, centres = ring(4000)
    seven = x[which != 0]
    found = modes_hit(seven, centres, radius=1.0)
    assert (found.hit, found.num_modes) == (7, 8)
    assert found.divergence == pytest.approx(math.log(8 / 7), abs=0.01)
    assert modes_hit(x, centres, radius=1.0).hit == 8


@pytest.mark.parametrize("name", ["energy", "mmd", "sliced-w1", "frechet"])
def test_each_distance_sees_a_lost_mode_above_its_floor(name):
    x, which, _ = ring(1600)
    seven = x[:900][which[:900] != 0][:500]
    floor = floor_of(metric(name), x, 500, num_splits=6)
    assert metric(name)(seven, x[900:1400]).value > floor.value + 3 * floor.standard_error


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num"), [("max-sliced-w1", 3000), ("sinkhorn", 500)])
def test_slower_distances_see_a_lost_mode_above_their_floor(name, num):
    x, which, _ = ring(4 * num)
    seven = x[: 2 * num][which[: 2 * num] != 0][:num]
    floor = floor_of(metric(name), x, num, num_splits=6)
    assert metric(name)(seven, x[-num:]).value > floor.value + 3 * floor.standard_error


@pytest.mark.parametrize("name", ["recall", "coverage"])
def test_a_lost_mode_is_not_covered(name):
    x, which, _ = ring(1600)
    seven = x[:900][which[:900] != 0][:500]
    floor = floor_of(metric(name), x, 500, num_splits=6)
    assert metric(name)(seven, x[900:1400]).value < floor.value - 3 * floor.standard_error


def test_copies_of_training_rows_are_told_from_new_rows():
    train, held_out = gaussians(300), gaussians(200)
    fresh = nearest_train_ratio(gaussians(200), train, held_out)
    assert fresh.low < 1 < fresh.high
    copied = nearest_train_ratio(train[:200] + 1e-3, train, held_out)
    assert copied.high < 0.1
    with pytest.raises(DataError, match="rows of the training set"):
        nearest_train_ratio(gaussians(10), train, train)


def test_every_metric_of_the_registry_is_near_its_floor_for_equal_distributions():
    real, fresh = gaussians(160), gaussians(80)
    for name in set(metric_names()) - {"sinkhorn", "batch-w1"}:
        found, floor = metric(name)(fresh, real[:80]), floor_of(metric(name), real, 80, num_splits=4)
        assert abs(found.value - floor.value) < 8 * floor.standard_error + 0.02, name
    with pytest.raises(UnknownNameError, match="did you mean 'energy'"):
        metric("enrgy")
