"""Where scikit-learn computes the same quantity, the two agree to rounding."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise
from sklearn.neighbors import NearestNeighbors

from pyro_dgm.metrics import manifolds, mmd, nearest_train_ratio

H = 1.7


def gaussians(n, mu=0.0, dim=3):
    x = torch.randn(n, dim, dtype=torch.double)
    x[:, 0] += mu
    return x


KERNELS = {
    "gaussian": lambda a, b: pairwise.rbf_kernel(a, b, gamma=1 / (2 * H**2)),
    "laplace": lambda a, b: np.exp(-pairwise.euclidean_distances(a, b) / H),
    "rational-quadratic": lambda a, b: (
        1 / (1 + pairwise.euclidean_distances(a, b, squared=True) / (2 * H**2))
    ),
    "polynomial": lambda a, b: pairwise.polynomial_kernel(a, b, degree=3),
    "linear": pairwise.linear_kernel,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_that_of_its_kernel_matrices(kernel):
    a, b = gaussians(40), gaussians(30, 0.7)
    of = KERNELS[kernel]

    def off_diagonal(x):
        k = of(x, x)
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    expected = off_diagonal(a.numpy()) + off_diagonal(b.numpy()) - 2 * of(a.numpy(), b.numpy()).mean()
    found = mmd(a, b, kernel=kernel, bandwidth=H, num_bootstrap=2, block=16).value
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def distances(rows, points, k):
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(rows)[0][:, -1]


def test_the_ratio_of_nearest_training_rows_is_that_of_its_neighbours():
    train, samples, held_out = gaussians(50), gaussians(31, 0.2), gaussians(21)
    expected = np.median(distances(samples, train, 1)) / np.median(distances(held_out, train, 1))
    found = nearest_train_ratio(samples, train, held_out, num_bootstrap=2).value
    assert found == pytest.approx(expected, rel=1e-6)


def test_precision_and_coverage_are_those_of_its_neighbours():
    fake, real, k = gaussians(40, 0.5), gaussians(60), 4
    radius = distances(real, real, k + 1)  # a row is its own nearest neighbour
    inside = pairwise.euclidean_distances(fake, real) <= radius
    found = manifolds(fake, real, k=k)
    assert found.precision.value == pytest.approx(inside.any(1).mean(), rel=1e-6)
    assert found.coverage.value == pytest.approx(inside.any(0).mean(), rel=1e-6)
