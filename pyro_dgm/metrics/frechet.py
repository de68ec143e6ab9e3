"""Distances between features of two samples: Fréchet's, and the unbiased kernel distance."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.mmd import mmd
from pyro_dgm.metrics.samples import two_samples
from pyro_dgm.metrics.sliced import around, potential_variance

__all__ = ["frechet_distance", "kernel_distance"]


def frechet_distance(a: object, b: object, *, floor: Estimate | None = None) -> Estimate:
    r"""Fréchet distance of two samples of features: squared W2 between normals of their moments.

    .. math:: |\mu_a - \mu_b|^2 + \operatorname{tr}\bigl(\Sigma_a + \Sigma_b
              - 2 (\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}\bigr)

    On features of an Inception network it is the FID; features of any network, or the rows themselves, are
    given here. It is biased upwards by an amount that falls with the sample size and depends on the model:
    compare figures of one sample size only, beside their floor, or use :func:`kernel_distance`.

    Args:
        a: Features ``(n, d)`` with ``n > d``: tensor, numpy array, list or DataFrame.
        b: Features ``(m, d)`` with ``m > d``.
        floor: What two samples of one distribution score.

    Returns:
        The distance in squared units of the features. Its standard error is that of the first order (the
        variance of the quadratic dual potentials over rows); the normal interval is about the expectation at
        these sample sizes.

    Raises:
        DataError: If an entry is not finite, or a sample does not have more rows than features.
        ShapeError: If the features have different shapes.

    Reference:
        Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, GANs Trained by a Two Time-Scale Update Rule
        Converge to a Local Nash Equilibrium, NeurIPS 2017. https://arxiv.org/abs/1706.08500

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> round(frechet_distance(x, x + 2).value, 6)
        8.0
    """
    rows_a, rows_b = two_samples(a, b, name="the Fréchet distance")
    n, m, d = len(rows_a), len(rows_b), rows_a.shape[1]
    if min(n, m) <= d:
        raise DataError(
            f"the Fréchet distance of {d} features needs more than {d} rows in each sample, got {n} and {m}: "
            "their covariances would be singular. Give more rows, or fewer features."
        )
    mean_a, mean_b = rows_a.mean(0), rows_b.mean(0)
    cov_a, cov_b = rows_a.T.cov(), rows_b.T.cov()
    cov_a, cov_b = cov_a.reshape(d, d), cov_b.reshape(d, d)
    root_a, inverse_root_a = _roots(cov_a)
    middle, inverse_middle = _roots(root_a @ cov_b @ root_a)
    gap = mean_a - mean_b
    value = gap.square().sum() + cov_a.trace() + cov_b.trace() - 2 * middle.trace()
    # the linear maps that carry one normal to the other are the slopes of the dual potentials
    there, back = inverse_root_a @ middle @ inverse_root_a, root_a @ inverse_middle @ root_a
    f = _potential(rows_a - mean_a, there, gap)
    g = -_potential(rows_b - mean_b, back, -gap)
    return around(value.clamp_min(0).item(), potential_variance(f, g), n, m, floor)


def kernel_distance(
    a: object, b: object, *, num_bootstrap: int = 500, seed: int = 0, floor: Estimate | None = None
) -> Estimate:
    r"""Kernel distance of two samples of features: the unbiased squared MMD of :math:`(x \cdot y / d + 1)^3`.

    On features of an Inception network it is the KID. It needs no more rows than features, and its
    expectation does not depend on the sample size. Its floor is
    ``mmd_floor(real, num, kernel="polynomial")``.

    Args:
        a: Features ``(n, d)``.
        b: Features ``(m, d)``.
        num_bootstrap: Number of resamples behind the interval.
        seed: Seed of the resampling.
        floor: What two samples of one distribution score.

    Raises:
        DataError: If an entry is not finite, or a sample has fewer than two rows.
        ShapeError: If the features have different shapes.

    Reference:
        Bińkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs, ICLR 2018.
        https://arxiv.org/abs/1801.01401
    """
    return mmd(a, b, kernel="polynomial", num_bootstrap=num_bootstrap, seed=seed, floor=floor)


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a symmetric positive semidefinite matrix, and its pseudo-inverse."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    root = values.clamp_min(0).sqrt()
    inverse = torch.where(root > 1e-10 * root.max(), 1 / root, 0.0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def _potential(centred: Tensor, carries: Tensor, gap: Tensor) -> Tensor:
    """Influence of each row on the distance: that on the means, and that on the covariance."""
    return 2 * centred @ gap + (centred * (centred - centred @ carries)).sum(1)
