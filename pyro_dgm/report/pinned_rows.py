"""Distances and labels of samples of digits, as a classifier with fixed weights sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyro_dgm.data import ImageData, RowData, Target2D
from pyro_dgm.metrics import (
    Estimate,
    PinnedClassifier,
    energy_distance,
    frechet_distance,
    kernel_distance,
    pinned_classifier,
)
from pyro_dgm.report.measurement import Measurement

__all__ = ["class_rows", "classifier_of", "feature_metrics"]

_CLASSIFIED = ("digits", "mnist")


def classifier_of(data: Target2D | ImageData | RowData) -> PinnedClassifier | None:
    """The classifier of a data set of digits, in whatever binarisation; None of all others."""
    name = data.name.split(" ")[0]
    return pinned_classifier(name) if isinstance(data, ImageData) and name in _CLASSIFIED else None


def feature_metrics(classifier: PinnedClassifier, num: int) -> dict[str, Callable[[Any, Any], Estimate]]:
    """Distances of a classifier's features; Fréchet's where there are more rows than features."""

    def of(function: Callable[..., Estimate]) -> Callable[[Any, Any], Estimate]:
        # metrics work in double precision, which the classifier is not made for
        return lambda a, b: function(classifier.features(a), classifier.features(b))

    found = {"energy, features": of(energy_distance), "kernel, features": of(kernel_distance)}
    if num > classifier.feature_dim:
        found["fréchet, features"] = of(frechet_distance)
    return found


def class_rows(
    name: str, data: str, classifier: PinnedClassifier, samples: Tensor, test: Tensor
) -> list[Measurement]:
    """How many classes samples are of, and how unevenly, beside test rows."""
    found, real = classifier.class_histogram(samples), classifier.class_histogram(test)
    how = (
        f"labels of {found.num_samples} samples by a fixed classifier of test accuracy "
        f"{found.accuracy:.1%}; divergence from equal shares, in nats"
    )
    limit = f"test rows: {real.divergence:.4f}"
    return [
        Measurement(name, data, "classes hit", found.hit, "", f"{len(found.shares)}", how),
        Measurement(name, data, "KL of classes", found.divergence, "nats", limit, how),
    ]
