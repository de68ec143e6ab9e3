"""Optimal transport between two samples: exact on small batches, and smoothed by entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.pairwise import blocks, distances
from pyro_dgm.metrics.pot import import_pot
from pyro_dgm.metrics.samples import two_samples
from pyro_dgm.metrics.sliced import around, potential_variance

__all__ = ["batch_wasserstein", "sinkhorn_divergence"]


def batch_wasserstein(
    a: object, b: object, *, batch: int = 256, seed: int = 0, floor: Estimate | None = None
) -> Estimate:
    r"""Mean exact Wasserstein-1 distance of small disjoint batches, which is biased upwards.

    .. math:: \frac{1}{B} \sum_{i=1}^B W_1(a^{(i)}, b^{(i)}), \qquad
              W_1 = \min_{\pi} \sum_{jk} \pi_{jk} |a_j - b_k|

    The distance between batches of ``s`` points exceeds that of the distributions by an amount of order
    :math:`s^{-1/d}`, which in the dimension of images is nearly all of it: batches of one distribution are
    far apart, and blurred images, or the centres of clusters, are *nearer* to a batch of data than other data
    are. Never rank models by it alone; read it beside the floor at the same batch size.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        batch: Rows of each batch; at most those of the smaller sample. Rows that fill no batch are left out.
        seed: Seed of the order of the rows; the global random state is not touched.
        floor: What two samples of one distribution score with this batch size.

    Returns:
        The mean in units of the data, with the standard error over rows of its dual potentials. The interval
        is about the expectation at this batch size, not about the distance of the distributions.

    Raises:
        DataError: If an entry is not finite, a sample has fewer than two rows, or ``batch`` is below two.
        ShapeError: If the rows of the two samples have different shapes.
        ImportError: If POT is not installed; it comes with ``pip install 'pyro-dgm[metrics]'``.

    Reference:
        Stanczuk, Etmann, Kreusser and Schönlieb, Wasserstein GANs Work Because They Fail (to Approximate the
        Wasserstein Distance), 2021. https://arxiv.org/abs/2103.01678
        Flamary et al., POT: Python Optimal Transport, JMLR 22, 2021. https://jmlr.org/papers/v22/20-451.html
    """
    rows_a, rows_b = two_samples(a, b, name="W1 of batches")
    if batch < 2:
        raise DataError(f"a batch needs at least 2 rows, got {batch}.")
    ot = import_pot()
    size = min(batch, len(rows_a), len(rows_b))
    num = min(len(rows_a), len(rows_b)) // size
    generator = torch.Generator().manual_seed(seed)
    order_a, order_b = (torch.randperm(len(x), generator=generator).to(x.device) for x in (rows_a, rows_b))
    values, variance = [], 0.0
    mass = torch.full((size,), 1 / size, dtype=torch.double).numpy()
    centre = rows_a.mean(0)
    for here in blocks(num * size, size):
        cost = distances(rows_a[order_a[here]] - centre, rows_b[order_b[here]] - centre).cpu().numpy()
        value, log = ot.emd2(mass, mass, cost, log=True)
        values.append(float(value))
        variance += potential_variance(torch.as_tensor(log["u"]), torch.as_tensor(log["v"])) / num**2
    return around(sum(values) / num, variance, num * size, num * size, floor)


def sinkhorn_divergence(
    a: object,
    b: object,
    *,
    blur: float | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    block: int = 1024,
    floor: Estimate | None = None,
) -> Estimate:
    r"""Sinkhorn divergence: entropic optimal transport, less its value within each sample.

    .. math:: S_\varepsilon(X, Y) = OT_\varepsilon(X, Y)
              - \tfrac12 OT_\varepsilon(X, X) - \tfrac12 OT_\varepsilon(Y, Y), \qquad
              OT_\varepsilon = \min_\pi E_\pi |x - y| + \varepsilon \, KL(\pi, p_X \otimes p_Y)

    It passes from :math:`W_1` at :math:`\varepsilon = 0` to half the energy distance at infinity. Samples of
    equal distributions score above zero, less so with a larger blur: read it beside its floor.

    Args:
        a: Rows of any event shape: tensor, numpy array, list or DataFrame.
        b: Rows of the same event shape.
        blur: The :math:`\varepsilon`, in units of the data; a tenth of the mean distance between the samples
            by default.
        tolerance: Largest error of a marginal, as a share of its mass, at which the iteration ends.
        max_iterations: Most iterations of each of the three problems.
        block: Rows per block: the memory is a few matrices of ``block * block``; distances are computed anew
            in each iteration.
        floor: What two samples of one distribution score with this blur.

    Returns:
        The divergence in units of the data, with the standard error over rows of its dual potentials.

    Raises:
        DataError: If an entry is not finite, an option is out of range, all rows are equal while no blur is
            given, or the iteration does not reach its tolerance.
        ShapeError: If the rows of the two samples have different shapes.

    Reference:
        Feydy, Séjourné, Vialard, Amari, Trouvé and Peyré, Interpolating between Optimal Transport and MMD
        using Sinkhorn Divergences, AISTATS 2019. https://arxiv.org/abs/1810.08278
    """
    x, y = two_samples(a, b, name="the Sinkhorn divergence")
    centre = x.mean(0)
    x, y = x - centre, y - centre
    if blur is None:
        blur = 0.1 * sum(float(distances(x[i], y).sum()) for i in blocks(len(x), block)) / (len(x) * len(y))
    if not 0 < blur < math.inf or not 0 < tolerance < 1 or min(max_iterations, block) < 1:
        raise DataError(
            "expected a positive blur (no default where all rows are equal), a tolerance between 0 and 1 and "
            f"positive counts, got {blur}, {tolerance}, {max_iterations} and {block}."
        )
    limits = (blur, tolerance, max_iterations, block)
    (f, g), (own_f, _), (own_g, _) = _solve(x, y, *limits), _solve(x, x, *limits), _solve(y, y, *limits)
    # at the optimum the dual value is the sum of the means of both potentials
    f, g = f - own_f, g - own_g
    return around((f.mean() + g.mean()).item(), potential_variance(f, g), len(x), len(y), floor)


def _solve(
    x: Tensor, y: Tensor, blur: float, tolerance: float, max_iterations: int, block: int
) -> tuple[Tensor, Tensor]:
    """Both potentials; of a sample with itself the symmetric one twice."""
    same = x is y
    f, g = x.new_zeros(len(x)), x.new_zeros(len(y))
    for _ in range(max_iterations):
        new_f = _soft_minimum(x, y, g, blur, block)
        if same:  # the average of both updates converges to the symmetric potential, and quickly
            change, f = new_f - f, (f + new_f) / 2
            g = f
        else:
            change, f = new_f - f, new_f
            g = _soft_minimum(y, x, f, blur, block)
        if (change / blur).abs().max() < tolerance:
            return f, g
    raise DataError(
        f"Sinkhorn's iteration did not reach a tolerance of {tolerance} in {max_iterations} iterations at a "
        f"blur of {blur:.3g}: allow more iterations, or a larger blur or tolerance."
    )


def _soft_minimum(x: Tensor, y: Tensor, g: Tensor, blur: float, block: int) -> Tensor:
    """Of each x, -blur * log mean over y of exp((g(y) - |x - y|) / blur)."""
    parts = []
    for i in blocks(len(x), block):
        logs = [torch.logsumexp((g[j] - distances(x[i], y[j])) / blur, 1) for j in blocks(len(y), block)]
        parts.append(-blur * (torch.stack(logs).logsumexp(0) - math.log(len(y))))
    return torch.cat(parts)
