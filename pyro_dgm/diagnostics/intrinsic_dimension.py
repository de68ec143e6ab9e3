"""How many dimensions data fill, from the distances of nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.data.rows import as_rows
from pyro_dgm.errors import DataError
from pyro_dgm.metrics.neighbours import nearest_within

__all__ = ["DimensionEstimate", "levina_bickel", "two_nn"]

_MOST_TIES = 0.01


@dataclass(frozen=True)
class DimensionEstimate:
    """An estimate of the intrinsic dimension of data, at the scale of their nearest neighbours.

    Attributes:
        value: The estimate.
        standard_error: Its standard error for independent neighbourhoods.
        num_rows: Number of rows that it is from.
        k: The farthest neighbour that it looks at: a larger one looks at a larger scale.
        num_duplicates: Rows that were left out because another row is equal to them.
    """

    value: float
    standard_error: float
    num_rows: int
    k: int
    num_duplicates: int = 0

    def __str__(self) -> str:
        dropped = f", {self.num_duplicates} duplicates left out" if self.num_duplicates else ""
        return (
            f"{self.value:.2f} ± {self.standard_error:.2f} dimensions at the scale of neighbour {self.k} "
            f"({self.num_rows} rows{dropped})"
        )


def two_nn(data: object, *, block: int = 1024) -> DimensionEstimate:
    r"""Maximum-likelihood estimate of the intrinsic dimension from the two nearest neighbours.

    Where the density is constant over the two nearest neighbours, the ratio :math:`\mu = r_2 / r_1` of their
    distances has the Pareto density :math:`d \mu^{-d-1}`, whatever the density is. Hence

    .. math:: \hat d = \frac{n - 1}{\sum_i \log \mu_i}

    Noise counts as dimensions where it is wider than the distance of neighbours. Boundaries and curvature
    make it too small in high dimension.

    Args:
        data: Independent rows of any event shape: tensor, numpy array, list or DataFrame.
        block: Rows per block: the memory is a few matrices of ``block * block``.

    Returns:
        The estimate with its standard error :math:`\hat d / \sqrt n`.

    Raises:
        DataError: If an entry is not finite, there are fewer than four different rows, or more than one row
            in a hundred has its two nearest neighbours at the same distance, as points of a lattice or
            evenly spaced ones do: these are no independent draws and have no such dimension.

    Reference:
        Facco, d'Errico, Rodriguez and Laio, Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information, Scientific Reports 7, 2017. https://doi.org/10.1038/s41598-017-11873-y

    Example:
        >>> _ = torch.manual_seed(0)
        >>> plane = torch.rand(2000, 2) @ torch.randn(2, 10)
        >>> 1.8 < two_nn(plane).value < 2.2
        True
    """
    rows, duplicates = _distinct_rows(data, 2)
    logs = _log_ratios(rows, 2, block)[:, 0]
    value = (len(rows) - 1) / logs.sum().item()
    return DimensionEstimate(value, value / math.sqrt(len(rows)), len(rows), 2, duplicates)


def levina_bickel(data: object, *, k: int = 10, block: int = 1024) -> DimensionEstimate:
    r"""Maximum-likelihood estimate of the intrinsic dimension from the ``k`` nearest neighbours.

    .. math:: \hat d^{-1} = \frac{1}{n (k - 1)} \sum_{i=1}^n \sum_{j=1}^{k-1} \log \frac{r_k(i)}{r_j(i)}

    The *inverse* estimates of the rows are averaged, each with :math:`1 / (k - 1)` (MacKay and Ghahramani):
    averaging the estimates themselves, as first proposed, is biased upwards for small ``k``. Look at several
    ``k``: where the estimate changes with the scale, there is no one dimension.

    Args:
        data: Independent rows of any event shape: tensor, numpy array, list or DataFrame.
        k: Number of neighbours, at least 2.
        block: Rows per block: the memory is a few matrices of ``block * block``.

    Returns:
        The estimate. Its standard error is over rows; neighbourhoods overlap, so that it is somewhat larger
        in truth.

    Raises:
        DataError: If an entry is not finite, there are not more than ``k`` different rows or ``k`` is below
            2, or ties show that the rows are no independent draws, as in :func:`two_nn`.

    Reference:
        Levina and Bickel, Maximum Likelihood Estimation of Intrinsic Dimension, NeurIPS 2004.
        https://papers.nips.cc/paper/2577
        MacKay and Ghahramani, Comments on 'Maximum Likelihood Estimation of Intrinsic Dimension', 2005.
        http://www.inference.org.uk/mackay/dimension/

    Example:
        >>> _ = torch.manual_seed(0)
        >>> plane = torch.rand(2000, 2) @ torch.randn(2, 10)
        >>> 1.8 < levina_bickel(plane).value < 2.2
        True
    """
    if k < 2:
        raise DataError(f"k must be at least 2, got {k}.")
    rows, duplicates = _distinct_rows(data, k)
    inverse = _log_ratios(rows, k, block).mean(1)
    value = 1 / inverse.mean().item()
    error = value**2 * (inverse.std() / math.sqrt(len(rows))).item()
    return DimensionEstimate(value, error, len(rows), k, duplicates)


def _distinct_rows(data: object, k: int) -> tuple[Tensor, int]:
    given = as_rows(data, dtype=torch.double).flatten(1)
    rows = given.unique(dim=0)
    if len(rows) < max(k + 1, 4):
        raise DataError(
            f"the dimension at the scale of neighbour {k} needs at least {max(k + 1, 4)} different rows, but "
            f"of {len(given)} rows only {len(rows)} are different."
        )
    return rows, len(given) - len(rows)


def _log_ratios(rows: Tensor, k: int, block: int) -> Tensor:
    """Logarithms of the distance of the k-th neighbour over those of the nearer ones: ``(n, k - 1)``."""
    near = nearest_within(rows, k, block)
    ties = (near[:, 1] - near[:, 0] <= 1e-9 * near[:, 1]).double().mean().item()
    if ties > _MOST_TIES:
        raise DataError(
            f"in {ties:.0%} of the rows the two nearest neighbours are at the same distance: the rows lie on "
            "a lattice or are evenly spaced, not drawn independently, and their neighbours say nothing about "
            "a dimension. Add the noise of rounding (dequantise), or draw the rows at random."
        )
    return (near[:, -1:] / near[:, :-1]).log()
