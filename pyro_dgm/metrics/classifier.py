"""Two-sample tests by classifiers: how well samples can be told from data."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.samples import two_samples

__all__ = ["CLASSIFIERS", "ClassifierTest", "classifier_test"]

CLASSIFIERS = ("knn", "logistic", "network")


@dataclass(frozen=True)
class ClassifierTest(Estimate):
    """The accuracy of a classifier on rows that it was not trained on.

    Attributes:
        p_value: Probability, if both samples came from one distribution, of an accuracy at least as high.
        classifier: Its kind.
    """

    p_value: float = math.nan
    classifier: str = ""

    def __format__(self, code: str) -> str:
        return f"{super().__format__(code)}, p = {self.p_value:.3g} ({self.classifier})"


def classifier_test(
    a: object,
    b: object,
    *,
    classifier: str = "knn",
    num_permutations: int = 1000,
    seed: int = 0,
    floor: Estimate | None = None,
) -> ClassifierTest:
    """Train a classifier to tell two samples apart, and test it on rows that it has not seen.

    Half of either sample trains, after both were cut to the size of the smaller one; the other half tests.
    An accuracy of 0.5 is what guessing reaches: it is what a perfect model scores. The p-value permutes the
    labels of the test rows, with the classifier as it is, and is exact. A classifier that finds nothing
    proves nothing: another one may.

    Args:
        a: Independent rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Independent rows of the same event shape.
        classifier: ``knn`` (the 5 nearest training rows vote), ``logistic`` (regression: it sees means), or
            ``network`` (two hidden layers of 64). Features are standardised by the training rows.
        num_permutations: Number of permutations behind the p-value; the smallest p-value is one over it.
        seed: Seed of cut, halves, weights and permutations; the global random state is not touched.
        floor: What two samples of one distribution score.

    Returns:
        The accuracy with its binomial standard error and normal interval, the sizes of the test halves, and
        the p-value.

    Raises:
        DataError: If an entry is not finite, or a sample has fewer than 20 rows.
        ShapeError: If the rows of the two samples have different shapes.
        UnknownNameError: If there is no such classifier.

    Reference:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
        https://arxiv.org/abs/1610.06545

    Example:
        >>> random = np.random.default_rng(0)
        >>> found = classifier_test(random.normal(size=(200, 2)), random.normal(size=(200, 2)) + 2)
        >>> found.value > 0.8, found.p_value
        (True, 0.001)
    """
    if classifier not in CLASSIFIERS:
        raise UnknownNameError.of("classifier", classifier, CLASSIFIERS)
    if num_permutations < 2:
        raise DataError(f"num_permutations must be at least 2, got {num_permutations}.")
    rows_a, rows_b = two_samples(a, b, name="a classifier test", least=20)
    size = min(len(rows_a), len(rows_b))
    random = np.random.default_rng(seed)
    x_a, x_b = (rows.cpu().numpy()[random.permutation(len(rows))[:size]] for rows in (rows_a, rows_b))
    half = size // 2
    train, test = (np.concatenate([x_a[part], x_b[part]]) for part in (slice(half), slice(half, None)))
    labels = np.repeat([0, 1], size - half)
    predicted = _fit(classifier, train, np.repeat([0, 1], half), seed).predict(test)

    hits = predicted == labels
    accuracy, error = float(hits.mean()), math.sqrt(max(hits.var(), 0.25 / len(hits)) / len(hits))
    permuted = [(predicted == random.permutation(labels)).mean() for _ in range(num_permutations - 1)]
    p_value = (1 + sum(bool(score >= accuracy) for score in permuted)) / num_permutations
    return ClassifierTest(
        accuracy,
        error,
        max(0.0, accuracy - 1.96 * error),
        min(1.0, accuracy + 1.96 * error),
        size - half,
        size - half,
        0.95,
        floor,
        p_value,
        classifier,
    )


def _fit(kind: str, x: npt.NDArray[Any], labels: npt.NDArray[Any], seed: int) -> Any:
    """Train on standardised features."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = {
        "knn": lambda: KNeighborsClassifier(5),
        "logistic": lambda: LogisticRegression(max_iter=500),
        "network": lambda: MLPClassifier((64, 64), max_iter=100, alpha=1e-3, random_state=seed),
    }[kind]()
    with warnings.catch_warnings():
        # a classifier that could still improve is a valid test, only a weaker one
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), model).fit(x, labels)
