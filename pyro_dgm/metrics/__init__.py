"""Figures that compare two samples or estimate a likelihood, each with its floor or interval."""

from pyro_dgm.metrics.annealing import AnnealedEstimate, annealed_log_likelihood
from pyro_dgm.metrics.bits import bits_per_dim
from pyro_dgm.metrics.classifier import CLASSIFIERS, ClassifierTest, classifier_test
from pyro_dgm.metrics.energy import energy_distance, real_floor
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.frechet import frechet_distance, kernel_distance
from pyro_dgm.metrics.importance import log_weights
from pyro_dgm.metrics.kernels import KERNELS
from pyro_dgm.metrics.likelihood import LikelihoodEstimate, importance_log_likelihood
from pyro_dgm.metrics.manifolds import Manifolds, expected_coverage, manifolds
from pyro_dgm.metrics.memorisation import nearest_train_ratio
from pyro_dgm.metrics.mmd import mmd, mmd_floor, permutation_p_value
from pyro_dgm.metrics.modes import ModeCount, modes_hit
from pyro_dgm.metrics.pinned import ClassHistogram, PinnedClassifier, pinned_classifier
from pyro_dgm.metrics.registry import SampleMetric, floor_of, metric, metric_names
from pyro_dgm.metrics.sliced import max_sliced_wasserstein, sliced_wasserstein
from pyro_dgm.metrics.tail_index import tail_index
from pyro_dgm.metrics.transport import batch_wasserstein, sinkhorn_divergence

__all__ = [
    "CLASSIFIERS",
    "KERNELS",
    "AnnealedEstimate",
    "ClassHistogram",
    "ClassifierTest",
    "Estimate",
    "LikelihoodEstimate",
    "Manifolds",
    "ModeCount",
    "PinnedClassifier",
    "SampleMetric",
    "annealed_log_likelihood",
    "batch_wasserstein",
    "bits_per_dim",
    "classifier_test",
    "energy_distance",
    "expected_coverage",
    "floor_of",
    "frechet_distance",
    "importance_log_likelihood",
    "kernel_distance",
    "log_weights",
    "manifolds",
    "max_sliced_wasserstein",
    "metric",
    "metric_names",
    "mmd",
    "mmd_floor",
    "modes_hit",
    "nearest_train_ratio",
    "permutation_p_value",
    "pinned_classifier",
    "real_floor",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "tail_index",
]
