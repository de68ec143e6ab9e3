"""The shipped classifiers: which weights they are, what they see, and what they refuse."""

import math

import pytest
import torch

from pyro_dgm import data, metrics
from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.metrics import pinned


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def test_the_accuracy_is_the_one_that_it_says(digits):
    classifier = metrics.pinned_classifier("digits")
    for kind, images in {"grey": digits.test, "binary": (digits.test >= 0.5).float()}.items():
        right = (classifier.labels(images) == digits.test_labels).double().mean().item()
        assert abs(right - classifier.accuracy[kind]) < 1e-3, kind


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_features_are_fixed_and_of_one_image_alone(name):
    classifier = metrics.pinned_classifier(name)
    x = torch.rand(5, *classifier.network.data_shape)
    alone = torch.cat([classifier.features(row[None]) for row in x])
    torch.testing.assert_close(classifier.features(x), alone, rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in classifier.parameters())


def test_equal_classes_have_no_divergence_and_one_class_has_log_ten(digits):
    classifier = metrics.pinned_classifier("digits")
    seen = classifier.labels(digits.train)
    even = torch.cat([digits.train[seen == c][:50] for c in range(10)])
    found = classifier.class_histogram(even)
    assert (found.hit, round(found.divergence, 9)) == (10, 0.0)
    one = classifier.class_histogram(digits.train[seen == 3])
    assert one.hit == 1
    assert one.divergence == pytest.approx(math.log(10))


def test_a_lost_class_raises_the_frechet_distance_far_above_its_floor(digits):
    classifier = metrics.pinned_classifier("digits")
    rows = torch.cat((digits.train, digits.test))
    features = classifier.features(rows)
    labels = torch.cat((digits.train_labels, digits.test_labels))
    floor = metrics.floor_of(metrics.frechet_distance, features, 400, num_splits=5)
    kept = features[labels != 4]
    lost = metrics.frechet_distance(kept[:400], features[-400:])
    assert lost.value > floor.high + 3 * floor.standard_error


def test_other_weights_are_refused(monkeypatch):
    pin = pinned._PINS["digits"]
    monkeypatch.setitem(pinned._PINS, "digits", pinned._Pin(pin.shape, pin.width, "0" * 64, pin.accuracy))
    metrics.pinned_classifier.cache_clear()
    with pytest.raises(DataError, match="not the one that was shipped"):
        metrics.pinned_classifier("digits")
    metrics.pinned_classifier.cache_clear()


def test_what_is_no_such_image_is_refused():
    with pytest.raises(UnknownNameError, match="mnist"):
        metrics.pinned_classifier("minst")
    classifier = metrics.pinned_classifier("digits")
    with pytest.raises(ShapeError, match=r"\(n, 1, 8, 8\)"):
        classifier.features(torch.zeros(3, 1, 28, 28))
    with pytest.raises(DataError):
        classifier.features(torch.full((3, 1, 8, 8), torch.nan))
    with pytest.raises(DataError, match="at least one"):
        classifier.class_histogram(torch.zeros(0, 1, 8, 8))
